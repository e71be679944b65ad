// Judges how reads end.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include "sluice/cache/reader.h"

#include "faulty_origin.h"
#include "model.h"

namespace sluice::reading_model {

// One ReadAsync.
struct Attempt {
  Model::Seen seen;
  std::uint64_t offset = 0;
  std::size_t size = 0;
  std::chrono::steady_clock::time_point begin;
  std::chrono::milliseconds deadline{0};
  bool stopping = false;  // its reader was, at its end
  bool stale = false;     // its file says so
};

inline constexpr std::size_t kCodes = static_cast<std::size_t>(Code::kInternal) + 1;

// Threads: any.
class Referee {
 public:
  Referee(const Model& model, const FaultyOrigin& origin) : model_(model), origin_(origin) {}

  void Judge(const Attempt& attempt, const Result<cache::Bytes>& outcome);
  // Whether the bytes are those of the object from `offset` on.
  void JudgeBytes(const Model::Seen& seen, std::uint64_t offset, const cache::Bytes& bytes);
  // Something is wrong.
  void Object(std::string finding);

  [[nodiscard]] bool Objects() const { return objects_; }
  [[nodiscard]] std::vector<std::string> Findings() const;
  [[nodiscard]] std::uint64_t GoodReads() const { return good_reads_; }
  [[nodiscard]] std::uint64_t GoodBytes() const { return good_bytes_; }
  // Reads that failed as they may, while their reader was being stopped and else.
  [[nodiscard]] std::uint64_t Stopped() const { return stopped_; }
  [[nodiscard]] std::uint64_t Errors(Code code) const {
    return errors_[static_cast<std::size_t>(code)];
  }

 private:
  void JudgeError(const Attempt& attempt, const Error& error);
  [[nodiscard]] bool HasCause(const Attempt& attempt, Code code) const;

  const Model& model_;
  const FaultyOrigin& origin_;
  std::atomic<bool> objects_ = false;
  std::atomic<std::uint64_t> good_reads_ = 0;
  std::atomic<std::uint64_t> good_bytes_ = 0;
  std::atomic<std::uint64_t> stopped_ = 0;
  std::array<std::atomic<std::uint64_t>, kCodes> errors_{};
  mutable std::mutex mutex_;
  std::vector<std::string> findings_;
};

}  // namespace sluice::reading_model
