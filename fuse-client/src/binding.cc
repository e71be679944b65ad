#define FUSE_USE_VERSION FUSE_MAKE_VERSION(3, 14)
#include "binding.h"

#include <fcntl.h>
#include <fuse3/fuse_lowlevel.h>
#include <pthread.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

#include <climits>

#include "binding_write.h"

namespace sluice::fuse_client {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr int kWakeSignal = SIGUSR1;

enum Operation : std::size_t {
  kLookup,
  kGetAttributes,
  kOpen,
  kRead,
  kRelease,
  kOpenDirectory,
  kReadDirectory,
  kReadDirectoryPlus,
  kStatFs,
  kGetExtendedAttribute,
  kListExtendedAttributes,
  kReadLink,
  kOperationCount,
};
constexpr std::array<const char*, kOperationCount> kOperationNames = {
    "lookup",  "getattr",     "open",   "read",     "release",   "opendir",
    "readdir", "readdirplus", "statfs", "getxattr", "listxattr", "readlink"};

mode_t ModeOf(const Attributes& attributes, const Appearance& appearance) {
  if (attributes.is_directory) return S_IFDIR | appearance.directory_mode;
  if (attributes.is_link) return S_IFLNK | 0777;
  return S_IFREG | appearance.file_mode;
}

}  // namespace

int ErrnoOf(Code code) {
  switch (code) {
    case Code::kInvalidArgument:
      return EINVAL;
    case Code::kNotFound:
      return ENOENT;
    case Code::kAlreadyExists:
      return EEXIST;
    case Code::kConflict:
      return ESTALE;
    case Code::kPermissionDenied:
      return EACCES;
    case Code::kUnavailable:
    case Code::kDeadlineExceeded:
    case Code::kInternal:
      return EIO;
  }
  return EIO;
}

struct Binding::Impl {
  Impl(const BindingOptions& options_in, FileSystem& files_in, DeviceChannel& channel_in,
       platform::Metrics& metrics, const platform::Log& log_in)
      : options(options_in),
        files(files_in),
        channel(channel_in),
        log(log_in),
        read_bytes(
            metrics.AddCounter("sluice_fuse_read_bytes_total",
                               "Bytes given to the kernel (passthrough reads not included)")),
        errors(metrics.AddCounter("sluice_fuse_request_errors_total",
                                  "Requests answered with an error, other than ENOENT")),
        read_latency(metrics.AddHistogram("sluice_fuse_read_seconds",
                                          "From a read request to its answer",
                                          platform::LatencyBuckets())) {
    write_side = {.writing = options.writing,
                  .entry = [this](const Attributes& attributes) { return EntryOf(attributes); },
                  .attributes = [this](std::uint64_t id) { return AttributesOf(id); },
                  .errors = &errors,
                  .metrics = &metrics};
    for (std::size_t i = 0; i < kOperationCount; ++i) {
      requests[i] = &metrics.AddCounter("sluice_fuse_requests_total", "Requests by operation",
                                        {{"op", kOperationNames[i]}});
    }
  }

  Status NewSession();
  void Work(const std::function<void()>& on_end);
  [[nodiscard]] Result<Attributes> AttributesOf(std::uint64_t id) const;
  [[nodiscard]] struct stat StatOf(const Attributes& attributes) const;
  [[nodiscard]] fuse_entry_param EntryOf(const Attributes& attributes) const;
  void ReplyError(fuse_req_t request, const Error& error);
  void ReplyRead(fuse_req_t request, Clock::time_point start, const Result<cache::Bytes>& bytes);
  void ReadDirectory(fuse_req_t request, fuse_ino_t id, std::size_t size, std::uint64_t offset,
                     const fuse_file_info& info, bool plus);

  static Impl& Of(fuse_req_t request) { return *static_cast<Impl*>(fuse_req_userdata(request)); }
  Impl& Count(Operation operation) {
    requests[operation]->Add();
    return *this;
  }

  BindingOptions options;
  FileSystem& files;
  DeviceChannel& channel;
  const platform::Log& log;
  std::array<platform::Counter*, kOperationCount> requests = {};
  platform::Counter& read_bytes;
  platform::Counter& errors;
  platform::Histogram& read_latency;
  WriteSide write_side;
  fuse_session* session = nullptr;
  std::atomic<bool> stopping = false;
  std::atomic<bool> ended = false;
  std::atomic<unsigned> running = 0;
  std::vector<std::jthread> workers;
};

