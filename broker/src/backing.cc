#include "sluice/broker/backing.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>

#include <fmt/format.h>

namespace sluice::broker {
namespace {

// linux/fuse.h of Debian 12 is older than these (node-plane ABI: 6.9).
struct BackingMap {
  std::int32_t fd = -1;
  std::uint32_t flags = 0;
  std::uint64_t padding = 0;
};
constexpr unsigned long kBackingOpen = _IOW(229, 1, BackingMap);
constexpr unsigned long kBackingClose = _IOW(229, 2, std::uint32_t);

Code CodeOf(int error) {
  switch (error) {
    case EPERM:
    case EACCES:
      return Code::kPermissionDenied;
    case EINVAL:
    case EBADF:
      return Code::kInvalidArgument;
    default:  // ENOTTY, EOPNOTSUPP: an older kernel; ELOOP: stacked too deep; ENOTCONN
      return Code::kUnavailable;
  }
}

}  // namespace

Result<std::int32_t> RegisterBackingFile(int device, int file) {
  struct stat info = {};
  const int flags = ::fcntl(file, F_GETFL);
  if (flags < 0 || ::fstat(file, &info) != 0 || !S_ISREG(info.st_mode) ||
      (flags & O_ACCMODE) != O_RDONLY || (flags & O_PATH) != 0) {
    return Fail(Code::kInvalidArgument, "a backing file must be regular and opened read-only");
  }
  const BackingMap map = {.fd = file};
  const int id = ::ioctl(device, kBackingOpen, &map);
  if (id <= 0) {
    return Fail(CodeOf(errno), fmt::format("register backing file: {}", std::strerror(errno)));
  }
  return id;
}

Status UnregisterBackingFile(int device, std::int32_t id) {
  const auto number = static_cast<std::uint32_t>(id);
  if (::ioctl(device, kBackingClose, &number) != 0) {
    return Fail(CodeOf(errno), fmt::format("unregister backing file: {}", std::strerror(errno)));
  }
  return Ok();
}

}  // namespace sluice::broker
