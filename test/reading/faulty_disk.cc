#include "faulty_disk.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <fstream>
#include <string_view>
#include <system_error>
#include <utility>

#include "damaged_files.h"

namespace sluice::reading_model {
namespace {

// Found by functions that have the signatures of system calls.
std::atomic<const FaultyDisk*> in_force = nullptr;

// Whether the call is to fail with `error`.
bool Fails(Fault fault, int error) {
  const FaultyDisk* const disk = in_force;
  if (disk == nullptr || !disk->Rates().Happens(fault)) return false;
  errno = error;
  return true;
}

bool FailsOf(const char* path, Fault fault, int error) {
  const FaultyDisk* const disk = in_force;
  return disk != nullptr && disk->Has(path) && Fails(fault, error);
}

// How much of `size` bytes a call that is cut short does: something, but not all.
std::optional<std::size_t> CutShort(Fault fault, std::size_t size) {
  const FaultyDisk* const disk = in_force;
  if (disk == nullptr || size < 2 || !disk->Rates().Happens(fault)) return std::nullopt;
  return 1 + disk->Rates().Draw(size - 1);
}

constexpr std::array kSuffixes = {".part", ".data", ".index"};

}  // namespace

FaultyDisk::FaultyDisk(Faults& faults, std::filesystem::path root)
    : faults_(faults), root_(std::move(root)) {
  in_force = this;
}

FaultyDisk::~FaultyDisk() { in_force = nullptr; }

std::vector<std::filesystem::path> Vandal::Files(const std::string& suffix) const {
  std::vector<Path> found;
  std::error_code error;
  for (std::filesystem::directory_iterator it(directory_ / "objects", error), end;
       !error && it != end; it.increment(error)) {
    if (suffix.empty() || it->path().extension() == suffix) found.push_back(it->path());
  }
  std::ranges::sort(found);
  return found;
}

std::optional<std::filesystem::path> Vandal::Any(const std::string& suffix) const {
  const std::vector<Path> files = Files(suffix);
  if (files.empty()) return std::nullopt;
  return files[faults_.Draw(files.size())];
}

void Vandal::DamageAFile() {
  const auto path = Any(kSuffixes[faults_.Draw(kSuffixes.size())]);
  if (!path) return;
  // Whole files are not for writing.
  std::error_code ignored;
  std::filesystem::permissions(*path, std::filesystem::perms::owner_write,
                               std::filesystem::perm_options::add, ignored);
  NoteDamage(*path);
  switch (faults_.Draw(8)) {
    case 0:
    case 1:
    case 2:
      if (faults_.Make(Fault::kFileFlipped)) Flip(*path);
      return;
    case 3:
      if (faults_.Make(Fault::kFileTruncated)) Truncate(*path);
      return;
    case 4:
      if (faults_.Make(Fault::kFileZeroed)) Zero(*path);
      return;
    case 5:
      if (faults_.Make(Fault::kFileGarbage)) Garbage(*path);
      return;
    case 6:
      if (faults_.Make(Fault::kFileRemoved)) std::filesystem::remove(*path, ignored);
      return;
    default:
      if (faults_.Make(Fault::kFilesExchanged)) Exchange(path->extension());
      return;
  }
}

void Vandal::DamageAtRest() {
  std::error_code ignored;
  if (std::filesystem::is_regular_file(directory_, ignored)) {
    std::filesystem::remove(directory_, ignored);
  }
  for (std::uint64_t n = faults_.Draw(4); n > 0; --n) DamageAFile();
  if (faults_.Happens(Fault::kFileBesideItself)) {
    if (const auto path = Any(".data")) {
      std::filesystem::copy_file(*path, Path(*path).replace_extension(".part"), ignored);
    }
  }
  if (faults_.Happens(Fault::kDirectoryLost)) std::filesystem::remove_all(directory_, ignored);
  if (faults_.Happens(Fault::kDirectoryBlocked)) {
    std::filesystem::remove_all(directory_, ignored);
    std::ofstream(directory_) << "in the way";
  }
}

void Vandal::LoseDirectory() {
  std::error_code ignored;
  if (faults_.Make(Fault::kDirectoryLost)) std::filesystem::remove_all(directory_, ignored);
}

void Vandal::Flip(const Path& path) {
  std::error_code error;
  const auto size = std::filesystem::file_size(path, error);
  if (error || size == 0) return;
  // Most of a sparse file is not there; its beginning is, as a rule.
  const auto at =
      static_cast<std::streamoff>(faults_.Draw(std::min<std::uint64_t>(size, 1U << 24)));
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(at);
  const int byte = file.get();
  if (!file) return;
  file.seekp(at);
  file.put(static_cast<char>(byte ^ (1 << faults_.Draw(8))));
}

void Vandal::Truncate(const Path& path) {
  std::error_code error;
  const auto size = std::filesystem::file_size(path, error);
  if (!error && size > 0) std::filesystem::resize_file(path, faults_.Draw(size), error);
}

void Vandal::Zero(const Path& path) {
  std::error_code error;
  const auto size = std::filesystem::file_size(path, error);
  if (error || size == 0) return;
  // Its end comes back as a hole.
  std::filesystem::resize_file(path, faults_.Draw(size), error);
  std::filesystem::resize_file(path, size, error);
}

void Vandal::Garbage(const Path& path) {
  std::string text(1 + faults_.Draw(2000), '\0');
  for (char& c : text) c = static_cast<char>(faults_.Draw(256));
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.write(text.data(), static_cast<std::streamsize>(text.size()));
}

void Vandal::Exchange(const std::string& suffix) {
  const auto one = Any(suffix);
  const auto two = Any(suffix);
  if (!one || !two || *one == *two) return;
  NoteDamage(*one);
  NoteDamage(*two);
  std::error_code ignored;
  const Path aside = directory_ / "aside";
  std::filesystem::rename(*one, aside, ignored);
  std::filesystem::rename(*two, *one, ignored);
  std::filesystem::rename(aside, *two, ignored);
}

}  // namespace sluice::reading_model

