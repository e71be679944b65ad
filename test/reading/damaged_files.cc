#include "damaged_files.h"

#include <sys/stat.h>

#include <set>
#include <system_error>
#include <utility>

#include "sluice/platform/guarded.h"

namespace sluice::reading_model {
namespace {

using FileId = std::pair<dev_t, ino_t>;

platform::Guarded<std::set<FileId>>& Damaged() {
  static platform::Guarded<std::set<FileId>> damaged;
  return damaged;
}

void Note(const struct stat& info) {
  Damaged().With([&](std::set<FileId>& damaged) { damaged.emplace(info.st_dev, info.st_ino); });
}

}  // namespace

void NoteDamage(int file) {
  struct stat info {};
  if (fstat(file, &info) == 0) Note(info);
}

void NoteDamage(const std::filesystem::path& path) {
  struct stat info {};
  if (stat(path.c_str(), &info) == 0) Note(info);
}

bool IsDamaged(int file) {
  struct stat info {};
  if (fstat(file, &info) != 0) return false;
  return Damaged().With([&](const std::set<FileId>& damaged) {
    return damaged.contains({info.st_dev, info.st_ino});
  });
}

void ForgetDamageBelow(const std::filesystem::path& directory) {
  std::error_code error;
  for (std::filesystem::recursive_directory_iterator it(directory, error), end; !error && it != end;
       it.increment(error)) {
    struct stat info {};
    if (lstat(it->path().c_str(), &info) != 0) continue;
    Damaged().With([&](std::set<FileId>& damaged) { damaged.erase({info.st_dev, info.st_ino}); });
  }
}

}  // namespace sluice::reading_model
