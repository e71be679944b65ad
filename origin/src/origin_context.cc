#include "origin_context.h"

#include <algorithm>
#include <utility>

namespace sluice::origin {

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

bool OriginContext::RenewCredentials(std::uint64_t used) {
  if (used != generation_) return true;  // another call has renewed them meanwhile
  const auto changed = ReadCredentialsAgain();
  if (!changed) {
    log_.Warn("cannot read the credentials again",
              {{"origin", Place("")}, {"error", changed.error().message}});
    return false;
  }
  if (!*changed) return false;
  ++generation_;
  log_.Info("credentials renewed", {{"origin", Place("")}});
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
