#include "sluice/platform/mount.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>

#include "beneath.h"

// <sys/mount.h> and <linux/mount.h> of this release define the same enumerators; these two calls
// and three flags are all that is needed of the former.
extern "C" int mount(const char* source, const char* target, const char* type, unsigned long flags,
                     const void* data) noexcept;
extern "C" int umount2(const char* target, int flags) noexcept;

namespace sluice::platform {
namespace {

constexpr unsigned long kMsRdonly = 1;
constexpr unsigned long kMsNosuid = 2;
constexpr unsigned long kMsNodev = 4;
constexpr unsigned long kMsRemount = 32;
constexpr unsigned long kMsBind = 4096;
constexpr int kMntDetach = 2;
constexpr int kUmountNofollow = 8;
// More mounts than this on one path are a fault elsewhere.
constexpr int kMaxStacked = 1000;

int FsOpen(const char* type) {
  return static_cast<int>(::syscall(SYS_fsopen, type, FSOPEN_CLOEXEC));
}
int FsMount(int fs, unsigned attributes) {
  return static_cast<int>(::syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, attributes));
}
int MoveMount(int from, int to) {
  return static_cast<int>(::syscall(SYS_move_mount, from, "", to, "",
                                    MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH));
}
int CloneTree(int fd) {
  return static_cast<int>(
      ::syscall(SYS_open_tree, fd, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC));
}
int SetAttributes(int fd, std::uint64_t set) {
  struct mount_attr attributes = {};
  attributes.attr_set = set;
  return static_cast<int>(
      ::syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH, &attributes, sizeof(attributes)));
}

std::string ProcPath(int fd) { return fmt::format("/proc/self/fd/{}", fd); }

// The configuration steps of one fsopen context; the first failure sticks.
class FsContext {
 public:
  explicit FsContext(int fd) : fd_(fd) {}

  FsContext& Set(const char* key, const std::string& value) {
    return Step(FSCONFIG_SET_STRING, key, value.c_str());
  }
  FsContext& Flag(const char* key, bool on) {
    return on ? Step(FSCONFIG_SET_FLAG, key, nullptr) : *this;
  }
  Status Create() {
    Step(FSCONFIG_CMD_CREATE, nullptr, nullptr);
    if (error_ == 0) return Ok();
    return Fail(FromErrno(error_, fmt::format("fsconfig {}: {}", failed_, KernelMessage())));
  }

 private:
  FsContext& Step(unsigned command, const char* key, const char* value) {
    if (error_ == 0 && ::syscall(SYS_fsconfig, fd_, command, key, value, 0) != 0) {
      error_ = errno;
      failed_ = key == nullptr ? "create" : key;
    }
    return *this;
  }
  // The context's descriptor yields the kernel's explanation when read.
  [[nodiscard]] std::string KernelMessage() const {
    char text[256];
    const ssize_t n = ::read(fd_, text, sizeof(text));
    return n > 0 ? std::string(text, static_cast<std::size_t>(n)) : std::string("no explanation");
  }

  int fd_;
  int error_ = 0;
  std::string failed_;
};

Status MountByContext(int context_fd, int device, int target, const FuseMountOptions& options) {
  FsContext context(context_fd);
  SLUICE_CHECK(context.Set("source", options.source)
                   .Set("subtype", options.subtype)
                   .Set("fd", std::to_string(device))
                   .Set("rootmode", "40000")
                   .Set("user_id", std::to_string(::getuid()))
                   .Set("group_id", std::to_string(::getgid()))
                   .Flag("default_permissions", options.default_permissions)
                   .Flag("allow_other", options.allow_other)
                   .Flag("ro", options.read_only)
                   .Create(),
               "configure");
  const unsigned attributes =
      MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | (options.read_only ? unsigned{MOUNT_ATTR_RDONLY} : 0U);
  const UniqueFd mounted(FsMount(context_fd, attributes));
  if (!mounted.Valid()) return Fail(FromErrno(errno, "fsmount"));
  if (MoveMount(mounted.Get(), target) != 0) return Fail(FromErrno(errno, "move_mount"));
  return Ok();
}

// Kernels before 5.2.
Status MountByOptions(int device, int target, const FuseMountOptions& options) {
  const std::string data =
      fmt::format("fd={},rootmode=40000,user_id={},group_id={}{}{}", device, ::getuid(), ::getgid(),
                  options.default_permissions ? ",default_permissions" : "",
                  options.allow_other ? ",allow_other" : "");
  const unsigned long flags = kMsNosuid | kMsNodev | (options.read_only ? kMsRdonly : 0UL);
  if (::mount(options.source.c_str(), ProcPath(target).c_str(), ("fuse." + options.subtype).c_str(),
              flags, data.c_str()) != 0) {
    return Fail(FromErrno(errno, "mount"));
  }
  return Ok();
}

