// The plugin's memory across its own restarts: one small JSON file per mount in a directory on
// tmpfs. It only helps to interpret the mount table, which is the truth.
#pragma once

#include <string>
#include <vector>

#include "sluice/core/resource.h"
#include "sluice/core/result.h"

namespace sluice::csi {

// Threads: calls for one key must be serialized by the caller.
class StateFiles {
 public:
  explicit StateFiles(std::string directory) : directory_(std::move(directory)) {}

  // Creates the directory (0700).
  Status Open();
  // Replaces the file of `key` as a whole.
  Status Save(const std::string& key, const Json& json);
  Status Remove(const std::string& key);  // Ok when there is none
  // Every readable document; files that are none are skipped and named in `damaged`.
  struct Loaded {
    std::vector<Json> documents;
    std::vector<std::string> damaged;
  };
  Result<Loaded> LoadAll();

 private:
  [[nodiscard]] std::string FileOf(const std::string& key) const;

  std::string directory_;
};

}  // namespace sluice::csi
