#include "beneath.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>

#include <fmt/format.h>

namespace sluice::platform {
namespace {

// What is in the way when a component is no directory; asks no server (AT_STATX_DONT_SYNC).
Error NotADirectory(int parent, const std::string& name, const std::string& shown) {
  struct statx info = {};
  const int flags = AT_SYMLINK_NOFOLLOW | AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT;
  const bool symlink =
      ::statx(parent, name.c_str(), flags, STATX_TYPE, &info) == 0 && S_ISLNK(info.stx_mode);
  return {Code::kInvalidArgument,
          fmt::format("{} is {}; a directory is needed", shown,
                      symlink ? "a symlink, which is not followed here" : "not a directory")};
}

Result<UniqueFd> OpenComponent(int parent, const std::string& name, const std::string& shown,
                               const BeneathOptions& options) {
  constexpr int kFlags = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
  int fd = ::openat(parent, name.c_str(), kFlags);
  if (fd < 0 && errno == ENOENT && options.missing == Missing::kCreate) {
    if (::mkdirat(parent, name.c_str(), options.mode) != 0 && errno != EEXIST) {
      return Fail(FromErrno(errno, "create " + shown));
    }
    fd = ::openat(parent, name.c_str(), kFlags);
  }
  if (fd >= 0) return UniqueFd(fd);
  const int error = errno;
  if (error == ENOTDIR || error == ELOOP) return Fail(NotADirectory(parent, name, shown));
  return Fail(FromErrno(error, "open " + shown));
}

}  // namespace

Error FromErrno(int error, const std::string& object) {
  Code code = Code::kInternal;
  switch (error) {
    case ENOENT:
      code = Code::kNotFound;
      break;
    case EEXIST:
      code = Code::kAlreadyExists;
      break;
    case EPERM:
    case EACCES:
      code = Code::kPermissionDenied;
      break;
    case EINVAL:
    case ENAMETOOLONG:
    case ENOTDIR:
    case ELOOP:
      code = Code::kInvalidArgument;
      break;
    case EBUSY:
    case EAGAIN:
    case ENOTCONN:
    case ECONNABORTED:
    case ENODEV:
      code = Code::kUnavailable;
      break;
    default:
      break;
  }
  return {code, fmt::format("{}: {}", object, std::strerror(error))};
}

Result<UniqueFd> OpenBeneath(int root, const std::string& relative, const BeneathOptions& options) {
  // Not openat("."): that checks search permission, which a FUSE root asks its server for.
  UniqueFd current(::fcntl(root, F_DUPFD_CLOEXEC, 0));
  if (!current.Valid()) return Fail(FromErrno(errno, "open the root of " + relative));
  for (std::size_t begin = 0; begin < relative.size();) {
    std::size_t end = relative.find('/', begin);
    if (end == std::string::npos) end = relative.size();
    const std::string name = relative.substr(begin, end - begin);
    begin = end + 1;
    if (name.empty() || name == ".") continue;
    if (name == ".." || name.find('\0') != std::string::npos) {
      return Fail(Code::kInvalidArgument,
                  fmt::format("path '{}' may not contain '..' or NUL", relative.c_str()));
    }
    SLUICE_TRY(next, OpenComponent(current.Get(), name, relative.substr(0, end), options),
               "resolve path");
    current = std::move(next);
  }
  return current;
}

Result<UniqueFd> OpenAbsolute(const std::string& path) {
  if (!path.starts_with('/')) {
    return Fail(Code::kInvalidArgument, fmt::format("path '{}' must be absolute", path));
  }
  UniqueFd root(::open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!root.Valid()) return Fail(FromErrno(errno, "open /"));
  return OpenBeneath(root.Get(), path);
}

Result<std::string> RelativeTo(const std::string& root, const std::string& path) {
  std::string prefix = root;
  while (prefix.size() > 1 && prefix.ends_with('/')) prefix.pop_back();
  if (path == prefix) return std::string();
  if (!prefix.ends_with('/')) prefix += '/';
  if (prefix.empty() || prefix[0] != '/' || !path.starts_with(prefix)) {
    return Fail(Code::kInvalidArgument, fmt::format("{} does not lie below {}", path, root));
  }
  return path.substr(prefix.size());
}

}  // namespace sluice::platform
