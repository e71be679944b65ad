#include "origin_context.h"

#include <algorithm>
#include <utility>

namespace sluice::origin {
namespace {

// Links to stores are signed for minutes at least; what they lead to does not change as quickly.
constexpr std::chrono::seconds kShortcutLife{60};
constexpr std::size_t kMaxShortcuts = 1'024;

}  // namespace

OriginContext::OriginContext(const OriginLimits& limits, platform::Metrics& metrics,
                             platform::Log log)
    : limits_(limits), metrics_(metrics), log_(std::move(log)), random_(std::random_device{}()) {}

Headers OriginContext::ConditionOf(const OriginObject& object) const {
  return {ConditionFor(object)};
}

std::optional<Verdict> OriginContext::CheckRead(const HttpHead& head, const OriginObject& object,
                                                std::uint64_t offset, std::uint64_t length) const {
  return CheckRange(head, object, offset, length);
}

void OriginContext::KeepShortcut(const std::string& key, std::string url, bool strayed,
                                 std::string linked_etag) {
  if (shortcuts_.size() >= kMaxShortcuts) shortcuts_.clear();
  shortcuts_[key] = {std::move(url), strayed, std::move(linked_etag),
                     std::chrono::steady_clock::now() + kShortcutLife};
}

const OriginContext::Shortcut* OriginContext::ShortcutOf(const std::string& key) const {
  const auto found = shortcuts_.find(key);
  const bool fresh =
      found != shortcuts_.end() && found->second.until > std::chrono::steady_clock::now();
  return fresh ? &found->second : nullptr;
}

bool OriginContext::RenewCredentials(std::uint64_t used) {
  if (used != generation_) return true;  // another call has renewed them meanwhile
  const auto renewal = RenewRefused();
  if (!renewal) {
    log_.Warn("cannot read the credentials again",
              {{"origin", Place("")}, {"error", renewal.error().message}});
    return false;
  }
  if (*renewal == Renewal::kUnchanged) return false;
  NoteNewCredentials();
  if (*renewal == Renewal::kRenewed) log_.Info("credentials renewed", {{"origin", Place("")}});
  return true;
}

std::chrono::milliseconds OriginContext::Backoff(unsigned failures) {
  std::chrono::milliseconds bound = limits_.first_backoff;
  for (unsigned i = 1; i < failures && bound < limits_.max_backoff; ++i) bound *= 2;
  bound = std::min(bound, limits_.max_backoff);
  std::uniform_int_distribution<std::chrono::milliseconds::rep> pick(0, bound.count());
  return std::chrono::milliseconds(pick(random_));
}

}  // namespace sluice::origin
