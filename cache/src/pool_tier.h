// The machine behind PooledSourceOf: which chunks, and pieces of chunks, are in memory or on their
// way there, who waits for them, and what is asked of the pool and of the source behind it.
//
// As in the engine, all of it is one State under one lock, and its transitions do no I/O. They
// queue Calls to the pool and the source, which one thread at a time makes in a loop without the
// lock: an answer from within a call leads to further calls, which must not become a recursion.
//
// A fetch (PoolRead) goes through its chunks in order. For each it shares a ChunkTransfer, and
// takes the bytes as they arrive; or, where the pool is of no help, it reads from behind directly.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <stop_token>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "sluice/cache/pooled_source.h"
#include "sluice/platform/guarded.h"

#include "chunk_layout.h"

namespace sluice::cache {

struct PoolRead;

// One chunk or piece of one, from the wish for it until its memory is given back. Guarded by the
// tier's lock unless said otherwise.
struct ChunkTransfer {
  enum class State {
    kQueued,   // until there is memory
    kAsking,   // the pool has been asked
    kWaiting,  // another client fills the chunk; without memory until the pool is asked again
    kFilling,  // this client fills it
    kThere,    // whole and right
    kEnded,    // out of use; its last readers may still be copying from it
  };

  OriginObject object;
  std::string key;
  Range range;
  State state = State::kQueued;
  // To be filled if the pool has not got it: a piece, or a chunk that some reader wants whole.
  bool lease = false;
  std::size_t lane = 0;
  std::vector<std::shared_ptr<PoolRead>> readers;
  std::chrono::steady_clock::time_point used;  // last
  std::optional<Error> failure;                // of filling

  std::uint64_t valid = 0;              // bytes from the beginning that are right
  std::uint64_t delivered = 0;          // bytes that went to readers
  platform::Counter* source = nullptr;  // of its bytes

  // What became of asking the pool.
  bool asked_for_lease = false;
  bool asked_again = false;  // because the answer was no good
  unsigned waits = 0;
  std::chrono::steady_clock::time_point waiting_since;
  bool cancelled = false;

  // The lease, from filling on.
  PoolVersion held;
  std::chrono::steady_clock::time_point renewed;  // or taken
  bool renewing = false;                          // the number is about to change
  bool lost = false;                              // it is over
  bool putting = false;                           // or going to
  bool put_begun = false;

  // Written by the call to the pool or to the source that is under way, beyond `valid`.
  std::unique_ptr<std::byte[]> bytes;
  std::uint64_t filled = 0;
  std::uint32_t checksum = 0;
  bool overrun = false;
};

// One FetchAsync. Guarded by the tier's lock, but for the callbacks: those are for the thread that
// has set `delivering`, or has finished the read.
struct PoolRead {
  struct Part {
    enum class State {
      kNotAsked,
      kShared,   // from `transfer`
      kEvicted,  // was there before its turn had come
      kAbsent,   // the pool has not got the chunk: to be cut into pieces
      kDirect,   // from behind
    };
    Range range;
    bool whole = false;  // all of the chunk is wanted
    bool piece = false;  // lies in a piece, and is most of it
    State state = State::kNotAsked;
    std::shared_ptr<ChunkTransfer> transfer;
  };

  OriginObject object;
  std::string key_base;
  Range range;
  Pattern pattern = Pattern::kRandom;
  std::uint64_t cursor = 0;  // up to here everything was delivered
  ReadSink sink;
  ReadDone done;

  std::deque<Part> parts;  // the one at the cursor, and some after it
  bool delivering = false;
  std::optional<std::uint64_t> direct_end;  // of the direct read that is under way
  std::optional<Error> failure;
  bool finished = false;
};

class PoolTier : public std::enable_shared_from_this<PoolTier> {
 public:
  PoolTier(std::shared_ptr<ChunkSource> behind, std::shared_ptr<ChunkPool> pool,
           PooledOptions options, platform::Metrics& metrics, const platform::Log& log);
  ~PoolTier();

  void Fetch(const OriginObject& object, const Range& range, Pattern pattern, ReadSink sink,
             ReadDone done);
  [[nodiscard]] const std::string& Identity() const { return identity_; }
  // Asks the pool again for what others fill, and forgets chunks that nobody uses, until stopped.
  void Run(const std::stop_token& stop);
  // Fails what is under way, gives up the leases that are held, and lets go of pool and source, on
  // this thread. Waits a second for the pool.
  void Stop();

 private:
  using TimePoint = std::chrono::steady_clock::time_point;
  using Transfer = std::shared_ptr<ChunkTransfer>;
  using Read = std::shared_ptr<PoolRead>;
  using Call = std::function<void(ChunkSource& behind, ChunkPool& pool)>;
  struct QueuedCall {
    Call call;
    bool at_the_end = false;  // made even then
  };