struct stat Binding::Impl::StatOf(const Attributes& attributes) const {
  struct stat out = {};
  out.st_ino = attributes.id;
  const Appearance& appearance = options.appearance;
  // Where there is writing, it is for the owner at least.
  const bool writable = options.writing != nullptr && !attributes.is_link;
  out.st_mode = ModeOf(attributes, appearance) | (writable ? S_IWUSR : 0U);
  out.st_uid = appearance.uid;
  out.st_gid = appearance.gid;
  out.st_nlink = attributes.is_directory ? 2 : 1;
  out.st_size = static_cast<off_t>(attributes.size);
  out.st_blocks = static_cast<blkcnt_t>((attributes.size + 511) / 512);
  out.st_blksize = 4096;
  constexpr std::int64_t kSecond = 1'000'000'000;
  out.st_mtim = {attributes.modified_ns / kSecond, attributes.modified_ns % kSecond};
  if (out.st_mtim.tv_nsec < 0) {
    --out.st_mtim.tv_sec;
    out.st_mtim.tv_nsec += kSecond;
  }
  out.st_atim = out.st_ctim = out.st_mtim;
  return out;
}

Result<Attributes> Binding::Impl::AttributesOf(std::uint64_t id) const {
  if (options.writing != nullptr) {
    if (const auto written = options.writing->AttributesOf(id)) return *written;
  }
  return files.GetAttributes(id);
}

fuse_entry_param Binding::Impl::EntryOf(const Attributes& attributes) const {
  fuse_entry_param entry = {};
  entry.ino = attributes.id;
  entry.attr = StatOf(attributes);
  entry.attr_timeout = entry.entry_timeout =
      attributes.passing ? 0 : static_cast<double>(options.entry_timeout.count());
  return entry;
}

void Binding::Impl::ReplyError(fuse_req_t request, const Error& error) {
  if (error.code != Code::kNotFound) errors.Add();
  fuse_reply_err(request, ErrnoOf(error.code));
}

void Binding::Impl::ReplyRead(fuse_req_t request, Clock::time_point start,
                              const Result<cache::Bytes>& bytes) {
  if (!bytes) {
    if (stopping) {
      // It failed because we are leaving: the request stays in the journal.
      fuse_reply_none(request);
      return;
    }
    log.Warn("read failed", {{"error", bytes.error().message}});
    // A vanished object is no missing name: the file was open.
    ReplyError(request,
               {bytes.error().code == Code::kNotFound ? Code::kConflict : bytes.error().code, {}});
    return;
  }
  std::vector<iovec> pieces;
  pieces.reserve(bytes->Segments().size());
  for (const auto& segment : bytes->Segments()) {
    pieces.push_back({const_cast<std::byte*>(segment.data()), segment.size()});
  }
  read_bytes.Add(bytes->size());
  fuse_reply_iov(request, pieces.data(), static_cast<int>(pieces.size()));
  read_latency.Observe(std::chrono::duration<double>(Clock::now() - start).count());
}

void Binding::Impl::ReadDirectory(fuse_req_t request, fuse_ino_t id, std::size_t size,
                                  std::uint64_t offset, const fuse_file_info& info, bool plus) {
  std::vector<char> buffer(size);
  std::size_t used = 0;
  const Status read =
      files.ReadDirectory(id, info.fh, offset, [&](const FileSystem::DirectoryEntry& entry) {
        const std::string name(entry.name);
        const fuse_entry_param param = EntryOf(entry.attributes);
        char* const at = buffer.data() + used;
        const std::size_t room = size - used;
        const auto next = static_cast<off_t>(entry.next);
        const std::size_t need =
            plus ? fuse_add_direntry_plus(request, at, room, name.c_str(), &param, next)
                 : fuse_add_direntry(request, at, room, name.c_str(), &param.attr, next);
        if (need > room) return false;
        used += need;
        return true;
      });
  if (!read) {
    ReplyError(request, read.error());
  } else {
    fuse_reply_buf(request, buffer.data(), used);
  }
}

namespace {

// Of the request that this thread is executing; libfuse does not tell its handlers.
thread_local std::uint64_t t_unique = 0;

// Each handler answers exactly once. A catch-all stands here, at the callback boundary.
template <typename F>
void Answer(fuse_req_t request, F&& handler) noexcept {
  try {
    handler();
  } catch (const std::exception&) {
    fuse_reply_err(request, ENOMEM);
  }
}

// With no room given the kernel asks for the size only.
void ReplySized(fuse_req_t request, std::string_view value, std::size_t room) {
  if (room == 0) {
    fuse_reply_xattr(request, value.size());
  } else if (value.size() > room) {
    fuse_reply_err(request, ERANGE);
  } else {
    fuse_reply_buf(request, value.data(), value.size());
  }
}

}  // namespace

