#include "engine.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "instruments.h"

namespace sluice::cache {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kTick{100};
constexpr milliseconds kMaintainCache{1'000};
constexpr milliseconds kFirstBackoff{100};
constexpr milliseconds kLastBackoff{5'000};
// An object not read for so long does not count when windows are shared out.
constexpr milliseconds kActive{2'000};
constexpr milliseconds kSweep{1'000};
// After so long without a use all buffers are given back.
constexpr milliseconds kIdle{30'000};

// How long stopping waits for a thread that is just calling back, or handing a source a fetch.
constexpr std::chrono::seconds kStopOthers{10};

constexpr std::uint64_t kLeastPool = 16ULL << 20;
// To keep eight cache workers busy takes two or three fetches from each.
constexpr std::size_t kMostAheadFetches = 24;

// A small file's blocks may be read again; a large one's hardly before they would be evicted
// anyway.
constexpr std::uint64_t kLeastSpared = 4ULL << 20;

constexpr std::uint32_t kAbsent = UINT32_MAX;

std::uint64_t PoolBytes(const ReaderOptions& options) {
  return std::max(kLeastPool, AlignDown(options.memory_budget_bytes / 4 * 3, kBlockBytes));
}

// The node cache has them.
ReaderOptions WithoutPins(ReaderOptions options) {
  options.pinned = {};
  return options;
}

// How many bytes of the block the request reads up to, counted from the block's start.
std::uint32_t Need(const Request& request, std::uint32_t block, std::uint32_t length) {
  const std::uint64_t end = request.offset + request.size - BlockOffset(block);
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(end, length));
}

}  // namespace

Engine::Engine(const ReaderOptions& options, platform::Metrics& metrics, const platform::Log& log)
    : options_(WithoutPins(options)),
      log_(log),
      instruments_(std::make_unique<Instruments>(metrics)) {
  if (!options_.cache_directory.empty()) {
    node_cache_ = std::make_shared<NodeCache>(
        NodeCache::Options{options_.cache_directory, options_.quota_bytes, options_.unsynced_bytes},
        metrics, log);
    node_cache_->SetPinned(options.pinned);
  }
  state_.With([&](State& state) {
    state.pool = std::make_unique<BlockPool>(PoolBytes(options_));
    state.jitter.seed(std::random_device{}());
    data_ = state.pool->Data(0);
    slot_count_ = state.pool->SlotCount();
  });
  // Half of the memory may be under way ahead of the readers.
  max_ahead_fetches_ = std::clamp<std::size_t>(slot_count_ * kBlockBytes / options_.fetch_bytes / 2,
                                               1, kMostAheadFetches);
}

Engine::~Engine() = default;

void Engine::Start() {
  if (node_cache_) node_cache_->Maintain(std::chrono::steady_clock::now());
  replies_.Start();
  writer_.Start();
  maintenance_ = std::jthread([this](const std::stop_token& stop) {
    TimePoint maintain_at = std::chrono::steady_clock::now() + kMaintainCache;
    while (!stop.stop_requested()) {
      // Wakes early only to stop.
      state_.WaitUntil(std::chrono::steady_clock::now() + kTick,
                       [&](const State&) { return stop.stop_requested(); });
      const TimePoint now = std::chrono::steady_clock::now();
      Tick(now);
      if (node_cache_ && now >= maintain_at) {
        node_cache_->Maintain(now);
        maintain_at = now + kMaintainCache;
      }
    }
  });
}

void Engine::Stop() {
  Actions actions;
  state_.With([&](State& state) {
    state.stopping = true;
    const std::vector<std::shared_ptr<Request>> requests(state.requests.begin(),
                                                         state.requests.end());
    for (const auto& request : requests) {
      Fail(state, request, {Code::kUnavailable, "the reader is being stopped"}, actions);
    }
    state.starved.clear();
    state.retries.clear();
    state.ahead.clear();
    state.fills.clear();
    for (const auto& [key, object] : state.objects) {
      for (const auto& fetch : object->fetches) Cancel(state, *fetch);
    }
  });
  Perform(std::move(actions), nullptr);
  maintenance_.request_stop();
  state_.Notify();
  if (maintenance_.joinable()) maintenance_.join();
  // Other threads may have finished reads before, and be about to answer them.
  state_.WaitUntil(std::chrono::steady_clock::now() + kStopOthers,
                   [](const State& state) { return state.answering == 0; });
  replies_.Stop();
  writer_.Stop();
  // Nothing is issued any more; once the last issue has ended, sources may go, on this thread.
  state_.WaitUntil(std::chrono::steady_clock::now() + kStopOthers,
                   [](const State& state) { return !state.issuing; });
  const auto sources = state_.With([](State& state) { return std::exchange(state.sources, {}); });
}

std::shared_ptr<LiveObject> Engine::Open(const std::shared_ptr<ChunkSource>& source,
                                         const OriginObject& info) {
  const CacheKey cache_key{source->Identity(), info.path, info.version, info.size};
  const std::string key = CacheFileName(cache_key);
  const auto find = [&](State& state) -> std::shared_ptr<LiveObject> {
    const auto found = state.objects.find(key);
    if (found == state.objects.end()) return nullptr;
    LiveObject& object = *found->second;
    object.entry_wanted = object.entry == nullptr;
    // What did not fit, or failed, may do now.
    if (object.opens++ == 0 && object.fill == LiveObject::Fill::kOver) {
      object.fill = LiveObject::Fill::kNotWanted;
    }
    return found->second;
  };
  if (node_cache_) node_cache_->Touch(key);
  if (auto object = state_.With(find)) return object;
  ReadPlanner::Options planner;
  planner.object_size = info.size;
  planner.fetch_bytes = options_.fetch_bytes;
  const auto kept = state_.With([&](State& state) {
    return state.sources.try_emplace(cache_key.identity, source).first->second;
  });
  auto object = std::make_shared<LiveObject>(kept, cache_key.identity, info, key, planner);
  return state_.With([&](State& state) {
    if (auto other = find(state)) return other;  // opened by two threads at once
    object->opens = 1;
    state.objects[key] = object;
    return object;
  });
}

// To be called before the entry is looked at. Not by Open: of most files that are opened again the
// kernel has the bytes, and opening two more files for each would cost more than all else.
void Engine::UseEntry(LiveObject& object) {
  if (!node_cache_) return;
  if (!state_.With([&](const State&) { return object.entry_wanted && !object.gone; })) return;
  // The same one for all who open it at once.
  auto entry =
      node_cache_->Open({object.identity, object.info.path, object.info.version, object.info.size});
  state_.With([&](const State&) {
    object.entry_wanted = false;
    if (!object.entry) object.entry.swap(entry);
  });
}

void Engine::Close(LiveObject& object) {
  Actions actions;
  state_.With([&](State& state) {
    if (--object.opens > 0) return;
    CancelUnwanted(state, object, /*all=*/true);
    ReadPlanner::Options planner;
    planner.object_size = object.info.size;
    planner.fetch_bytes = options_.fetch_bytes;
    object.planner = ReadPlanner(planner);
    CloseIdleEntry(object, actions);
  });
}

// Nobody reads, stores or fills the object: the node cache may evict it.
void Engine::CloseIdleEntry(LiveObject& object, Actions& actions) {
  if (object.opens > 0 || object.requests > 0 || !object.fetches.empty()) return;
  if (object.storing > 0) return;
  const bool filling =
      object.fill == LiveObject::Fill::kQueued || object.fill == LiveObject::Fill::kPassDone;
  if (filling && object.entry && !object.entry->Whole()) return;
  if (filling) object.fill = LiveObject::Fill::kOver;
  if (object.entry) actions.closed.push_back(std::exchange(object.entry, nullptr));
}

void Engine::Read(const std::shared_ptr<LiveObject>& object, std::uint64_t offset, std::size_t size,
                  ReadCallback done) {
  if (offset >= object->info.size || size == 0) {
    done(Bytes{});
    return;
  }
  UseEntry(*object);
  auto request = std::make_shared<Request>();
  request->object = object;
  request->offset = offset;
  request->size = static_cast<std::uint32_t>(
      std::min({static_cast<std::uint64_t>(size), static_cast<std::uint64_t>(kMaxReadBytes),
                object->info.size - offset}));
  request->done = std::move(done);
  const TimePoint now = std::chrono::steady_clock::now();
  request->deadline = now + options_.read_deadline;

  Actions actions;
  state_.With([&](State& state) {
    state.requests.insert(request);
    ++object->requests;
    if (state.stopping) {
      Fail(state, request, {Code::kUnavailable, "the reader is being stopped"}, actions);
      return;
    }
    if (object->gone) {
      Fail(state, request, *object->gone, actions);
      return;
    }
    state.last_use = object->last_read = now;
    if (!object->active) {
      object->active = true;
      state.active.push_back(object);
    }
    const auto access = object->planner.OnRead(offset, request->size, MaxWindow(state));
    request->fetch = access.fetch;
    request->sequential = access.sequential;
    if (access.reads_on) request->pattern = Pattern::kSequential;
    if (access.seek) CancelUnwanted(state, *object, /*all=*/false);
    if (!Admit(state, request, state.starved.empty(), actions)) state.starved.push_back(request);
    if (!object->ahead) {
      object->ahead = true;
      state.ahead.push_back(object);
    }
    WantFill(state, object);
    Settle(state, actions);
  });
  Perform(std::move(actions), request.get());
}

bool Engine::Admit(State& state, const std::shared_ptr<Request>& request, bool may_allocate,
                   Actions& actions) {
  Count(state, *request);
  if (!PinBlocks(state, *request, may_allocate)) return false;
  BringBlocks(state, request, actions);
  for (const std::uint32_t id : request->slots) {
    Slot& slot = state.pool->At(id);
    const std::uint32_t need = Need(*request, slot.block, slot.length);
    if (slot.valid >= need) continue;
    slot.waiters.push_back({request, need});
    ++request->missing;
  }
  if (request->missing == 0) Finish(state, request, actions);
  return true;
}

void Engine::Count(State& state, Request& request) {
  if (std::exchange(request.counted, true)) return;
  const LiveObject& object = *request.object;
  for (std::uint64_t at = request.offset; at < request.offset + request.size;) {
    const std::uint32_t block = BlockOf(at);
    const std::uint32_t need = Need(request, block, BlockLength(object.info.size, block));
    const std::uint64_t bytes = BlockOffset(block) + need - at;
    const auto found = object.blocks.find(block);
    if (found != object.blocks.end()) {
      const bool there = state.pool->At(found->second).valid >= need;
      (there ? instruments_->memory_hits : instruments_->misses).Add(bytes);
    } else {
      const bool there = object.entry && object.entry->Has(block);
      (there ? instruments_->disk_hits : instruments_->misses).Add(bytes);
    }
    at += bytes;
  }
}

// Pins the blocks that are in memory; kAbsent stands for the others. All or nothing: false when
// the others could not get memory now.
bool Engine::PinBlocks(State& state, Request& request, bool may_allocate) {
  const std::uint32_t last = BlockOf(request.offset + request.size - 1);
  std::size_t absent = 0;
  for (std::uint32_t block = BlockOf(request.offset); block <= last; ++block) {
    const auto found = request.object->blocks.find(block);
    if (found != request.object->blocks.end()) {
      state.pool->Pin(found->second);
      request.slots.push_back(found->second);
    } else {
      request.slots.push_back(kAbsent);
      ++absent;
    }
  }
  if (absent == 0 || (may_allocate && absent <= state.pool->Available())) return true;
  std::erase(request.slots, kAbsent);
  ReleaseSlots(state, request);
  return false;
}

// Gives every absent block a slot, pinned for the request and for what brings the bytes: a load
// from the node cache or, one for each run of neighbours, a fetch.
void Engine::BringBlocks(State& state, const std::shared_ptr<Request>& request, Actions& actions) {
  const std::shared_ptr<LiveObject>& object = request->object;
  const std::uint32_t first = BlockOf(request->offset);
  Load load{object, object->entry, request, {}};
  std::vector<std::uint32_t> run;
  std::uint32_t run_first = 0;
  const auto flush = [&] {
    if (!run.empty())
      StartFetch(state, object, run_first, std::exchange(run, {}), Fetch::Kind::kDemand,
                 request->pattern);
  };
  for (std::size_t i = 0; i < request->slots.size(); ++i) {
    if (request->slots[i] != kAbsent) {
      flush();
      continue;
    }
    const std::uint32_t block = first + static_cast<std::uint32_t>(i);
    const auto id = *state.pool->Allocate(*object, block, BlockLength(object->info.size, block));
    state.pool->Pin(id);
    request->slots[i] = id;
    if (object->entry && object->entry->Has(block)) {
      flush();
      load.blocks.emplace_back(block, id);
      continue;
    }
    if (run.empty()) run_first = block;
    run.push_back(id);
  }
  if (!run.empty()) {
    ExtendDemand(state, *request, run_first + static_cast<std::uint32_t>(run.size()), run);
  }
  flush();
  if (!load.blocks.empty()) actions.loads.push_back(std::move(load));
}

void Engine::Finish(State& state, const std::shared_ptr<Request>& request, Actions& actions) {
  request->finished = true;
  const LiveObject& object = *request->object;
  --request->object->requests;
  Bytes bytes;
  bytes.engine_ = shared_from_this();
  bytes.size_ = request->size;
  for (const std::uint32_t id : request->slots) {
    Slot& slot = state.pool->At(id);
    const std::uint64_t start = BlockOffset(slot.block);
    const std::uint64_t begin = std::max(request->offset, start) - start;
    const std::uint32_t end = Need(*request, slot.block, slot.length);
    bytes.segments_.emplace_back(Data(id) + begin, end - begin);
    if (!request->sequential || end != slot.length) continue;
    slot.consumed = true;
    slot.spare =
        object.info.size > kLeastSpared && object.entry != nullptr && object.entry->Has(slot.block);
  }
  bytes.slots_ = std::move(request->slots);
  actions.completions.push_back({request, std::move(bytes)});
  ++state.answering;
  state.requests.erase(request);
}

void Engine::ReleaseSlots(State& state, Request& request) {
  for (const std::uint32_t id : request.slots) {
    std::erase_if(state.pool->At(id).waiters,
                  [&](const Waiter& waiter) { return waiter.request.get() == &request; });
    state.pool->Unpin(id);
  }
  request.slots.clear();
  request.missing = 0;
}

void Engine::Fail(State& state, const std::shared_ptr<Request>& request, const Error& error,
                  Actions& actions) {
  if (std::exchange(request->finished, true)) return;
  const LiveObject& object = *request->object;
  --request->object->requests;
  ReleaseSlots(state, *request);
  actions.completions.push_back(
      {request, ::sluice::Fail(
                    error.Wrap(fmt::format("read {} at {}", object.info.path, request->offset)))});
  ++state.answering;
  state.requests.erase(request);
}

void Engine::FailOrRetry(State& state, const std::shared_ptr<Request>& request, const Error& error,
                         Actions& actions) {
  if (request->finished || request->slots.empty()) return;  // dealt with already
  if (!WorthRetrying(error.code) || std::chrono::steady_clock::now() >= request->deadline) {
    Fail(state, request, error, actions);
    return;
  }
  ReleaseSlots(state, *request);
  const auto longest =
      std::min(kLastBackoff, kFirstBackoff * (1U << std::min(request->attempts++, 6U)));
  std::uniform_int_distribution<milliseconds::rep> delay(longest.count() / 2, longest.count());
  state.retries.emplace_back(std::chrono::steady_clock::now() + milliseconds(delay(state.jitter)),
                             request);
  instruments_->retries.Add();
}

// The version is gone: nothing of it is served any more, from any tier.
void Engine::Gone(State& state, LiveObject& object, const Error& error, Actions& actions) {
  if (object.gone) return;
  object.gone = error;
  std::vector<std::shared_ptr<Request>> requests;
  for (const auto& request : state.requests) {
    if (request->object.get() == &object) requests.push_back(request);
  }
  for (const auto& request : requests) Fail(state, request, error, actions);
  for (const auto& fetch : object.fetches) Cancel(state, *fetch);
  while (!object.blocks.empty()) state.pool->Detach(object.blocks.begin()->second);
  if (object.entry) actions.drops.push_back(object.entry);
  object.fill = LiveObject::Fill::kOver;
  state.objects.erase(object.key);
}

// Uses what a transition has freed: reads that wait for memory first, then read-ahead.
void Engine::Settle(State& state, Actions& actions) {
  if (state.stopping) return;
  while (!state.starved.empty()) {
    const auto request = state.starved.front();
    if (!request->finished && !Admit(state, request, /*may_allocate=*/true, actions)) break;
    state.starved.pop_front();
  }
  PumpAhead(state);
  PumpFills(state, actions);
}

// `own` is the request that the calling thread is here for: its loads and its callback run on this
// thread, those of others on the replies thread.
void Engine::Perform(Actions actions, const Request* own) {
  std::optional<Completion> mine;
  for (;;) {
    for (const Write& write : actions.writes) {
      if (!writer_.Post([this, write] { RunWrite(write); })) ReleaseWrite(write, false);
    }
    for (const auto& entry : actions.drops) {
      if (!writer_.Post([entry] { entry->Drop(); })) entry->Drop();
    }
    std::size_t handed = 0;
    for (Completion& completion : actions.completions) {
      if (completion.request.get() == own) {
        mine = std::move(completion);
        continue;
      }
      auto shared = std::make_shared<Completion>(std::move(completion));
      replies_.Post([shared] { shared->request->done(std::move(shared->result)); });
      ++handed;
    }
    if (handed > 0) Answered(handed);
    IssueFetches();
    std::vector<Load> loads = std::move(actions.loads);
    actions = {};
    if (loads.empty()) break;
    for (const Load& load : loads) {
      if (load.request.get() == own) {
        actions = RunLoad(load);
      } else if (!replies_.Post([this, load] { Perform(RunLoad(load), nullptr); })) {
        Perform(RunLoad(load), nullptr);
      }
    }
  }
  if (!mine) return;
  const auto self = shared_from_this();  // the callback may let go of the last file
  mine->request->done(std::move(mine->result));
  Answered(1);
}

void Engine::Answered(std::size_t count) {
  const bool stopping = state_.With([&](State& state) {
    state.answering -= count;
    return state.stopping;
  });
  if (stopping) state_.Notify();
}

void Engine::Tick(TimePoint now) {
  Actions actions;
  state_.With([&](State& state) {
    std::vector<std::shared_ptr<Request>> late;
    for (const auto& request : state.requests) {
      if (now >= request->deadline) late.push_back(request);
    }
    for (const auto& request : late) {
      Fail(state, request, {Code::kDeadlineExceeded, "the origin did not answer in time"}, actions);
    }
    std::erase_if(state.retries, [&](const auto& retry) {
      if (now < retry.first && !retry.second->finished) return false;
      if (!retry.second->finished) state.starved.push_back(retry.second);
      return true;
    });
    TakeStock(state, now);
    if (now - state.last_sweep > kSweep) {
      state.last_sweep = now;
      Sweep(state, actions);
    }
    Settle(state, actions);
  });
  Perform(std::move(actions), nullptr);
}

void Engine::TakeStock(State& state, TimePoint now) {
  std::uint64_t windows = 0;
  state.streams = 0;
  std::erase_if(state.active, [&](const std::shared_ptr<LiveObject>& object) {
    object->active = now - object->last_read < kActive;
    if (object->active) {
      windows += object->planner.WindowBytes();
      state.streams += object->planner.StreamCount();
    }
    return !object->active;
  });
  if (now - state.last_use > kIdle && state.pool->UsedSlots() > 0) state.pool->Trim();
  instruments_->window.Set(static_cast<double>(windows));
  instruments_->buffers.Set(static_cast<double>(state.pool->UsedSlots() * kBlockBytes));
  instruments_->waiting.Set(static_cast<double>(state.requests.size()));
}

// Goes through all objects: begins the next passes of filling, lets go of what nobody uses.
void Engine::Sweep(State& state, Actions& actions) {
  for (const auto& [key, object] : state.objects) {
    CloseIdleEntry(*object, actions);
    NextFillPass(state, object);
  }
  std::erase_if(state.objects, [](const auto& item) {
    const LiveObject& object = *item.second;
    return object.opens == 0 && object.blocks.empty() && !object.entry && object.requests == 0 &&
           object.fetches.empty();
  });
}

Result<platform::UniqueFd> Engine::OpenComplete(const std::shared_ptr<LiveObject>& object,
                                                milliseconds patience) {
  UseEntry(*object);
  const auto entry =
      state_.With([&](const State&) { return object->gone ? nullptr : object->entry; });
  if (!entry) {
    return ::sluice::Fail(Code::kUnavailable, object->info.path + " is not in the node cache");
  }
  auto fd = entry->OpenWhole();
  if (!fd && entry->StartVerifying()) writer_.Post([this, entry] { Verify(entry); });
  if (fd || patience.count() == 0) return fd;
  const std::uint32_t blocks = BlockCount(object->info.size);
  state_.WaitUntil(std::chrono::steady_clock::now() + patience, [&](const State& state) {
    return state.stopping || object->storing == 0 || entry->Stored() + object->storing < blocks;
  });
  return entry->OpenWhole();
}

void Engine::Verify(const std::shared_ptr<CacheEntry>& entry) {
  std::vector<std::byte> buffer(kBlockBytes);
  if (!entry->VerifySome(buffer)) return;
  writer_.Post([this, entry] { Verify(entry); });  // writes that came meanwhile go first
}

bool Engine::Stale(const LiveObject& object) const {
  return state_.With([&](const State&) { return object.gone.has_value(); });
}

std::uint64_t Engine::CachedBytes(LiveObject& object) {
  UseEntry(object);
  const auto entry = state_.With([&](const State&) { return object.entry; });
  if (entry == nullptr) return 0;
  // The last block is as long as what is left of the object.
  return std::min<std::uint64_t>(entry->Stored() * kBlockBytes, object.info.size);
}

void Engine::SetPinned(PinSet pinned) {
  if (node_cache_) node_cache_->SetPinned(std::move(pinned));
}

ReaderStats Engine::Stats() const {
  ReaderStats stats;
  if (node_cache_) {
    const NodeCacheStats cache = node_cache_->Stats();
    stats.cached_bytes = cache.bytes;
    stats.cached_objects = cache.objects;
    stats.quota_bytes = cache.limit;
    stats.cache_usable = cache.usable;
  }
  stats.memory_bytes =
      state_.With([](const State& state) { return state.pool->UsedSlots() * kBlockBytes; });
  stats.memory_hit_bytes = instruments_->memory_hits.Value();
  stats.disk_hit_bytes = instruments_->disk_hits.Value();
  stats.miss_bytes = instruments_->misses.Value();
  return stats;
}

void Engine::Unpin(std::span<const std::uint32_t> slots) {
  Actions actions;
  state_.With([&](State& state) {
    for (const std::uint32_t id : slots) state.pool->Unpin(id);
    Settle(state, actions);
  });
  Perform(std::move(actions), nullptr);
}

std::uint64_t Engine::MaxWindow(const State& state) const {
  const std::size_t streams = std::max<std::size_t>({1, state.streams, state.active.size()});
  return AlignDown(slot_count_ * kBlockBytes / 4 * 3 / streams, kBlockBytes);
}

}  // namespace sluice::cache
