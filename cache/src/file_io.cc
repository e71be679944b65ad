#include "file_io.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include <fmt/format.h>

namespace sluice::cache {

Error ErrnoError(std::string_view what, const std::filesystem::path& path) {
  const int number = errno;
  Code code = Code::kInternal;
  if (number == ENOENT) code = Code::kNotFound;
  if (number == EACCES || number == EPERM || number == EROFS) code = Code::kPermissionDenied;
  return {code, fmt::format("{} {}: {}", what, path.string(),
                            std::error_code(number, std::generic_category()).message())};
}

Status ReadAt(int fd, std::uint64_t offset, std::span<std::byte> into,
              const std::filesystem::path& path) {
  while (!into.empty()) {
    const ssize_t n = pread(fd, into.data(), into.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Fail(ErrnoError("read", path));
    if (n == 0) return Fail(Code::kInternal, "read " + path.string() + ": shorter than expected");
    into = into.subspan(static_cast<std::size_t>(n));
    offset += static_cast<std::uint64_t>(n);
  }
  return Ok();
}

Status WriteAt(int fd, std::uint64_t offset, std::span<const std::byte> bytes,
               const std::filesystem::path& path) {
  while (!bytes.empty()) {
    const ssize_t n = pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Fail(ErrnoError("write", path));
    if (n == 0) return Fail(Code::kInternal, "write " + path.string() + ": nothing was written");
    bytes = bytes.subspan(static_cast<std::size_t>(n));
    offset += static_cast<std::uint64_t>(n);
  }
  return Ok();
}

void BeginWriteBack(int fd) { (void)sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE); }

void AwaitWriteBack(int fd) {
  constexpr unsigned kAll =
      SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
  while (sync_file_range(fd, 0, 0, kAll) != 0 && errno == EINTR) {
  }
}

Result<platform::UniqueFd> OpenFile(const std::filesystem::path& path, int flags, unsigned mode) {
  platform::UniqueFd fd(open(path.c_str(), flags | O_CLOEXEC | O_NOFOLLOW, mode));
  if (!fd.Valid()) return Fail(ErrnoError("open", path));
  return fd;
}

bool IsFileAt(const platform::UniqueFd& file, const std::filesystem::path& path) {
  struct stat open {};
  struct stat there {};
  return fstat(file.Get(), &open) == 0 && lstat(path.c_str(), &there) == 0 &&
         open.st_dev == there.st_dev && open.st_ino == there.st_ino;
}

Result<ByteBuffer> ReadWholeFile(const std::filesystem::path& path, std::uint64_t limit) {
  SLUICE_TRY(fd, OpenFile(path, O_RDONLY), "read the file");
  struct stat info {};
  if (fstat(fd.Get(), &info) != 0) return Fail(ErrnoError("stat", path));
  const auto size = static_cast<std::uint64_t>(info.st_size);
  if (!S_ISREG(info.st_mode) || size > limit) {
    return Fail(Code::kInvalidArgument, path.string() + ": not a file of a believable size");
  }
  ByteBuffer bytes(size);
  SLUICE_CHECK(ReadAt(fd.Get(), 0, bytes, path), "read the file");
  return bytes;
}

}  // namespace sluice::cache
