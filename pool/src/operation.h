// One call of the port on its way.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "sluice/ports/chunk_pool.h"

#include "event_loop.h"

namespace sluice::pool {

struct Operation {
  enum class Kind { kGet, kPut, kDrop };
  Kind kind = Kind::kGet;
  std::string key;
  ChunkPool::OnMiss on_miss = ChunkPool::OnMiss::kReport;
  std::span<std::byte> into;         // of a get
  std::span<const std::byte> value;  // of a put
  std::uint32_t checksum = 0;
  std::uint64_t lease = 0;
  ChunkPool::GetDone got;
  ChunkPool::Done done;
  TimePoint started;
  TimePoint deadline;
};

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