struct Identity {
  std::uint32_t major = 0;
  std::uint32_t minor = 0;
  std::uint64_t inode = 0;
  bool operator==(const Identity&) const = default;
};

// Of an open directory, from what the kernel has cached: a dead or silent FUSE server is not asked.
Result<Identity> Identify(int fd) {
  struct statx info = {};
  if (::statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_INO, &info) !=
      0) {
    return Fail(FromErrno(errno, "statx"));
  }
  return Identity{info.stx_dev_major, info.stx_dev_minor, info.stx_ino};
}

// The path without symlinks that the kernel knows the descriptor by, as in the mount table.
Result<std::string> CanonicalPath(int fd) {
  char path[4096];
  const ssize_t n = ::readlink(ProcPath(fd).c_str(), path, sizeof(path));
  if (n < 0 || n == static_cast<ssize_t>(sizeof(path))) return Fail(FromErrno(errno, "readlink"));
  return std::string(path, static_cast<std::size_t>(n));
}

// `path` without trailing slashes.
Result<std::string> PathOfMount(const std::string& path) {
  std::string clean = path;
  while (clean.size() > 1 && clean.ends_with('/')) clean.pop_back();
  if (clean.size() > 1 && clean.starts_with('/')) return clean;
  return Fail(Code::kInvalidArgument, "not an absolute path of a mount");
}

// Unmounts what is topmost at `path`. Ok when nothing is there any more.
Status UnmountTop(const std::string& path, bool detach) {
  const std::size_t slash = path.rfind('/');
  SLUICE_TRY(parent, OpenAbsolute(slash == 0 ? "/" : path.substr(0, slash)), "parent");
  const std::string at = ProcPath(parent.Get()) + path.substr(slash);
  if (::umount2(at.c_str(), kUmountNofollow | (detach ? kMntDetach : 0)) == 0) return Ok();
  if (errno == EINVAL || errno == ENOENT) return Ok();  // somebody else was faster
  return Fail(FromErrno(errno, "umount"));
}

Status BindDescriptor(int source, int target, bool read_only) {
  const UniqueFd tree(CloneTree(source));
  if (tree.Valid()) {
    const std::uint64_t attributes =
        MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | (read_only ? std::uint64_t{MOUNT_ATTR_RDONLY} : 0U);
    if (SetAttributes(tree.Get(), attributes) == 0) {
      if (MoveMount(tree.Get(), target) != 0) return Fail(FromErrno(errno, "move_mount"));
      return Ok();
    }
  }
  if (errno != ENOSYS) return Fail(FromErrno(errno, "open_tree"));
  // Kernels before 5.12.
  const std::string at = ProcPath(target);
  if (::mount(ProcPath(source).c_str(), at.c_str(), nullptr, kMsBind, nullptr) != 0) {
    return Fail(FromErrno(errno, "mount --bind"));
  }
  if (!read_only) return Ok();
  SLUICE_TRY(path, CanonicalPath(target), "find the new mount");
  const unsigned long flags = kMsRemount | kMsBind | kMsRdonly | kMsNosuid | kMsNodev;
  if (::mount(nullptr, path.c_str(), nullptr, flags, nullptr) == 0) return Ok();
  const int error = errno;
  // Better no mount than a writable one.
  ::umount2(path.c_str(), kMntDetach | kUmountNofollow);
  return Fail(FromErrno(error, "remount read-only"));
}

}  // namespace

Result<UniqueFd> MountFuse(const std::string& target, const FuseMountOptions& options) {
  const std::string what = fmt::format("mount FUSE at {}", target);
  SLUICE_TRY(directory, OpenAbsolute(target), what);
  UniqueFd device(::open("/dev/fuse", O_RDWR | O_CLOEXEC));
  if (!device.Valid()) {
    return Fail(FromErrno(errno,
                          "open /dev/fuse (is the fuse module loaded, and the device in "
                          "this container?)")
                    .Wrap(what));
  }
  const UniqueFd context(FsOpen("fuse"));
  if (!context.Valid() && errno != ENOSYS) return Fail(FromErrno(errno, "fsopen").Wrap(what));
  SLUICE_CHECK(context.Valid()
                   ? MountByContext(context.Get(), device.Get(), directory.Get(), options)
                   : MountByOptions(device.Get(), directory.Get(), options),
               what);
  return device;
}