struct BindingOperations {
  using Impl = Binding::Impl;

  static void Lookup(fuse_req_t request, fuse_ino_t parent, const char* name) {
    Answer(request, [&] {
      Impl& impl = Impl::Of(request).Count(kLookup);
      // The kernel asks for longer names than there can be.
      if (std::strlen(name) > NAME_MAX) {
        fuse_reply_err(request, ENAMETOOLONG);
        return;
      }
      const auto found = impl.files.Lookup(parent, name);
      if (found) {
        const fuse_entry_param entry = impl.EntryOf(*found);
        fuse_reply_entry(request, &entry);
      } else if (found.error().code == Code::kNotFound) {
        // A name that is not there is remembered as long as one that is.
        fuse_entry_param nothing = {};
        nothing.entry_timeout = static_cast<double>(impl.options.entry_timeout.count());
        fuse_reply_entry(request, &nothing);
      } else {
        impl.ReplyError(request, found.error());
      }
    });
  }

  static void GetAttributes(fuse_req_t request, fuse_ino_t id, fuse_file_info* /*info*/) {
    Answer(request, [&] {
      Impl& impl = Impl::Of(request).Count(kGetAttributes);
      const auto attributes = impl.AttributesOf(id);
      if (!attributes) return impl.ReplyError(request, attributes.error());
      const fuse_entry_param entry = impl.EntryOf(*attributes);
      fuse_reply_attr(request, &entry.attr, entry.attr_timeout);
    });
  }

  static void ReadLink(fuse_req_t request, fuse_ino_t id) {
    Answer(request, [&] {
      Impl& impl = Impl::Of(request).Count(kReadLink);
      const auto text = impl.files.ReadLink(id);
      if (!text) return impl.ReplyError(request, text.error());
      fuse_reply_readlink(request, text->c_str());
    });
  }

  static void Open(fuse_req_t request, fuse_ino_t id, fuse_file_info* info) {
    Answer(request, [&] {
      Impl& impl = Impl::Of(request).Count(kOpen);
      if (OpenForWriting(request, id, *info) || RefuseReading(request, id)) return;
      const RequestEffect effect = impl.channel.EffectOf(t_unique);
      if (impl.channel.GivenUp(t_unique)) {
        // The kernel will not release what was not opened.
        impl.files.TakeBackOpen(id, effect);
        return impl.ReplyError(request, {Code::kInternal, {}});
      }
      const auto opened = impl.files.Open(id, effect);
      if (!opened) return impl.ReplyError(request, opened.error());
      // libfuse 3.14 knows no backing id; handles carry no state, so any process can serve them.
      OpenReply reply;
      reply.flags = kOpenNoFlush;
      if (opened->backing_id != 0) {
        reply.flags |= kOpenPassthrough;
        reply.backing_id = opened->backing_id;
      } else {
        reply.flags |= kOpenKeepCache;
      }
      fuse_reply_buf(request, reinterpret_cast<const char*>(&reply), sizeof(reply));
      impl.files.PrefetchAfter(id);
    });
  }

  static void Release(fuse_req_t request, fuse_ino_t id, fuse_file_info* info) {
    Answer(request, [&] {
      Impl& impl = Impl::Of(request).Count(kRelease);
      if (info->fh != 0) {  // it was written to
        if (impl.options.writing != nullptr) impl.options.writing->Release(info->fh);
        fuse_reply_err(request, 0);
        return;
      }
      impl.files.Release(id, impl.channel.EffectOf(t_unique));
      fuse_reply_err(request, 0);
    });
  }

  static void Read(fuse_req_t request, fuse_ino_t id, std::size_t size, off_t offset,
                   fuse_file_info* info) {
    Answer(request, [&] {
      Impl& impl = Impl::Of(request).Count(kRead);
      if (info->fh != 0) {  // it is being written
        fuse_reply_err(request, EBUSY);
        return;
      }
      impl.files.Read(id, static_cast<std::uint64_t>(offset), size,
                      [&impl, request, start = Clock::now()](const Result<cache::Bytes>& bytes) {
                        impl.ReplyRead(request, start, bytes);
                      });
    });
  }

