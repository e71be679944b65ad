#include "sluice/origin/local_origin.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <deque>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>

#include <climits>
#include <fmt/format.h>

#include "sluice/core/timestamp.h"
#include "sluice/platform/guarded.h"
#include "sluice/platform/unique_fd.h"

#include "bandwidth_gate.h"
#include "link_target.h"
#include "local_files.h"
#include "local_upload.h"
#include "object_names.h"
#include "origin_metrics.h"

namespace sluice::origin {
namespace {

using SteadyClock = std::chrono::steady_clock;

constexpr unsigned kMaxThreads = 8;
constexpr std::size_t kBlock = 1U << 20;
constexpr std::size_t kLimitedBlock = 128U << 10;  // readers take turns with such

}  // namespace

Error FromErrno(int error, std::string what) {
  Code code = Code::kUnavailable;
  if (error == ENOENT || error == ENOTDIR) code = Code::kNotFound;
  if (error == EACCES || error == EPERM) code = Code::kPermissionDenied;
  // A link that leaves the root.
  if (error == EXDEV || error == ELOOP) code = Code::kPermissionDenied;
  if (error == ENAMETOOLONG || error == EINVAL) code = Code::kInvalidArgument;
  return {code, what + ": " +
                    (error == EXDEV ? "a symbolic link leads out of the directory"
                                    : std::generic_category().message(error))};
}

platform::UniqueFd OpenBeneath(int root, const std::string& path, std::uint64_t flags,
                               std::uint64_t resolve) {
  struct open_how how = {};
  how.flags = flags | O_CLOEXEC;
  how.resolve = resolve | RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
  // EAGAIN: something was renamed on the way; a few more tries decide.
  for (int attempt = 0;; ++attempt) {
    const long fd = ::syscall(SYS_openat2, root, path.c_str(), &how, sizeof(how));
    if (fd >= 0) return platform::UniqueFd(static_cast<int>(fd));
    if (errno != EINTR && (errno != EAGAIN || attempt > 16)) return {};
  }
}

std::string VersionOfFile(const struct stat& st) {
  return fmt::format("{}-{}.{:09}-{}", st.st_size, st.st_mtim.tv_sec, st.st_mtim.tv_nsec,
                     st.st_ino);
}

OriginObject ObjectOf(std::string path, const struct stat& st) {
  OriginObject object;
  object.path = std::move(path);
  object.size = static_cast<std::uint64_t>(st.st_size);
  object.version = VersionOfFile(st);
  object.modified = TimeFromUnix(st.st_mtim.tv_sec) +
                    std::chrono::duration_cast<std::chrono::system_clock::duration>(
                        std::chrono::nanoseconds(st.st_mtim.tv_nsec));
  return object;
}

namespace {

// The text of a symbolic link; nothing when it cannot be read whole.
std::optional<std::string> ReadLink(int dir, const char* name) {
  std::array<char, PATH_MAX> text{};
  const ssize_t size = ::readlinkat(dir, name, text.data(), text.size());
  if (size <= 0 || static_cast<std::size_t>(size) == text.size()) return std::nullopt;
  return std::string(text.data(), static_cast<std::size_t>(size));
}

// Where an open file is, without links; nothing when that cannot be told.
std::optional<std::string> PlaceOf(int fd) {
  return ReadLink(AT_FDCWD, fmt::format("/proc/self/fd/{}", fd).c_str());
}

struct DirCloser {
  void operator()(DIR* dir) const { ::closedir(dir); }
};

struct Job {
  OriginObject object;
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
  ReadSink sink;
  ReadDone done;
  SteadyClock::time_point deadline;
};

struct Queue {
  std::deque<Job> jobs;
  bool stopping = false;
};

class LocalOrigin final : public Origin {
 public:
  LocalOrigin(std::string root, const OriginLimits& limits, platform::Metrics& metrics)
      : root_(std::move(root)),
        limits_(limits),
        metrics_(metrics),
        gate_(limits.bytes_per_second),
        writer_(root_) {
    const unsigned threads = std::clamp(limits_.max_connections, 1U, kMaxThreads);
    for (unsigned i = 0; i < threads; ++i) threads_.emplace_back([this] { Work(); });
  }
  ~LocalOrigin() override {
    queue_.With([](Queue& queue) { queue.stopping = true; });
    queue_.Notify();
    gate_.Close();
    threads_.clear();  // joins
    auto left = queue_.With([](Queue& queue) { return std::exchange(queue.jobs, {}); });
    for (Job& job : left) job.done(Fail(Code::kUnavailable, "the client is shutting down"));
  }
  LocalOrigin(const LocalOrigin&) = delete;
  LocalOrigin& operator=(const LocalOrigin&) = delete;

  Result<Listing> List() override;
  void ReadAsync(const OriginObject& object, std::uint64_t offset, std::uint64_t length,
                 ReadSink sink, ReadDone done) override;
  [[nodiscard]] std::string Describe() const override { return "file://" + root_; }
  [[nodiscard]] bool IsOfOneMachine() const override { return true; }
  ObjectWriter* Writer() override { return &writer_; }

