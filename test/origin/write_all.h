// Writes an object through an adapter and waits for what becomes of it.
#pragma once

#include <future>
#include <memory>
#include <set>
#include <string>

#include "sluice/platform/guarded.h"
#include "sluice/ports/object_writer.h"

namespace sluice::origin {

class FakeRecords final : public UploadRecords {
 public:
  std::optional<std::uint32_t> Keep(const std::string& token) override {
    return kept_.With([&](auto& kept) {
      const auto record = static_cast<std::uint32_t>(all_.size());
      all_.push_back(token);
      kept.insert(record);
      return record;
    });
  }
  void Drop(std::uint32_t record) override {
    kept_.With([&](auto& kept) { kept.erase(record); });
  }
  [[nodiscard]] std::size_t Count() const {
    return kept_.With([](const auto& kept) { return kept.size(); });
  }
  // In the order in which they were noted, dropped or not.
  [[nodiscard]] std::vector<std::string> All() const {
    return kept_.With([&](const auto&) { return all_; });
  }

 private:
  platform::Guarded<std::set<std::uint32_t>> kept_;
  std::vector<std::string> all_;
};

inline Block BlockOf(std::string_view bytes) {
  const auto* const begin = reinterpret_cast<const std::byte*>(bytes.data());
  return std::make_shared<const std::vector<std::byte>>(begin, begin + bytes.size());
}

inline std::future<Written> StartFinish(ObjectUpload& upload, std::string_view bytes) {
  auto promise = std::make_shared<std::promise<Written>>();
  auto written = promise->get_future();
  upload.Finish(BlockOf(bytes), [promise](Written w) { promise->set_value(std::move(w)); });
  return written;
}

inline std::future<Written> StartAppend(ObjectUpload& upload, std::string_view bytes) {
  auto promise = std::make_shared<std::promise<Written>>();
  auto written = promise->get_future();
  upload.Append(BlockOf(bytes), [promise](Written w) { promise->set_value(std::move(w)); });
  return written;
}

// All of it, in blocks of the wanted size, all of them at once.
inline Written WriteAll(ObjectUpload& upload, std::string_view bytes) {
  std::vector<std::future<Written>> parts;
  for (std::uint64_t block = upload.NextBlock(); bytes.size() > block; block = upload.NextBlock()) {
    parts.push_back(StartAppend(upload, bytes.substr(0, block)));
    bytes.remove_prefix(block);
  }
  Written written = StartFinish(upload, bytes).get();
  for (auto& part : parts) {
    Written sent = part.get();
    if (!sent.status && written.status) written = std::move(sent);
  }
  return written;
}

}  // namespace sluice::origin