  static void OpenDirectory(fuse_req_t request, fuse_ino_t id, fuse_file_info* info) {
    Answer(request, [&] {
      Impl& impl = Impl::Of(request).Count(kOpenDirectory);
      const auto handle = impl.files.OpenDirectory(id);
      if (!handle) return impl.ReplyError(request, handle.error());
      info->fh = *handle;
      // What is new may be gone again without the kernel's doing, when writing it fails.
      info->cache_readdir = info->keep_cache = impl.files.New().HasChildren(id) ? 0 : 1;
      fuse_reply_open(request, info);
    });
  }

  static void ReadDirectory(fuse_req_t request, fuse_ino_t id, std::size_t size, off_t offset,
                            fuse_file_info* info) {
    Answer(request, [&] {
      Impl::Of(request)
          .Count(kReadDirectory)
          .ReadDirectory(request, id, size, static_cast<std::uint64_t>(offset), *info, false);
    });
  }

  static void ReadDirectoryPlus(fuse_req_t request, fuse_ino_t id, std::size_t size, off_t offset,
                                fuse_file_info* info) {
    Answer(request, [&] {
      Impl::Of(request)
          .Count(kReadDirectoryPlus)
          .ReadDirectory(request, id, size, static_cast<std::uint64_t>(offset), *info, true);
    });
  }

  static void ReleaseDirectory(fuse_req_t request, fuse_ino_t /*id*/, fuse_file_info* info) {
    Answer(request, [&] {
      Impl::Of(request).files.ReleaseDirectory(info->fh);
      fuse_reply_err(request, 0);
    });
  }

  static void StatFs(fuse_req_t request, fuse_ino_t /*id*/) {
    Answer(request, [&] {
      Impl& impl = Impl::Of(request).Count(kStatFs);
      const IndexTotals totals = impl.files.Totals();
      struct statvfs out = {};
      out.f_bsize = out.f_frsize = 4096;
      out.f_blocks = (totals.bytes + 4095) / 4096;
      out.f_files = totals.files;
      out.f_namemax = 255;
      if (impl.options.writing == nullptr) {
        out.f_flag = ST_RDONLY;
      } else {
        // How much fits nobody knows; tools that look before they write need not be told "nothing".
        constexpr fsblkcnt_t kPlenty = 1ULL << 38;  // 1 PiB
        out.f_bfree = out.f_bavail = kPlenty;
        out.f_blocks += kPlenty;
      }
      fuse_reply_statfs(request, &out);
    });
  }

  static void GetExtendedAttribute(fuse_req_t request, fuse_ino_t id, const char* name,
                                   std::size_t room) {
    Answer(request, [&] {
      Impl& impl = Impl::Of(request).Count(kGetExtendedAttribute);
      // Of security labels and access lists there are none: so said, tools ask no further file.
      if (!IsExtendedAttribute(name)) {
        fuse_reply_err(request, std::string_view(name).starts_with("user.") ? ENODATA : EOPNOTSUPP);
        return;
      }
      const auto value = impl.files.ExtendedAttribute(id, name);
      if (!value) return impl.ReplyError(request, value.error());
      if (!*value) {
        fuse_reply_err(request, ENODATA);
        return;
      }
      ReplySized(request, **value, room);
    });
  }

  static void ListExtendedAttributes(fuse_req_t request, fuse_ino_t id, std::size_t room) {
    Answer(request, [&] {
      Impl& impl = Impl::Of(request).Count(kListExtendedAttributes);
      const auto names = impl.files.ExtendedAttributes(id);
      if (!names) return impl.ReplyError(request, names.error());
      std::string list;
      for (const std::string_view name : *names) (list += name) += '\0';
      ReplySized(request, list, room);
    });
  }

  static fuse_lowlevel_ops Table() {
    fuse_lowlevel_ops ops = {};
    ops.lookup = Lookup;
    ops.getattr = GetAttributes;
    ops.readlink = ReadLink;
    ops.open = Open;
    ops.release = Release;
    ops.read = Read;
    ops.opendir = OpenDirectory;
    ops.readdir = ReadDirectory;
    ops.readdirplus = ReadDirectoryPlus;
    ops.releasedir = ReleaseDirectory;
    ops.statfs = StatFs;
    ops.getxattr = GetExtendedAttribute;
    ops.listxattr = ListExtendedAttributes;
    AddWriteOperations(ops);
    return ops;
  }
};

const WriteSide& WriteSideOf(fuse_req_t request) { return Binding::Impl::Of(request).write_side; }

