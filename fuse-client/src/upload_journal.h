// The uploads under way, noted in the state file: a successor gives up those of a killed client.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "sluice/ports/object_writer.h"

#include "state_file.h"

namespace sluice::fuse_client {

// Threads: any.
class UploadJournal {
 public:
  explicit UploadJournal(StateFile& state) : state_(state) {}

  struct Left {
    std::uint32_t record = 0;
    std::string origin;  // its identity
    std::string token;
  };
  // Before the first upload of this process: what is noted is another one's.
  [[nodiscard]] std::vector<Left> LeftOver() const;

  // Of the uploads to one origin; lives as long as this.
  UploadRecords& Of(const std::string& origin);

  std::optional<std::uint32_t> Keep(const std::string& origin, const std::string& token);
  void Drop(std::uint32_t record);

 private:
  class Records;

  StateFile& state_;
  mutable std::mutex mutex_;
  std::map<std::string, std::unique_ptr<UploadRecords>> origins_;
};

}  // namespace sluice::fuse_client
