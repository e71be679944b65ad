#include "referee.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace sluice::reading_model {
namespace {

constexpr std::size_t kMostFindings = 20;

std::string Name(const Attempt& attempt) {
  return fmt::format("read of {} {} at {} size {} (of {})", attempt.seen.object.path,
                     attempt.seen.object.version, attempt.offset, attempt.size,
                     attempt.seen.object.size);
}

std::size_t WantedSize(const Attempt& attempt) {
  const std::uint64_t end = attempt.seen.object.size;
  if (attempt.offset >= end) return 0;
  return std::min({static_cast<std::uint64_t>(attempt.size),
                   static_cast<std::uint64_t>(cache::kMaxReadBytes), end - attempt.offset});
}

}  // namespace

void Referee::Judge(const Attempt& attempt, const Result<cache::Bytes>& outcome) {
  if (!outcome) return JudgeError(attempt, outcome.error());
  const std::size_t wanted = WantedSize(attempt);
  if (outcome->size() != wanted) {
    Object(fmt::format("{} gave {} bytes instead of {}", Name(attempt), outcome->size(), wanted));
    return;
  }
  JudgeBytes(attempt.seen, attempt.offset, *outcome);
  ++good_reads_;
  good_bytes_ += wanted;
}

void Referee::JudgeBytes(const Model::Seen& seen, std::uint64_t offset, const cache::Bytes& bytes) {
  std::size_t sum = 0;
  for (const auto& segment : bytes.Segments()) {
    if (const auto at = model_.Bytes().Mismatch(seen.object, offset + sum, segment)) {
      Object(fmt::format("{} {}: a wrong byte at {}, in a read at {} of {} bytes", seen.object.path,
                         seen.object.version, *at, offset, bytes.size()));
      return;
    }
    sum += segment.size();
  }
  if (sum != bytes.size()) {
    Object(fmt::format("{}: segments of {} bytes for {}", seen.object.path, sum, bytes.size()));
  }
}

void Referee::JudgeError(const Attempt& attempt, const Error& error) {
  if (attempt.stopping && error.code == Code::kUnavailable) {
    ++stopped_;
    return;
  }
  ++errors_[static_cast<std::size_t>(error.code)];
  if (!HasCause(attempt, error.code)) {
    const std::chrono::duration<double> time = std::chrono::steady_clock::now() - attempt.begin;
    Object(fmt::format("{} failed without a cause after {:.3f} s: {} ({})", Name(attempt),
                       time.count(), error.message, CodeName(error.code)));
  }
  if (error.code == Code::kConflict && !attempt.stale) {
    Object(fmt::format("{} ended in a conflict, and its file is not stale", Name(attempt)));
  }
}

bool Referee::HasCause(const Attempt& attempt, Code code) const {
  switch (code) {
    case Code::kConflict:
      return model_.MayConflict(attempt.seen);
    case Code::kNotFound:
      return model_.MayBeMissing(attempt.seen);
    case Code::kPermissionDenied:
    case Code::kInternal:
      return origin_.Gave(attempt.seen.object.path, code);
    case Code::kUnavailable:
    case Code::kDeadlineExceeded:
      // Tried again until then; for another object, too, which holds the memory or the lane.
      return origin_.WasAway() &&
             std::chrono::steady_clock::now() - attempt.begin >= attempt.deadline;
    case Code::kInvalidArgument:
    case Code::kAlreadyExists:
      return false;
  }
  return false;
}

void Referee::Object(std::string finding) {
  objects_ = true;
  std::lock_guard lock(mutex_);
  if (findings_.size() < kMostFindings) findings_.push_back(std::move(finding));
}

std::vector<std::string> Referee::Findings() const {
  std::lock_guard lock(mutex_);
  return findings_;
}

}  // namespace sluice::reading_model