Status Binding::Impl::NewSession() {
  std::string program = "sluice-fuse";
  std::array<char*, 2> arguments = {program.data(), nullptr};
  fuse_args args = FUSE_ARGS_INIT(1, arguments.data());
  static const fuse_lowlevel_ops kOperations = BindingOperations::Table();
  session = fuse_session_new(&args, &kOperations, sizeof(kOperations), this);
  fuse_opt_free_args(&args);
  if (session == nullptr) return Fail(Code::kInternal, "libfuse: no session");
  fuse_custom_io io = {};
  io.read = [](int, void* buffer, std::size_t size, void* user) {
    return static_cast<Impl*>(user)->channel.Read(buffer, size);
  };
  io.writev = [](int, iovec* pieces, int count, void* user) {
    return static_cast<Impl*>(user)->channel.Write(pieces, count);
  };
  // libfuse closes this descriptor; the device itself is the channel's.
  const int unused = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  if (fuse_session_custom_io(session, &io, unused) != 0) {
    return Fail(Code::kInternal, "libfuse: custom I/O refused");
  }
  return Ok();
}

void Binding::Impl::Work(const std::function<void()>& on_end) {
  fuse_buf buffer = {};
  while (fuse_session_exited(session) == 0 && !stopping) {
    const int n = fuse_session_receive_buf(session, &buffer);
    if (n == -EINTR || n == -EAGAIN) continue;
    if (n <= 0) break;
    std::memcpy(&t_unique, static_cast<const char*>(buffer.mem) + offsetof(RequestHeader, unique),
                sizeof(t_unique));
    fuse_session_process_buf(session, &buffer);
  }
  std::free(buffer.mem);
  if (!stopping && !ended.exchange(true)) on_end();
  --running;
}

Binding::Binding(const BindingOptions& options, FileSystem& files, DeviceChannel& channel,
                 platform::Metrics& metrics, const platform::Log& log)
    : impl_(std::make_unique<Impl>(options, files, channel, metrics, log)) {}

Binding::~Binding() {
  Stop(milliseconds(0));
  if (impl_->session != nullptr) fuse_session_destroy(impl_->session);
}

Status Binding::Start(std::function<void()> on_end) {
  // A worker that is blocked in read(2) is woken by a signal whose handler does nothing.
  struct sigaction wake = {};
  wake.sa_handler = [](int) {};
  ::sigaction(kWakeSignal, &wake, nullptr);
  SLUICE_CHECK(impl_->NewSession(), "serve");
  // INIT first, alone.
  fuse_buf buffer = {};
  int n = -EINTR;
  while (n == -EINTR || n == -EAGAIN) n = fuse_session_receive_buf(impl_->session, &buffer);
  if (n > 0) fuse_session_process_buf(impl_->session, &buffer);
  std::free(buffer.mem);
  if (n <= 0) {
    return Fail(Code::kUnavailable,
                std::string("the mount is gone: ") + std::strerror(n == 0 ? ENODEV : -n));
  }
  impl_->running = impl_->options.workers;
  for (unsigned i = 0; i < impl_->options.workers; ++i) {
    impl_->workers.emplace_back([impl = impl_.get(), on_end] { impl->Work(on_end); });
  }
  return Ok();
}

void Binding::Stop(milliseconds drain) {
  if (impl_->workers.empty()) return;
  impl_->stopping = true;
  impl_->channel.Stop();
  // A signal that comes just before the read is lost: again until all have left.
  while (impl_->running > 0) {
    for (std::jthread& worker : impl_->workers) {
      if (impl_->running > 0) ::pthread_kill(worker.native_handle(), kWakeSignal);
    }
    std::this_thread::sleep_for(milliseconds(5));
  }
  impl_->workers.clear();
  const auto end = Clock::now() + drain;
  while (impl_->channel.InFlight() > 0 && Clock::now() < end) {
    std::this_thread::sleep_for(milliseconds(5));
  }
}

void Binding::Invalidate(std::span<const IndexChange> changes) {
  if (impl_->session == nullptr) return;
  std::uint64_t directory = 0;
  for (const IndexChange& change : changes) {
    // ENOENT: the kernel does not know it, which is fine.
    if (change.directory != std::exchange(directory, change.directory)) {
      fuse_lowlevel_notify_inval_inode(impl_->session, change.directory, 0, 0);
    }
    fuse_lowlevel_notify_inval_entry(impl_->session, change.directory, change.name.c_str(),
                                     change.name.size());
  }
}

}  // namespace sluice::fuse_client
