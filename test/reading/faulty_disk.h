// The disk under a cache directory. System calls that the node cache makes come by here, since the
// program is linked with --wrap for them; and the files can be damaged behind its back.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "faults.h"

namespace sluice::reading_model {

// While it lives, the calls that concern files below `root` may fail. At most one at a time.
class FaultyDisk {
 public:
  FaultyDisk(Faults& faults, std::filesystem::path root);
  ~FaultyDisk();
  FaultyDisk(const FaultyDisk&) = delete;
  FaultyDisk& operator=(const FaultyDisk&) = delete;

  [[nodiscard]] Faults& Rates() const { return faults_; }
  [[nodiscard]] bool Has(std::string_view path) const { return path.starts_with(root_); }

 private:
  Faults& faults_;
  const std::string root_;
};

// Damages the files of a cache directory. What a cache may be told of at no time, since a whole
// file is read by the kernel alone, happens to one at rest only.
class Vandal {
 public:
  Vandal(Faults& faults, std::filesystem::path directory)
      : faults_(faults), directory_(std::move(directory)) {}

  // To some file, in use or not: bits, length, content, its name.
  void DamageAFile();
  // What befalls a directory that nobody uses; ends what BlockDirectory has done.
  void DamageAtRest();
  void LoseDirectory();

 private:
  using Path = std::filesystem::path;

  [[nodiscard]] std::vector<Path> Files(const std::string& suffix) const;
  [[nodiscard]] std::optional<Path> Any(const std::string& suffix) const;
  void Flip(const Path& path);
  void Truncate(const Path& path);
  void Zero(const Path& path);
  void Garbage(const Path& path);
  void Exchange(const std::string& suffix);

  Faults& faults_;
  const Path directory_;
};

}  // namespace sluice::reading_model
