// The machine behind Reader: which blocks are in memory, who waits for them, what is being fetched.
//
// All of that is one State under one lock, and its transitions do no I/O: they fill an Actions,
// which the same thread performs after it has let go of the lock. Data are copied outside the lock
// too; a pin on a slot is what keeps its bytes in place.
//
// A read (Request) pins all its blocks at once or waits its turn holding none, so reads cannot
// starve one another in a circle. Blocks arrive by a Fetch from the source or a load from the node
// cache; whoever wants a block that is on its way waits for the same arrival.
#pragma once

#include <atomic>
#include <chrono>
#include <deque>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <thread>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "sluice/cache/reader.h"
#include "sluice/platform/guarded.h"

#include "block_pool.h"
#include "node_cache.h"
#include "read_planner.h"
#include "serial_executor.h"

namespace sluice::cache {

struct Fetch;

// One object version in memory. Everything that is not const or atomic is guarded by the engine's
// lock.
struct LiveObject : BlockOwner {
  LiveObject(std::weak_ptr<ChunkSource> from, std::string source_identity, OriginObject object,
             std::string map_key, const ReadPlanner::Options& planner_options)
      : source(std::move(from)),
        identity(std::move(source_identity)),
        info(std::move(object)),
        key(std::move(map_key)),
        planner(planner_options) {}

  // The engine owns it. A fetch must not: its last reference may go on a thread of the source.
  const std::weak_ptr<ChunkSource> source;
  const std::string identity;
  const OriginObject info;
  const std::string key;

  // Null: memory only, not needed yet, or nobody uses the object any more, so that the cache may
  // evict it.
  std::shared_ptr<CacheEntry> entry;
  bool entry_wanted = true;  // opened, and the cache has not been asked since
  ReadPlanner planner;
  unsigned opens = 0;
  unsigned requests = 0;
  std::vector<std::shared_ptr<Fetch>> fetches;
  std::optional<Error> gone;  // the origin has another version
  std::chrono::steady_clock::time_point last_read;
  bool active = false;  // in State::active
  bool ahead = false;   // in State::ahead
  std::atomic<bool> loss_logged = false;

  // Filling the node cache with the whole object, block by block, in passes: a block that the disk
  // was too slow for is tried again.
  enum class Fill { kNotWanted, kQueued, kPassDone, kOver };
  Fill fill = Fill::kNotWanted;
  std::uint32_t fill_next = 0;
  std::uint32_t fill_stored = 0;  // blocks in the entry when the last pass began
  unsigned fruitless_passes = 0;  // in a row, without a block more
  std::uint32_t storing = 0;      // blocks on their way to the disk
  std::uint64_t not_stored = 0;   // blocks that the disk was too slow for
};

struct Request {
  std::shared_ptr<LiveObject> object;
  std::uint64_t offset = 0;
  std::uint32_t size = 0;
  ReadCallback done;
  std::chrono::steady_clock::time_point deadline;
  Range fetch;              // what the planner would fetch for it
  bool sequential = false;  // of a stream: its blocks will not be read again
  Pattern pattern = Pattern::kRandom;
  bool counted = false;  // as hit or miss
  unsigned attempts = 0;
  std::vector<std::uint32_t> slots;  // pinned; empty while it waits for memory or a retry
  std::size_t missing = 0;           // slots whose bytes have not arrived
  bool finished = false;
};

// One range on its way from the source. Its unfinished slots carry a pin of its own until the
// source has said that it is done, so bytes never land in a slot that was given to somebody else.
struct Fetch {
  enum class Kind { kDemand, kAhead, kFill };

  std::shared_ptr<LiveObject> object;
  std::uint32_t first_block = 0;
  std::vector<std::uint32_t> slots;
  Kind kind = Kind::kDemand;
  Pattern pattern = Pattern::kRandom;
  bool cancelled = false;  // guarded by the engine's lock

  // Of the source's thread.
  std::size_t current = 0;
  std::uint32_t filled = 0;  // bytes in slots[current]
  bool overrun = false;
};

// Whether the origin may answer later.
inline bool WorthRetrying(Code code) {
  return code == Code::kUnavailable || code == Code::kDeadlineExceeded;
}

class Engine : public std::enable_shared_from_this<Engine> {
 public:
  Engine(const ReaderOptions& options, platform::Metrics& metrics, const platform::Log& log);
  ~Engine();

  void Start();
  void Stop();

  std::shared_ptr<LiveObject> Open(const std::shared_ptr<ChunkSource>& source,
                                   const OriginObject& info);
  void Close(LiveObject& object);
  void Read(const std::shared_ptr<LiveObject>& object, std::uint64_t offset, std::size_t size,
            ReadCallback done);
  Result<platform::UniqueFd> OpenComplete(const std::shared_ptr<LiveObject>& object,
                                          std::chrono::milliseconds patience);
  Prefetched Prefetch(const std::shared_ptr<LiveObject>& object);
  bool Stale(const LiveObject& object) const;
  std::uint64_t CachedBytes(LiveObject& object);
  void SetPinned(PinSet pinned);
  ReaderStats Stats() const;
  // For Bytes.
  void Unpin(std::span<const std::uint32_t> slots);

 private:
  using TimePoint = std::chrono::steady_clock::time_point;

