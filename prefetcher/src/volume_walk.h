// Finds the regular files of one volume that patterns mean, without leaving the volume.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "sluice/core/path_pattern.h"
#include "sluice/platform/unique_fd.h"

namespace sluice::prefetcher {

// A volume, opened. Its paths are walked one directory at a time, so they may be longer than the
// kernel takes in one piece.
struct Volume {
  std::string path;
  platform::UniqueFd root;
};

struct VolumePattern {
  std::string text;  // as it was given, for messages
  PathPattern pattern;
};

// A file where the walk met it. It is opened by whoever reads it.
struct FoundFile {
  std::shared_ptr<const Volume> volume;
  std::shared_ptr<const platform::UniqueFd> directory;
  std::string path;  // below the volume
  bool is_link = false;

  [[nodiscard]] std::string ShownPath() const { return volume->path + "/" + path; }
  [[nodiscard]] std::string Name() const;
  [[nodiscard]] std::uint64_t Size() const;  // 0 when it cannot be told
  // A descriptor for reading of a regular file, and its size. kNotFound for what is no regular
  // file of this volume: a device, a link that leads out of the volume or nowhere.
  struct Opened {
    platform::UniqueFd file;
    std::uint64_t size = 0;
  };
  [[nodiscard]] Result<Opened> Open() const;
};

struct WalkSink {
  // Every file once, unless a link leads to it as well.
  std::function<void(FoundFile)> file;
  // What could not be looked into, and patterns that mean nothing that is there.
  std::function<void(const std::string& path, const std::string& problem)> problem;
};

// Symbolic links to files are followed inside of the volume. Links to directories only where a
// pattern spells them out, so that links cannot lead in circles.
void WalkVolume(const std::shared_ptr<const Volume>& volume,
                const std::vector<VolumePattern>& patterns, const WalkSink& sink);

}  // namespace sluice::prefetcher
