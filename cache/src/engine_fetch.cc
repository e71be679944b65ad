// How bytes come into memory and from there to the node cache: demand fetches, read-ahead, filling,
// loads and stores.
#include <algorithm>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "engine.h"
#include "instruments.h"

namespace sluice::cache {
namespace {

// Read-ahead leaves this share of the memory to reads that somebody waits for.
constexpr std::size_t kDemandShare = 8;
// Blocks on their way to the disk hold at most this share.
constexpr std::uint64_t kWriteShare = 4;
// Memory pressure halves the windows at most this often.
constexpr std::chrono::milliseconds kPressureEvery{100};
constexpr unsigned kFruitlessPasses = 3;
// A filling pass looks at so many blocks at a time, so that the lock is not held for long.
constexpr std::uint32_t kFillLook = 1024;

}  // namespace

void Engine::StartFetch(State& state, const std::shared_ptr<LiveObject>& object,
                        std::uint32_t first_block, std::vector<std::uint32_t> slots,
                        Fetch::Kind kind, Pattern pattern) {
  auto fetch = std::make_shared<Fetch>();
  fetch->object = object;
  fetch->first_block = first_block;
  fetch->slots = std::move(slots);
  fetch->kind = kind;
  fetch->pattern = pattern;
  object->fetches.push_back(fetch);
  if (kind == Fetch::Kind::kDemand) {
    instruments_->demand_fetches.Set(static_cast<double>(++state.demand_fetches));
    state.issue_demand.push_back(std::move(fetch));
    return;
  }
  if (kind == Fetch::Kind::kFill) ++state.fill_fetches;
  instruments_->ahead_fetches.Set(static_cast<double>(++state.ahead_fetches));
  for (const std::uint32_t id : fetch->slots) {
    instruments_->prefetched.Add(state.pool->At(id).length);
    // Filling is for the disk: once stored, the copy in memory is the first to go.
    if (kind == Fetch::Kind::kFill) state.pool->At(id).consumed = true;
  }
  state.issue_ahead.push_back(std::move(fetch));
}

// A demand fetch at the head of a stream goes on to where the planner wants it to, as far as
// nothing is there already and memory is plentiful: one request instead of two.
void Engine::ExtendDemand(State& state, Request& request, std::uint32_t next_block,
                          std::vector<std::uint32_t>& slots) {
  LiveObject& object = *request.object;
  const std::size_t reserve = slot_count_ / kDemandShare;
  for (; BlockOffset(next_block) < request.fetch.end; ++next_block) {
    if (object.blocks.contains(next_block) || state.pool->Available() <= reserve) break;
    if (object.entry && object.entry->Has(next_block)) break;
    const std::uint32_t length = BlockLength(object.info.size, next_block);
    slots.push_back(*state.pool->Allocate(object, next_block, length));
    instruments_->prefetched.Add(length);
  }
  const std::uint64_t end = std::min(BlockOffset(next_block), object.info.size);
  object.planner.OnFetch({AlignDown(request.offset, kBlockBytes), end});
}

// Fetches what of the range is neither in memory nor on disk; false when that is nothing.
bool Engine::FetchMissing(State& state, const std::shared_ptr<LiveObject>& object,
                          const Range& range, Fetch::Kind kind) {
  std::vector<std::uint32_t> run;
  std::uint32_t block = BlockOf(range.begin);
  const std::uint32_t end = BlockCount(range.end);
  bool fetched = false;
  for (; block <= end; ++block) {
    const bool missing = block < end && !object->blocks.contains(block) &&
                         !(object->entry && object->entry->Has(block));
    std::optional<std::uint32_t> id;
    if (missing) {
      id = state.pool->Allocate(*object, block, BlockLength(object->info.size, block));
    }
    if (id) {
      run.push_back(*id);
    } else if (!run.empty()) {
      const auto first = block - static_cast<std::uint32_t>(run.size());
      StartFetch(state, object, first, std::exchange(run, {}), kind, Pattern::kSequential);
      fetched = true;
    }
  }
  return fetched;
}

// Whether memory is left for one more fetch that nobody waits for.
bool Engine::RoomAhead(const State& state) const {
  const std::size_t least = slot_count_ / kDemandShare + options_.fetch_bytes / kBlockBytes;
  return state.pool->Available() >= least;
}

Prefetched Engine::Prefetch(const std::shared_ptr<LiveObject>& object) {
  UseEntry(*object);
  const auto outcome = state_.With([&](State& state) {
    if (object->gone || object->info.size == 0) return Prefetched::kThere;
    if (state.stopping || !state.starved.empty() || state.ahead_fetches >= max_ahead_fetches_ ||
        object->info.size > options_.fetch_bytes || !RoomAhead(state)) {
      return Prefetched::kNoRoom;
    }
    const bool asked = FetchMissing(state, object, {0, object->info.size}, Fetch::Kind::kAhead);
    if (asked) state.last_use = std::chrono::steady_clock::now();
    return asked ? Prefetched::kAsked : Prefetched::kThere;
  });
  if (outcome == Prefetched::kAsked) IssueFetches();
  return outcome;
}

void Engine::PumpAhead(State& state) {
  while (!state.ahead.empty() && state.starved.empty() &&
         state.ahead_fetches < max_ahead_fetches_) {
    const std::shared_ptr<LiveObject> object = state.ahead.front();
    if (!RoomAhead(state)) {
      const TimePoint now = std::chrono::steady_clock::now();
      if (now - state.last_pressure < kPressureEvery) return;
      state.last_pressure = now;
      object->planner.OnPressure();
      return;
    }
    state.ahead.pop_front();
    const auto range = object->gone ? std::nullopt : object->planner.NextAhead(MaxWindow(state));
    object->ahead = range.has_value();
    if (!range) continue;
    FetchMissing(state, object, *range, Fetch::Kind::kAhead);
    state.ahead.push_back(object);
  }
}

void Engine::WantFill(State& state, const std::shared_ptr<LiveObject>& object) {
  if (object->fill != LiveObject::Fill::kNotWanted || !object->entry) return;
  if (!object->planner.WantsWholeObject() && !SeenInLargePart(*object)) return;
  object->fill = LiveObject::Fill::kOver;
  if (object->entry->Whole() || !object->entry->Fits()) return;
  object->fill = LiveObject::Fill::kQueued;
  object->fill_next = 0;
  object->fill_stored = object->entry->Stored();
  object->fruitless_passes = 0;
  state.fills.push_back(object);
}

// Whatever the order in which it is read, half of the blocks have come past.
bool Engine::SeenInLargePart(const LiveObject& object) const {
  return object.entry->Stored() + object.not_stored >= (BlockCount(object.info.size) + 1) / 2;
}

void Engine::PumpFills(State& state, Actions& actions) {
  const std::size_t most = std::max<std::size_t>(1, max_ahead_fetches_ / 3);
  // The disk sets the pace, and read-ahead goes first.
  while (!state.fills.empty() && state.starved.empty() && state.fill_fetches < most &&
         state.ahead_fetches < max_ahead_fetches_ && RoomAhead(state) &&
         state.writing_bytes < MostWriting() / 2) {
    const std::shared_ptr<LiveObject> object = state.fills.front();
    state.fills.pop_front();
    if (object->fill != LiveObject::Fill::kQueued) continue;
    if (!FillSome(state, object, actions)) continue;
    state.fills.push_back(object);
  }
}

// Takes the next step of a pass; false when the pass is over.
bool Engine::FillSome(State& state, const std::shared_ptr<LiveObject>& object, Actions& actions) {
  const std::uint32_t blocks = BlockCount(object->info.size);
  const std::uint32_t look_end = std::min(blocks, object->fill_next + kFillLook);
  const auto absent = [&](std::uint32_t block) {
    return !object->entry->Has(block) && !object->blocks.contains(block);
  };
  std::uint32_t& next = object->fill_next;
  for (; next < look_end && !absent(next); ++next) {
    const auto found = object->blocks.find(next);
    if (found == object->blocks.end() || object->entry->Has(next)) continue;
    // In memory, but the disk was too slow for it when it came. Perhaps it still is.
    if (state.writing_bytes >= MostWriting() / 2) return true;
    OfferWrite(state, object, found->second, actions);
  }
  if (next < look_end) {
    const std::uint64_t begin = BlockOffset(next);
    const std::uint32_t run_end = BlockCount(
        std::min(object->info.size, AlignDown(begin, options_.fetch_bytes) + options_.fetch_bytes));
    while (next < run_end && absent(next)) ++next;
    const std::uint64_t end = std::min(object->info.size, BlockOffset(next));
    FetchMissing(state, object, {begin, end}, Fetch::Kind::kFill);
  }
  if (next < blocks) return true;
  object->fill = LiveObject::Fill::kPassDone;
  return false;
}

// Once nothing of the last pass is on its way any more: another one for what it left out.
void Engine::NextFillPass(State& state, const std::shared_ptr<LiveObject>& object) {
  if (object->fill != LiveObject::Fill::kPassDone) return;
  if (!object->fetches.empty() || object->storing > 0) return;
  object->fill = LiveObject::Fill::kOver;
  if (!object->entry || object->entry->Whole()) return;
  const std::uint32_t stored = object->entry->Stored();
  object->fruitless_passes = stored > object->fill_stored ? 0 : object->fruitless_passes + 1;
  if (object->fruitless_passes == kFruitlessPasses) return;
  object->fill = LiveObject::Fill::kQueued;
  object->fill_next = 0;
  object->fill_stored = stored;
  state.fills.push_back(object);
}

// Cancels read-ahead that no read waits for and no stream is about to reach (or all of it).
void Engine::CancelUnwanted(State& state, LiveObject& object, bool all) {
  for (const auto& fetch : object.fetches) {
    if (fetch->kind != Fetch::Kind::kAhead || fetch->cancelled) continue;
    const std::uint64_t begin = BlockOffset(fetch->first_block);
    const Range range{begin, begin + fetch->slots.size() * kBlockBytes};
    if (!all && object.planner.Wants(range)) continue;
    const bool awaited =
        std::any_of(fetch->slots.begin(), fetch->slots.end(), [&](std::uint32_t id) {
          const Slot& slot = state.pool->At(id);
          return slot.owner == &object && !slot.waiters.empty();
        });
    if (!awaited) Cancel(state, *fetch);
  }
}

// The source notices at its next bytes. Until it is done its slots stay pinned, but no reader finds
// them any more.
void Engine::Cancel(State& state, Fetch& fetch) {
  if (std::exchange(fetch.cancelled, true)) return;
  for (std::size_t i = 0; i < fetch.slots.size(); ++i) {
    const Slot& slot = state.pool->At(fetch.slots[i]);
    // A slot that is full is no longer this fetch's, and may be another block's by now.
    const bool ours = slot.owner == fetch.object.get() && slot.block == fetch.first_block + i;
    if (ours && slot.state == Slot::State::kFilling) state.pool->Detach(fetch.slots[i]);
  }
}

// One thread at a time hands fetches to their sources, in a loop: a source that answers at once
// makes further fetches start from inside, which must not become a recursion.
void Engine::IssueFetches() {
  for (;;) {
    const auto [fetch, wanted] = state_.With([](State& state) {
      auto& queue = state.issue_demand.empty() ? state.issue_ahead : state.issue_demand;
      if (state.issuing || queue.empty()) return std::pair(std::shared_ptr<Fetch>(), false);
      state.issuing = true;
      auto next = queue.front();
      queue.pop_front();
      return std::pair(next, !next->cancelled && !state.stopping);
    });
    if (!fetch) return;
    if (wanted) {
      Issue(fetch);
    } else {
      OnDone(fetch, Ok());
    }
    state_.With([](State& state) { state.issuing = false; });
    state_.Notify();
  }
}

void Engine::Issue(const std::shared_ptr<Fetch>& fetch) {
  const LiveObject& object = *fetch->object;
  const std::uint64_t begin = BlockOffset(fetch->first_block);
  const std::uint64_t end = std::min(object.info.size, begin + fetch->slots.size() * kBlockBytes);
  const auto source = object.source.lock();
  if (!source) {
    OnDone(fetch, ::sluice::Fail(Code::kUnavailable, "the reader is being stopped"));
    return;
  }
  source->FetchAsync(
      object.info, begin, end - begin, fetch->pattern,
      [self = shared_from_this(), fetch](std::span<const std::byte> bytes) {
        return self->OnBytes(fetch, bytes);
      },
      [self = shared_from_this(), fetch](const Status& status) { self->OnDone(fetch, status); });
}

bool Engine::OnBytes(const std::shared_ptr<Fetch>& fetch, std::span<const std::byte> bytes) {
  Actions actions;
  bool wanted = true;
  while (wanted && !bytes.empty()) {
    if (fetch->current == fetch->slots.size()) {
      fetch->overrun = true;
      wanted = false;
      break;
    }
    const std::uint32_t id = fetch->slots[fetch->current];
    const auto block = fetch->first_block + static_cast<std::uint32_t>(fetch->current);
    const std::uint32_t length = BlockLength(fetch->object->info.size, block);
    const std::size_t n = std::min<std::size_t>(bytes.size(), length - fetch->filled);
    std::memcpy(Data(id) + fetch->filled, bytes.data(), n);
    bytes = bytes.subspan(n);
    fetch->filled += static_cast<std::uint32_t>(n);
    const bool full = fetch->filled == length;
    wanted = state_.With([&](State& state) {
      if (fetch->cancelled) return false;
      Arrived(state, id, fetch->filled, actions);
      if (full) {
        OfferWrite(state, fetch->object, id, actions);
        state.pool->Unpin(id);
      }
      return true;
    });
    if (wanted && full) {
      ++fetch->current;
      fetch->filled = 0;
    }
  }
  Perform(std::move(actions), nullptr);
  return wanted;
}

// Bytes up to `valid` are in the slot: answers the reads that waited for no more than that.
void Engine::Arrived(State& state, std::uint32_t id, std::uint32_t valid, Actions& actions) {
  Slot& slot = state.pool->At(id);
  slot.valid = valid;
  if (valid == slot.length) slot.state = Slot::State::kReady;
  std::vector<std::shared_ptr<Request>> served;
  std::erase_if(slot.waiters, [&](const Waiter& waiter) {
    if (waiter.need > valid) return false;
    served.push_back(waiter.request);
    return true;
  });
  for (const auto& request : served) {
    if (--request->missing == 0) Finish(state, request, actions);
  }
}

void Engine::OnDone(const std::shared_ptr<Fetch>& fetch, const Status& status) {
  Actions actions;
  state_.With([&](State& state) {
    LiveObject& object = *fetch->object;
    std::erase(object.fetches, fetch);
    if (fetch->kind == Fetch::Kind::kDemand) {
      instruments_->demand_fetches.Set(static_cast<double>(--state.demand_fetches));
    } else {
      instruments_->ahead_fetches.Set(static_cast<double>(--state.ahead_fetches));
      if (fetch->kind == Fetch::Kind::kFill) --state.fill_fetches;
    }
    const bool whole = fetch->current == fetch->slots.size() && !fetch->overrun;
    Error error{Code::kInternal, fmt::format("the origin gave {} bytes than asked for",
                                             fetch->overrun ? "more" : "fewer")};
    if (!status) error = status.error();

    std::vector<std::shared_ptr<Request>> hurt;
    for (std::size_t i = fetch->current; i < fetch->slots.size(); ++i) {
      const std::uint32_t id = fetch->slots[i];
      for (const Waiter& waiter : state.pool->At(id).waiters) hurt.push_back(waiter.request);
      state.pool->Detach(id);
      state.pool->Unpin(id);
    }
    if (!fetch->cancelled && !whole) {
      if (error.code == Code::kConflict) Gone(state, object, error, actions);
      for (const auto& request : hurt) FailOrRetry(state, request, error, actions);
      const bool filling = object.fill == LiveObject::Fill::kQueued;
      // A pause, then another pass; for a lasting cause the next open shows whether it is over.
      if (fetch->kind == Fetch::Kind::kFill && filling) {
        object.fill =
            WorthRetrying(error.code) ? LiveObject::Fill::kPassDone : LiveObject::Fill::kOver;
      }
    }
    if (whole) NextFillPass(state, fetch->object);
    CloseIdleEntry(object, actions);
    Settle(state, actions);
  });
  if (!status) LogLoss(*fetch->object, status.error());
  Perform(std::move(actions), nullptr);
}

// That the origin has not got the version any more, once.
void Engine::LogLoss(LiveObject& object, const Error& error) {
  const bool changed = error.code == Code::kConflict;
  if ((!changed && error.code != Code::kNotFound) || object.loss_logged.exchange(true)) return;
  log_.Warn(
      changed ? "object changed at the origin" : "object deleted at the origin",
      {{"path", object.info.path}, {"version", object.info.version}, {"error", error.message}});
}

std::uint64_t Engine::MostWriting() const { return slot_count_ * kBlockBytes / kWriteShare; }

// Hands a full block to the writer unless the disk cannot keep up: a reader never waits for it.
void Engine::OfferWrite(State& state, const std::shared_ptr<LiveObject>& object, std::uint32_t id,
                        Actions& actions) {
  Slot& slot = state.pool->At(id);
  if (!object->entry || object->gone || slot.state != Slot::State::kReady || state.stopping) return;
  if (slot.storing) return;
  if (state.writing_bytes + slot.length > MostWriting()) {
    instruments_->not_stored.Add(slot.length);
    ++object->not_stored;
    return;
  }
  state.writing_bytes += slot.length;
  ++object->storing;
  slot.storing = true;
  state.pool->Pin(id);
  actions.writes.push_back({object, object->entry, slot.block, id, slot.length});
}

void Engine::RunWrite(const Write& write) {
  const auto outcome = write.entry->Write(write.block, {Data(write.slot), write.length});
  ReleaseWrite(write, outcome == CacheEntry::WriteOutcome::kStored);
}

void Engine::ReleaseWrite(const Write& write, bool stored) {
  Actions actions;
  LiveObject& object = *write.object;
  const bool last = state_.With([&](State& state) {
    state.writing_bytes -= write.length;
    state.pool->At(write.slot).storing = false;
    state.pool->Unpin(write.slot);
    --object.storing;
    if (stored) {
      WantFill(state, write.object);
      NextFillPass(state, write.object);
    } else if (object.fill == LiveObject::Fill::kQueued) {
      // No room or no disk: filling on now would fetch what cannot be kept.
      object.fill = LiveObject::Fill::kPassDone;
    }
    Settle(state, actions);
    return object.storing == 0;
  });
  if (last) state_.Notify();  // somebody may want to open the whole file
  Perform(std::move(actions), nullptr);
}

// Reads blocks from the node cache into their slots. What the disk does not give is fetched.
Engine::Actions Engine::RunLoad(const Load& load) {
  Actions actions;
  std::vector<std::pair<std::uint32_t, std::uint32_t>> failed;
  for (const auto& [block, id] : load.blocks) {
    const std::uint32_t length = BlockLength(load.object->info.size, block);
    if (!load.entry->Read(block, {Data(id), length})) {
      failed.emplace_back(block, id);
      continue;
    }
    state_.With([&, slot = id](State& state) {
      Arrived(state, slot, length, actions);
      state.pool->Unpin(slot);
    });
  }
  state_.With([&](State& state) {
    // One fetch for each run of neighbours; it takes over the load's pins.
    for (std::size_t i = 0; i < failed.size();) {
      std::vector<std::uint32_t> run;
      const std::uint32_t first = failed[i].first;
      for (; i < failed.size() && failed[i].first == first + run.size(); ++i) {
        run.push_back(failed[i].second);
      }
      StartFetch(state, load.object, first, std::move(run), Fetch::Kind::kDemand,
                 load.request->pattern);
    }
    Settle(state, actions);
  });
  return actions;
}

}  // namespace sluice::cache