  struct State {
    std::unique_ptr<BlockPool> pool;
    std::unordered_map<std::string, std::shared_ptr<LiveObject>> objects;
    std::unordered_map<std::string, std::shared_ptr<ChunkSource>> sources;  // by identity
    std::unordered_set<std::shared_ptr<Request>> requests;  // all that are not finished
    std::size_t answering = 0;  // finished, but not called back yet nor handed to the replies
    std::deque<std::shared_ptr<Request>> starved;  // wait for memory, first come first
    std::vector<std::pair<TimePoint, std::shared_ptr<Request>>> retries;
    std::deque<std::shared_ptr<LiveObject>> ahead;  // may have a range to fetch ahead, in turn
    std::deque<std::shared_ptr<LiveObject>> fills;
    std::vector<std::shared_ptr<LiveObject>> active;  // read not long ago
    std::deque<std::shared_ptr<Fetch>> issue_demand;
    std::deque<std::shared_ptr<Fetch>> issue_ahead;
    bool issuing = false;
    std::size_t demand_fetches = 0;
    std::size_t ahead_fetches = 0;  // and fills
    std::size_t fill_fetches = 0;
    std::uint64_t writing_bytes = 0;
    std::size_t streams = 0;  // of the active objects
    TimePoint last_use;       // a read, or prefetching for one
    TimePoint last_pressure;
    TimePoint last_sweep;
    std::minstd_rand jitter;
    bool stopping = false;
  };

  struct Completion {
    std::shared_ptr<Request> request;
    Result<Bytes> result;
  };
  struct Load {  // blocks to read from the node cache
    std::shared_ptr<LiveObject> object;
    std::shared_ptr<CacheEntry> entry;
    std::shared_ptr<Request> request;
    std::vector<std::pair<std::uint32_t, std::uint32_t>> blocks;  // block, slot
  };
  struct Write {  // a block to store in the node cache
    std::shared_ptr<LiveObject> object;
    std::shared_ptr<CacheEntry> entry;
    std::uint32_t block = 0;
    std::uint32_t slot = 0;
    std::uint32_t length = 0;
  };
  struct Actions {
    std::vector<Completion> completions;
    std::vector<Load> loads;
    std::vector<Write> writes;
    std::vector<std::shared_ptr<CacheEntry>> drops;
    std::vector<std::shared_ptr<CacheEntry>> closed;  // only to be let go outside the lock
  };
  struct Instruments;

  // engine.cc: requests
  void UseEntry(LiveObject& object);
  bool Admit(State& state, const std::shared_ptr<Request>& request, bool may_allocate,
             Actions& actions);
  bool PinBlocks(State& state, Request& request, bool may_allocate);
  void BringBlocks(State& state, const std::shared_ptr<Request>& request, Actions& actions);
  void Count(State& state, Request& request);
  void Finish(State& state, const std::shared_ptr<Request>& request, Actions& actions);
  void Fail(State& state, const std::shared_ptr<Request>& request, const Error& error,
            Actions& actions);
  void FailOrRetry(State& state, const std::shared_ptr<Request>& request, const Error& error,
                   Actions& actions);
  void ReleaseSlots(State& state, Request& request);
  void Gone(State& state, LiveObject& object, const Error& error, Actions& actions);
  void Settle(State& state, Actions& actions);
  void Perform(Actions actions, const Request* own);
  void Answered(std::size_t count);
  void Tick(TimePoint now);
  void TakeStock(State& state, TimePoint now);
  void Sweep(State& state, Actions& actions);
  void CloseIdleEntry(LiveObject& object, Actions& actions);

  // engine_fetch.cc: bytes on their way
  void StartFetch(State& state, const std::shared_ptr<LiveObject>& object,
                  std::uint32_t first_block, std::vector<std::uint32_t> slots, Fetch::Kind kind,
                  Pattern pattern);
  void ExtendDemand(State& state, Request& request, std::uint32_t next_block,
                    std::vector<std::uint32_t>& slots);
  bool FetchMissing(State& state, const std::shared_ptr<LiveObject>& object, const Range& range,
                    Fetch::Kind kind);
  void PumpAhead(State& state);
  [[nodiscard]] bool RoomAhead(const State& state) const;
  void PumpFills(State& state, Actions& actions);
  bool FillSome(State& state, const std::shared_ptr<LiveObject>& object, Actions& actions);
  void NextFillPass(State& state, const std::shared_ptr<LiveObject>& object);
  bool SeenInLargePart(const LiveObject& object) const;
  void WantFill(State& state, const std::shared_ptr<LiveObject>& object);
  void CancelUnwanted(State& state, LiveObject& object, bool all);
  void Cancel(State& state, Fetch& fetch);
  void IssueFetches();
  void Issue(const std::shared_ptr<Fetch>& fetch);
  bool OnBytes(const std::shared_ptr<Fetch>& fetch, std::span<const std::byte> bytes);
  void OnDone(const std::shared_ptr<Fetch>& fetch, const Status& status);
  void LogLoss(LiveObject& object, const Error& error);
  void Arrived(State& state, std::uint32_t slot, std::uint32_t valid, Actions& actions);
  void OfferWrite(State& state, const std::shared_ptr<LiveObject>& object, std::uint32_t slot,
                  Actions& actions);
  Actions RunLoad(const Load& load);
  void RunWrite(const Write& write);
  void ReleaseWrite(const Write& write, bool stored);
  void Verify(const std::shared_ptr<CacheEntry>& entry);

  [[nodiscard]] std::uint64_t MaxWindow(const State& state) const;
  [[nodiscard]] std::uint64_t MostWriting() const;
  [[nodiscard]] std::byte* Data(std::uint32_t slot) const { return data_ + slot * kBlockBytes; }

  const ReaderOptions options_;
  platform::Log log_;
  std::unique_ptr<Instruments> instruments_;
  std::shared_ptr<NodeCache> node_cache_;  // null: memory only
  std::byte* data_ = nullptr;
  std::size_t slot_count_ = 0;
  std::size_t max_ahead_fetches_ = 1;
  platform::Guarded<State> state_;
  SerialExecutor replies_;  // callbacks, and loads that no caller is there to run
  SerialExecutor writer_;   // stores blocks in the node cache
  std::jthread maintenance_;
};

}  // namespace sluice::cache
