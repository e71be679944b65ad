#include "upload_journal.h"

#include <algorithm>
#include <atomic>
#include <utility>

namespace sluice::fuse_client {

class UploadJournal::Records final : public UploadRecords {
 public:
  Records(UploadJournal& journal, std::string origin)
      : journal_(journal), origin_(std::move(origin)) {}
  std::optional<std::uint32_t> Keep(const std::string& token) override {
    return journal_.Keep(origin_, token);
  }
  void Drop(std::uint32_t record) override { journal_.Drop(record); }

 private:
  UploadJournal& journal_;
  const std::string origin_;
};

UploadRecords& UploadJournal::Of(const std::string& origin) {
  const std::lock_guard lock(mutex_);
  auto& records = origins_[origin];
  if (records == nullptr) records = std::make_unique<Records>(*this, origin);
  return *records;
}

std::vector<UploadJournal::Left> UploadJournal::LeftOver() const {
  const std::lock_guard lock(mutex_);
  std::vector<Left> left;
  const auto records = state_.Uploads();
  for (std::uint32_t i = 0; i < records.size(); ++i) {
    const std::uint32_t length = std::atomic_ref(records[i].length).load(std::memory_order_acquire);
    if (length == 0 || length > sizeof(records[i].text)) continue;
    const std::string text(records[i].text, length);
    const std::size_t end = text.find('\0');
    if (end == std::string::npos) continue;
    left.push_back({i, text.substr(0, end), text.substr(end + 1)});
  }
  return left;
}

std::optional<std::uint32_t> UploadJournal::Keep(const std::string& origin,
                                                 const std::string& token) {
  const std::string text = origin + '\0' + token;
  const std::lock_guard lock(mutex_);
  const auto records = state_.Uploads();
  const auto free = std::ranges::find(records, 0U, &UploadRecord::length);
  if (free == records.end() || text.size() > sizeof(free->text)) return std::nullopt;
  std::ranges::copy(text, free->text);
  std::atomic_ref(free->length)
      .store(static_cast<std::uint32_t>(text.size()), std::memory_order_release);
  return static_cast<std::uint32_t>(free - records.begin());
}

void UploadJournal::Drop(std::uint32_t record) {
  const std::lock_guard lock(mutex_);
  std::atomic_ref(state_.Uploads()[record].length).store(0, std::memory_order_release);
}

}  // namespace sluice::fuse_client