  // Transfers for small parts must not wait for those of read-ahead, nor the other way round: each
  // lane leaves some memory to the other one.
  struct Lane {
    std::deque<Transfer> queue;  // wait for memory
    std::uint64_t used = 0;      // bytes of those on their way
  };
  static constexpr std::size_t kSmallParts = 0;
  static constexpr std::size_t kBulk = 1;

  struct State {
    std::shared_ptr<ChunkSource> behind;
    std::shared_ptr<ChunkPool> pool;
    std::unordered_set<Read> reads;
    std::unordered_map<std::string, Transfer> transfers;  // by key
    std::array<Lane, 2> lanes;
    std::multimap<TimePoint, Transfer> waiting;  // by the time of asking again
    std::deque<Transfer> kept;                   // there; the least recently used first
    std::uint64_t used = 0;                      // bytes of memory, of all transfers
    std::deque<QueuedCall> calls;
    bool calling = false;
    std::size_t under_way = 0;  // calls to the pool that are not answered
    std::minstd_rand jitter;
    bool stopping = false;
    bool closed = false;  // nor is a lease given up any more
  };
  struct Actions {
    std::vector<Read> wake;
    std::vector<Transfer> freed;  // only to be let go outside the lock
    std::vector<std::unique_ptr<std::byte[]>> memory;
    bool tell_stop = false;  // it may be waiting for this
  };
  // What a read does next: gives bytes to its sink, ends, or nothing.
  struct Step {
    std::span<const std::byte> bytes;
    Transfer transfer;  // holds the bytes
    ReadSink sink;      // only to be let go outside the lock
    ReadDone done;
    Status status;
  };
  struct Instruments;

  // pool_tier.cc: reads
  static Actions OnlyWake(const Read& read);
  void Perform(const Actions& actions);
  void RunCalls();
  void Enqueue(State& state, Call call);
  void Pump(const Read& read);
  Step NextStep(State& state, const Read& read, Actions& actions);
  static void Delivered(PoolRead& read, ChunkTransfer& transfer, std::size_t size, bool wanted);
  Step TakeShared(State& state, const Read& read, Actions& actions);
  Step Finish(State& state, const Read& read, Actions& actions);
  void LookAhead(State& state, const Read& read);
  static void CutIntoPieces(PoolRead& read, std::size_t at);
  void Join(State& state, const Read& read, PoolRead::Part& part);
  void ReadDirectly(State& state, const Read& read);
  bool OnDirectBytes(const Read& read, std::span<const std::byte> bytes);
  void OnDirectDone(const Read& read, const Status& status);

  // pool_tier_chunks.cc: transfers
  enum class Leaving { kServed, kUnserved };
  void Leave(State& state, const Read& read, const Transfer& transfer, Leaving how,
             Actions& actions);
  void Admit(State& state, Actions& actions);
  bool MakeRoom(State& state, std::size_t size, Actions& actions);
  void Evict(State& state, const Transfer& transfer, Actions& actions);
  static std::vector<Read> TakeReaders(ChunkTransfer& transfer, PoolRead::Part::State become);
  void Ask(State& state, const Transfer& transfer);
  void OnAnswer(const Transfer& transfer, const Result<PoolAnswer>& answer);
  void Answered(State& state, const Transfer& transfer, const PoolAnswer& answer, Actions& actions);
  void AskAgainOrGiveUp(State& state, const Transfer& transfer, Actions& actions);
  void Wait(State& state, const Transfer& transfer, Actions& actions);
  static void SendSmallPartsBehind(const Transfer& transfer, Actions& actions);
  void Fill(State& state, const Transfer& transfer);
  bool OnFillBytes(const Transfer& transfer, std::span<const std::byte> bytes);
  void OnFillDone(const Transfer& transfer, const Status& status);
  void Keep(State& state, const Transfer& transfer, Actions& actions);
  void ReadBehind(State& state, const Transfer& transfer, Actions& actions);
  void LeaveToPieces(State& state, const Transfer& transfer, Actions& actions);
  void End(State& state, const Transfer& transfer, Actions& actions);
  void Tick(TimePoint now);

  // pool_tier_lease.cc: what is said to the pool about a chunk that this client fills
  void BeginCall(const std::function<void()>& under_lock = {});
  static void EndCall(State& state, Actions& actions);
  void RenewIfDue(State& state, const Transfer& transfer, TimePoint now);
  void OnRenewed(const Transfer& transfer, const Result<PoolVersion>& lease);
  void Store(State& state, const Transfer& transfer);
  void OnStored(const Transfer& transfer, const Status& status);
  void Drop(State& state, const std::string& key, const PoolVersion& version);

  const PooledOptions options_;
  const std::uint64_t capacity_;
  const std::string identity_;
  platform::Log log_;
  std::unique_ptr<Instruments> instruments_;
  platform::Guarded<State> state_;
};

}  // namespace sluice::cache