// NOLINTBEGIN: the names are the linker's.
extern "C" {

using sluice::reading_model::CutShort;
using sluice::reading_model::Fails;
using sluice::reading_model::FailsOf;
using sluice::reading_model::Fault;
using sluice::reading_model::NoteDamage;

ssize_t __real_pread(int fd, void* into, size_t size, off_t offset);
ssize_t __real_pwrite(int fd, const void* from, size_t size, off_t offset);
int __real_open(const char* path, int flags, ...);
int __real_rename(const char* from, const char* to);
int __real_ftruncate(int fd, off_t size);
int __real_fchmod(int fd, mode_t mode);

ssize_t __wrap_pread(int fd, void* into, size_t size, off_t offset) {
  if (Fails(Fault::kDiskReadFails, EIO)) return -1;
  return __real_pread(fd, into, CutShort(Fault::kDiskReadsShort, size).value_or(size), offset);
}

ssize_t __wrap_pwrite(int fd, const void* from, size_t size, off_t offset) {
  if (Fails(Fault::kDiskWriteFails, EIO) || Fails(Fault::kDiskIsFull, ENOSPC)) return -1;
  if (const auto part = CutShort(Fault::kDiskWriteTears, size)) {
    (void)__real_pwrite(fd, from, *part, offset);
    errno = EIO;
    return -1;
  }
  if (const auto part = CutShort(Fault::kDiskWriteLies, size)) {
    NoteDamage(fd);
    (void)__real_pwrite(fd, from, *part, offset);
    return static_cast<ssize_t>(size);
  }
  return __real_pwrite(fd, from, CutShort(Fault::kDiskWritesShort, size).value_or(size), offset);
}

int __wrap_open(const char* path, int flags, ...) {
  mode_t mode = 0;
  if ((flags & O_CREAT) != 0) {
    va_list more;
    va_start(more, flags);
    mode = va_arg(more, mode_t);
    va_end(more);
  }
  if (FailsOf(path, Fault::kDiskOpenFails, EMFILE)) return -1;
  return __real_open(path, flags, mode);
}

int __wrap_rename(const char* from, const char* to) {
  return FailsOf(from, Fault::kDiskRenameFails, EIO) ? -1 : __real_rename(from, to);
}

int __wrap_ftruncate(int fd, off_t size) {
  return Fails(Fault::kDiskResizeFails, ENOSPC) ? -1 : __real_ftruncate(fd, size);
}

int __wrap_fchmod(int fd, mode_t mode) {
  return Fails(Fault::kDiskProtectFails, EPERM) ? -1 : __real_fchmod(fd, mode);
}

}  // extern "C"
// NOLINTEND