Status BindMount(const BindRequest& request) {
  const std::string what = fmt::format("bind {} to {}", request.source, request.target);
  SLUICE_CHECK(MakeDirectories(request.root, request.target, 0750), what);
  SLUICE_TRY(source_root, OpenAbsolute(request.source), what);
  SLUICE_TRY(source, OpenBeneath(source_root.Get(), request.sub_path), what);
  SLUICE_TRY(relative, RelativeTo(request.root, request.target), what);
  const UniqueFd root(::open(request.root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!root.Valid()) return Fail(FromErrno(errno, "open " + request.root).Wrap(what));

  SLUICE_TRY(target, OpenBeneath(root.Get(), relative), what);
  SLUICE_TRY(path, CanonicalPath(target.Get()), what);
  if (const auto present = FindMount(path)) {
    const auto wanted = Identify(source.Get());
    const auto found = Identify(target.Get());
    if (wanted && found && *wanted == *found && present->read_only == request.read_only) {
      return Ok();
    }
    // What is there is stale: a dead mount, or one of an earlier life of the volume.
    target.Reset();
    SLUICE_CHECK(UnmountAll(path, /*detach=*/true), what);
    SLUICE_TRY(uncovered, OpenBeneath(root.Get(), relative), what);
    target = std::move(uncovered);
  }
  SLUICE_CHECK(BindDescriptor(source.Get(), target.Get(), request.read_only), what);
  return Ok();
}

Status UnmountAll(const std::string& path, bool detach) {
  const std::string what = fmt::format("unmount {}", path);
  SLUICE_TRY(clean, PathOfMount(path), what);
  for (int i = 0; i < kMaxStacked; ++i) {
    const auto mounted = FindMount(clean);
    if (!mounted && mounted.error().code == Code::kNotFound) return Ok();
    if (!mounted) return Fail(mounted.error().Wrap(what));
    SLUICE_CHECK(UnmountTop(clean, detach), what);
  }
  return Fail(Code::kInternal, fmt::format("{}: more than {} mounts", what, kMaxStacked));
}

Status UnmountFuse(const std::string& path, std::uint32_t minor, bool detach) {
  const std::string what = fmt::format("unmount {}", path);
  SLUICE_TRY(clean, PathOfMount(path), what);
  SLUICE_TRY(table, MountTable(), what);
  std::erase_if(table, [&](const MountEntry& entry) { return entry.mount_point != clean; });
  const auto is_ours = [&](const MountEntry& entry) {
    return entry.major == 0 && entry.minor == minor && entry.fs_type.starts_with("fuse");
  };
  if (std::ranges::none_of(table, is_ours)) return Ok();
  const MountEntry& top = table.back();
  if (!is_ours(top)) {
    return Fail(Code::kConflict,
                fmt::format("{}: it is covered by a mount of {} ({}); unmount that "
                            "one first",
                            what, top.source, top.fs_type));
  }
  SLUICE_CHECK(UnmountTop(clean, detach), what);
  return Ok();
}

Status MakeDirectories(const std::string& root, const std::string& path, unsigned mode) {
  const std::string what = fmt::format("create directory {}", path);
  SLUICE_TRY(relative, RelativeTo(root, path), what);
  const UniqueFd base(::open(root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!base.Valid()) return Fail(FromErrno(errno, "open " + root).Wrap(what));
  SLUICE_TRY(created,
             OpenBeneath(base.Get(), relative, {.missing = Missing::kCreate, .mode = mode}), what);
  return Ok();
}

namespace {

Status WriteFile(int directory, const std::string& path, const std::string& text) {
  const UniqueFd file(::openat(directory, path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!file.Valid()) return Fail(FromErrno(errno, "open " + path));
  if (::write(file.Get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    return Fail(FromErrno(errno, "write " + path));
  }
  return Ok();
}

}  // namespace

Status AbortFuseConnection(std::uint32_t minor) {
  const std::string what = fmt::format("abort FUSE connection {}", minor);
  // A detached instance of fusectl works where nobody has mounted one.
  const UniqueFd context(FsOpen("fusectl"));
  if (context.Valid() && FsContext(context.Get()).Create()) {
    const UniqueFd control(FsMount(context.Get(), 0));
    if (control.Valid()) {
      SLUICE_CHECK(WriteFile(control.Get(), fmt::format("{}/abort", minor), "1"), what);
      return Ok();
    }
  }
  SLUICE_CHECK(WriteFile(AT_FDCWD, fmt::format("/sys/fs/fuse/connections/{}/abort", minor), "1"),
               what);
  return Ok();
}

Status SetReadAhead(std::uint32_t major, std::uint32_t minor, unsigned kilobytes) {
  SLUICE_CHECK(WriteFile(AT_FDCWD, fmt::format("/sys/class/bdi/{}:{}/read_ahead_kb", major, minor),
                         std::to_string(kilobytes)),
               "set read-ahead");
  return Ok();
}

}  // namespace sluice::platform
