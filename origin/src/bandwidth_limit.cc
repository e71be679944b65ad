#include "bandwidth_limit.h"

#include <algorithm>

namespace sluice::origin {
namespace {

// A reader's turn: fewer bytes cost more turns, more make the others wait longer.
constexpr double kTurn = 128 << 10;
// The bucket holds so many seconds' worth, but two turns at least.
constexpr double kBurstSeconds = 0.05;

}  // namespace

BandwidthLimit::BandwidthLimit(std::uint64_t bytes_per_second)
    : rate_(static_cast<double>(bytes_per_second)),
      burst_(std::max(rate_ * kBurstSeconds, 2 * kTurn)),
      tokens_(burst_) {}

void BandwidthLimit::Refill(Time now) {
  if (filled_ && now > *filled_) {
    tokens_ += std::chrono::duration<double>(now - *filled_).count() * rate_;
    tokens_ = std::min(tokens_, burst_);
  }
  if (!filled_ || now > *filled_) filled_ = now;
}

// One who wants more than the bucket holds gets it from a full one, which then owes the rest.
double BandwidthLimit::Needed(const Ticket& ticket) const {
  const auto missing = static_cast<double>(ticket.wanted - ticket.allowance);
  return std::min(std::max(missing, kTurn), burst_);
}

void BandwidthLimit::Grant(Ticket& ticket) {
  const std::uint64_t granted =
      std::max(ticket.wanted - ticket.allowance, static_cast<std::uint64_t>(kTurn));
  ticket.allowance += granted;
  tokens_ -= static_cast<double>(granted);
}

bool BandwidthLimit::Take(Ticket& ticket, std::uint64_t bytes, Time now) {
  if (!Limits()) return true;
  if (ticket.waiting) return false;
  if (ticket.allowance < bytes) {
    Refill(now);
    ticket.wanted = bytes;
    if (!line_.empty() || tokens_ < Needed(ticket)) {
      ticket.waiting = true;
      ticket.since = now;
      line_.push_back(&ticket);
      return false;
    }
    Grant(ticket);
  }
  ticket.allowance -= bytes;
  return true;
}

std::vector<BandwidthLimit::Ticket*> BandwidthLimit::Admit(Time now) {
  std::vector<Ticket*> admitted;
  if (line_.empty()) return admitted;
  Refill(now);
  while (!line_.empty() && tokens_ >= Needed(*line_.front())) {
    Ticket* const ticket = line_.front();
    line_.pop_front();
    ticket->waiting = false;
    Grant(*ticket);
    admitted.push_back(ticket);
  }
  return admitted;
}

std::optional<BandwidthLimit::Time> BandwidthLimit::NextAdmission() const {
  if (line_.empty()) return std::nullopt;
  const double missing = std::max(0.0, Needed(*line_.front()) - tokens_);
  return *filled_ + std::chrono::ceil<Duration>(std::chrono::duration<double>(missing / rate_));
}

void BandwidthLimit::Leave(Ticket& ticket) {
  if (ticket.waiting) std::erase(line_, &ticket);
  tokens_ = std::min(tokens_ + static_cast<double>(ticket.allowance), burst_);
  ticket.allowance = 0;
  ticket.waiting = false;
}

}  // namespace sluice::origin
