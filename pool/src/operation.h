// One call of the port on its way.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "sluice/ports/chunk_pool.h"

#include "event_loop.h"

namespace sluice::pool {

struct Operation {
  enum class Kind { kGet, kRenew, kPut, kDrop };
  Kind kind = Kind::kGet;
  std::string key;
  ChunkPool::OnMiss on_miss = ChunkPool::OnMiss::kReport;
  std::span<std::byte> into;         // of a get
  std::span<const std::byte> value;  // of a put
  std::uint32_t checksum = 0;
  PoolVersion version;       // what is renewed, filled or dropped
  bool only_absent = false;  // of a put: its lease is over
  std::function<void(Result<PoolAnswer>)> done;
  TimePoint started;
  TimePoint sent_by;   // or it fails
  TimePoint deadline;  // of all of it
};

// The words of endings that are decided upon.
inline constexpr std::string_view kOver = "over";  // the lease
inline constexpr std::string_view kWrongSize = "wrong_size";

// How it ended: what the caller is told, and one word for the metrics.
struct Ending {
  Result<PoolAnswer> answer;
  std::string_view word;
};

inline Ending Unavailable(std::string message) {
  return {Fail(Code::kUnavailable, std::move(message)), "unavailable"};
}
inline Ending TooLate(std::string message) {
  return {Fail(Code::kDeadlineExceeded, std::move(message)), "deadline"};
}

// Calls the operation's callback; an error says which worker it was.
void Tell(Operation& operation, const Ending& ending, std::string_view worker);

}  // namespace sluice::pool
