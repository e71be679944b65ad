// New files of a directory: written under another name in the same directory, synced, renamed.
#pragma once

#include <deque>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "sluice/platform/guarded.h"
#include "sluice/ports/object_writer.h"

namespace sluice::origin {

// Whether a name is that of a file on its way; such a file is in no listing.
bool IsUploadName(std::string_view name);

class LocalWriter final : public ObjectWriter {
 public:
  // Starts no thread before the first upload.
  explicit LocalWriter(std::string root) : root_(std::move(root)) {}
  ~LocalWriter() override;
  LocalWriter(const LocalWriter&) = delete;
  LocalWriter& operator=(const LocalWriter&) = delete;

  Result<std::unique_ptr<ObjectUpload>> Begin(const std::string& path, std::uint64_t largest_block,
                                              UploadRecords& records) override;
  Written Rename(const OriginObject& from, const std::string& to) override;
  Status GiveUp(const std::string& token) override;

 private:
  class Upload;
  class Owned;
  struct Queue {
    std::deque<std::shared_ptr<Upload>> uploads;  // that have something to do
    std::vector<std::jthread> threads;
    bool stopping = false;
  };

  void Post(std::shared_ptr<Upload> upload);
  void Work();
  [[nodiscard]] std::string Name(const std::string& path) const;
  [[nodiscard]] Result<platform::UniqueFd> OpenRoot() const;
  // The directory of a path, made with those above it where it is missing.
  [[nodiscard]] Result<platform::UniqueFd> OpenParent(const std::string& path, bool make) const;

  const std::string root_;
  platform::Guarded<Queue> queue_;
};

}  // namespace sluice::origin