 private:
  class Walk;

  [[nodiscard]] std::string Name(const std::string& path) const {
    return Describe() + (root_.ends_with('/') ? "" : "/") + path;
  }
  [[nodiscard]] Result<platform::UniqueFd> OpenRoot() const;
  void Work();
  Status Read(const Job& job);
  void Count(const std::string& operation, const std::string& code, SteadyClock::time_point since) {
    metrics_.CountRequest(operation, code,
                          std::chrono::duration<double>(SteadyClock::now() - since).count());
  }

  const std::string root_;
  const OriginLimits limits_;
  OriginMetrics metrics_;
  BandwidthGate gate_;
  LocalWriter writer_;
  platform::Guarded<Queue> queue_;
  std::vector<std::jthread> threads_;
};

Result<platform::UniqueFd> LocalOrigin::OpenRoot() const {
  platform::UniqueFd root(::open(root_.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!root.Valid()) return Fail(FromErrno(errno, Describe()));
  return root;
}

// ---- listing -----------------------------------------------------------------------------------

// One pass over the tree, with one directory open at a time.
class LocalOrigin::Walk {
 public:
  Walk(int root, std::string root_path, std::uint64_t max_bytes)
      : root_(root),
        root_path_(std::move(root_path)),
        root_place_(PlaceOf(root).value_or(root_path_)),
        objects_(max_bytes) {}

  Status Run() {
    pending_.emplace_back();
    while (!pending_.empty()) {
      const std::string directory = std::move(pending_.back());
      pending_.pop_back();
      if (auto status = Visit(directory); !status) return status;
    }
    return Ok();
  }
  Listing Take() && {
    Listing listing = MakeListing(std::move(objects_).Take());
    listing.skipped += skipped_;
    return listing;
  }

 private:
  Status Visit(const std::string& directory) {
    platform::UniqueFd fd = OpenBeneath(root_, directory.empty() ? "." : directory,
                                        O_RDONLY | O_DIRECTORY, RESOLVE_NO_SYMLINKS);
    if (!fd.Valid()) {
      if (directory.empty()) return Fail(FromErrno(errno, "open the directory"));
      ++skipped_;  // gone meanwhile, or not for us
      return Ok();
    }
    const std::unique_ptr<DIR, DirCloser> dir(::fdopendir(fd.Get()));
    if (dir == nullptr) return Fail(FromErrno(errno, "read the directory"));
    (void)fd.Release();
    errno = 0;
    while (const dirent* entry = ::readdir(dir.get())) {  // NOLINT(concurrency-mt-unsafe): own DIR
      const std::string_view name(entry->d_name);
      if (name != "." && name != ".." && !IsUploadName(name)) {
        SLUICE_CHECK(Look(::dirfd(dir.get()), directory, entry->d_name), "list");
      }
      errno = 0;
    }
    if (errno != 0) return Fail(FromErrno(errno, "read the directory"));
    return Ok();
  }

  Status Look(int dir, const std::string& directory, const char* name) {
    struct stat st = {};
    if (::fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
      ++skipped_;
      return Ok();
    }
    std::string path = directory.empty() ? std::string(name) : directory + "/" + name;
    if (S_ISDIR(st.st_mode)) {
      pending_.push_back(std::move(path));
      return Ok();
    }
    if (S_ISLNK(st.st_mode)) return AddLink(dir, name, std::move(path), st);
    if (S_ISREG(st.st_mode)) return objects_.Add(ObjectOf(std::move(path), st));
    ++skipped_;
    return Ok();
  }

  // One that stays in the tree is listed as a link, whether something is there or not.
  Status AddLink(int dir, const char* name, std::string path, const struct stat& st) {
    auto target = TargetInside(dir, name, path);
    if (!target) {
      ++skipped_;
      return Ok();
    }
    OriginObject object = ObjectOf(std::move(path), st);
    object.kind = ObjectKind::kLink;
    object.size = target->size();
    object.version = std::move(*target);
    return objects_.Add(std::move(object));
  }

  // What the link says, or says in other words; nothing when it leads out of the tree.
  std::optional<std::string> TargetInside(int dir, const char* name, const std::string& path) {
    const auto text = ReadLink(dir, name);
    if (!text) return std::nullopt;
    if (auto plain = PlainTarget(path, *text)) return plain;
    std::string place = path;
    if (text->front() == '/') {
      auto below = BelowRoot(*text, root_path_);
      if (!below) below = BelowRoot(*text, root_place_);
      if (!below) return std::nullopt;
      if (auto plain = PlainTarget(path, RelativeTarget(path, *below))) return plain;
      place = *below;
    }
    // It goes up after a name, which may be a link: what matters is where it ends.
    const platform::UniqueFd end = OpenBeneath(root_, place, O_PATH, 0);
    const auto found = end.Valid() ? PlaceOf(end.Get()) : std::nullopt;
    const auto inside = found ? BelowRoot(*found, root_place_) : std::nullopt;
    return inside ? PlainTarget(path, RelativeTarget(path, *inside)) : std::nullopt;
  }

  const int root_;
  const std::string root_path_;   // as it was given
  const std::string root_place_;  // without links
  std::vector<std::string> pending_;
  ObjectCollector objects_;
  std::uint64_t skipped_ = 0;
};

Result<Listing> LocalOrigin::List() {
  const auto since = SteadyClock::now();
  const auto list = [&]() -> Result<Listing> {
    auto root = OpenRoot();
    if (!root) return Fail(root.error());
    Walk walk(root->Get(), root_, limits_.max_listing_bytes());
    SLUICE_CHECK(walk.Run(), Describe());
    return std::move(walk).Take();
  };
  auto listing = list();
  Count("list", listing ? "ok" : std::string(CodeName(listing.error().code)), since);
  return listing;
}

// ---- reading -----------------------------------------------------------------------------------

void LocalOrigin::ReadAsync(const OriginObject& object, std::uint64_t offset, std::uint64_t length,
                            ReadSink sink, ReadDone done) {
  if (offset > object.size || length > object.size - offset) {
    return done(
        Fail(Code::kInvalidArgument, fmt::format("{}: bytes {}+{} lie beyond its {} bytes",
                                                 Name(object.path), offset, length, object.size)));
  }
  if (length == 0) return done(Ok());
  Job job{object, offset, length, std::move(sink), std::move(done), limits_.DeadlineOf(length)};
  const bool taken = queue_.With([&](Queue& queue) {
    if (queue.stopping || queue.jobs.size() >= limits_.max_queued_reads) return false;
    queue.jobs.push_back(std::move(job));
    return true;
  });
  if (taken) {
    queue_.Notify();
  } else {
    job.done(Fail(Code::kUnavailable,
                  fmt::format("{}: too many reads are waiting already", Name(object.path))));
  }
}

void LocalOrigin::Work() {
  while (true) {
    queue_.WaitUntil(SteadyClock::now() + std::chrono::hours(1),
                     [](const Queue& queue) { return queue.stopping || !queue.jobs.empty(); });
    std::optional<Job> job;
    const bool stopping = queue_.With([&](Queue& queue) {
      if (!queue.stopping && !queue.jobs.empty()) {
        job.emplace(std::move(queue.jobs.front()));
        queue.jobs.pop_front();
      }
      return queue.stopping;
    });
    if (stopping) return;
    if (!job) continue;
    const auto since = SteadyClock::now();
    Status status = Read(*job);
    Count("read", status ? "ok" : std::string(CodeName(status.error().code)), since);
    job->done(std::move(status));
  }
}

Status LocalOrigin::Read(const Job& job) {
  const std::string name = Name(job.object.path);
  const auto changed = [&] {
    return Fail(Code::kConflict, fmt::format("{}: the file has changed", name));
  };
  auto root = OpenRoot();
  if (!root) return Fail(root.error());
  // O_NONBLOCK: a FIFO that took the file's place must not hold us.
  const platform::UniqueFd file = OpenBeneath(
      root->Get(), job.object.path, O_RDONLY | O_NONBLOCK | O_NOCTTY, RESOLVE_NO_SYMLINKS);
  if (!file.Valid() && errno == ELOOP) return changed();  // it was a file when it was listed
  if (!file.Valid()) return Fail(FromErrno(errno, name));
  const auto unchanged = [&] {
    struct stat st = {};
    return ::fstat(file.Get(), &st) == 0 && S_ISREG(st.st_mode) &&
           VersionOfFile(st) == job.object.version;
  };
  if (!unchanged()) return changed();

  std::vector<std::byte> block(
      std::min<std::uint64_t>(gate_.Limits() ? kLimitedBlock : kBlock, job.length));
  BandwidthGate::Reader turn(gate_);
  std::uint64_t position = job.offset;
  const std::uint64_t end = job.offset + job.length;
  while (position < end) {
    if (SteadyClock::now() >= job.deadline) {
      return Fail(Code::kDeadlineExceeded, fmt::format("{}: not read in time", name));
    }
    const std::size_t wanted = std::min<std::uint64_t>(block.size(), end - position);
    const auto waited = turn.Wait(wanted, job.deadline);
    if (!waited) return Fail(waited.error().Wrap(name));
    if (waited->count() > 0) metrics_.CountThrottled(waited->count());
    const ssize_t got = ::pread(file.Get(), block.data(), wanted, static_cast<off_t>(position));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Fail(FromErrno(errno, name));
    if (got == 0 || !unchanged()) return changed();
    metrics_.CountBytes(static_cast<std::uint64_t>(got));
    position += static_cast<std::uint64_t>(got);
    if (!job.sink(std::span(block).first(static_cast<std::size_t>(got)))) {
      return Fail(Code::kUnavailable, fmt::format("{}: cancelled by the reader", name));
    }
  }
  return Ok();
}

}  // namespace

std::unique_ptr<Origin> MakeLocalOrigin(std::string root, const OriginLimits& limits,
                                        platform::Metrics& metrics) {
  return std::make_unique<LocalOrigin>(std::move(root), limits, metrics);
}

}  // namespace sluice::origin
