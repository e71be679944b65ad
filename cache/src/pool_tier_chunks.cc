// The chunks of the pool tier: how one comes out of the pool or from behind, who fills it, and how
// long it stays in memory.
#include <algorithm>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "crc32c.h"
#include "pool_tier.h"
#include "pool_tier_instruments.h"

namespace sluice::cache {
namespace {

// Between two questions for a chunk that another client fills.
constexpr std::chrono::microseconds kFirstWait{2'000};
constexpr unsigned kMostDoublings = 5;

// Of the memory, for each lane.
constexpr std::uint64_t kReservedShare = 4;

std::size_t SizeOf(const ChunkTransfer& transfer) { return transfer.range.Size(); }

// Whether a reader has got to this chunk, and is not only going to want it.
bool InUse(const std::shared_ptr<ChunkTransfer>& transfer) {
  return std::any_of(transfer->readers.begin(), transfer->readers.end(), [&](const auto& reader) {
    return reader->parts.front().transfer == transfer;
  });
}

}  // namespace

void PoolTier::Leave(State& state, const Read& read, const Transfer& transfer, Leaving how,
                     Actions& actions) {
  std::erase(transfer->readers, read);
  if (!transfer->readers.empty()) return;
  switch (transfer->state) {
    case ChunkTransfer::State::kQueued:
      std::erase(state.lanes[transfer->lane].queue, transfer);
      End(state, transfer, actions);
      return;
    case ChunkTransfer::State::kWaiting:
      End(state, transfer, actions);
      return;
    case ChunkTransfer::State::kFilling:
      // The head of a sequential read is served long before its chunk has come; others, or the next
      // read, will want the rest. But who gives up in the first half wants no more of it.
      if (how == Leaving::kServed || transfer->valid * 2 >= SizeOf(*transfer)) return;
      transfer->cancelled = true;
      state.transfers.erase(transfer->key);
      Drop(state, transfer->key, transfer->held);
      return;
    case ChunkTransfer::State::kThere:
      if (!transfer->putting) Keep(state, transfer, actions);
      return;
    case ChunkTransfer::State::kAsking:  // the answer will find that nobody is there
    case ChunkTransfer::State::kEnded:
      return;
  }
}

void PoolTier::Admit(State& state, Actions& actions) {
  const std::uint64_t most = capacity_ - std::max(kMostChunkBytes, capacity_ / kReservedShare);
  for (Lane& lane : state.lanes) {
    while (!lane.queue.empty()) {
      const std::size_t size = SizeOf(*lane.queue.front());
      if (lane.used + size > most || !MakeRoom(state, size, actions)) break;
      const Transfer transfer = std::move(lane.queue.front());
      lane.queue.pop_front();
      lane.used += size;
      state.used += size;
      Ask(state, transfer);
    }
  }
  instruments_->buffers.Set(static_cast<double>(state.used));
}

// Evicts the chunks that were not used for longest until there is room for `size` bytes more; false
// when too much is in use.
bool PoolTier::MakeRoom(State& state, std::size_t size, Actions& actions) {
  while (state.used + size > capacity_) {
    const auto found = std::find_if_not(state.kept.begin(), state.kept.end(), InUse);
    if (found == state.kept.end()) return false;
    Evict(state, Transfer(*found), actions);
  }
  return true;
}

void PoolTier::Evict(State& state, const Transfer& transfer, Actions& actions) {
  TakeReaders(*transfer, PoolRead::Part::State::kEvicted);
  End(state, transfer, actions);
}

// Parts the transfer from its readers.
std::vector<PoolTier::Read> PoolTier::TakeReaders(ChunkTransfer& transfer,
                                                  PoolRead::Part::State become) {
  for (const Read& read : transfer.readers) {
    for (PoolRead::Part& part : read->parts) {
      if (part.transfer.get() != &transfer) continue;
      part.transfer = nullptr;
      part.state = become;
    }
  }
  return std::exchange(transfer.readers, {});
}

void PoolTier::Ask(State& state, const Transfer& transfer) {
  transfer->state = ChunkTransfer::State::kAsking;
  transfer->asked_for_lease = transfer->lease;
  const auto on_miss = transfer->lease ? ChunkPool::OnMiss::kLease : ChunkPool::OnMiss::kReport;
  Enqueue(state,
          [self = shared_from_this(), transfer, on_miss](ChunkSource& /*behind*/, ChunkPool& pool) {
            const std::size_t size = SizeOf(*transfer) + pool.Room();
            if (!transfer->bytes)
              transfer->bytes = std::make_unique_for_overwrite<std::byte[]>(size);
            self->BeginCall();
            pool.Get(transfer->key, {transfer->bytes.get(), size}, on_miss,
                     [self, transfer](const Result<PoolAnswer>& answer) {
                       self->OnAnswer(transfer, answer);
                     });
          });
}

void PoolTier::OnAnswer(const Transfer& transfer, const Result<PoolAnswer>& answer) {
  const std::size_t size = SizeOf(*transfer);
  const bool corrupt =
      answer && answer->kind == PoolAnswer::Kind::kHit &&
      (answer->forged || Crc32c({transfer->bytes.get(), size}) != answer->checksum);
  if (corrupt) {
    instruments_->corrupt.Add();
    log_.Warn("a chunk of the pool failed its check",
              {{"path", transfer->object.path}, {"offset", transfer->range.begin}});
  }
  if (!answer) instruments_->get_errors.Add();
  Actions actions;
  state_.With([&](State& state) {
    EndCall(state, actions);
    if (corrupt) Drop(state, transfer->key, answer->value);
    const bool leased = answer && answer->lease.number != 0;
    if (leased && (corrupt || transfer->readers.empty() || state.stopping)) {
      Drop(state, transfer->key, answer->lease);
    }
    if (state.stopping) return;
    if (transfer->readers.empty()) {
      End(state, transfer, actions);
    } else if (!answer) {
      ReadBehind(state, transfer, actions);
    } else if (corrupt) {
      AskAgainOrGiveUp(state, transfer, actions);
    } else {
      Answered(state, transfer, *answer, actions);
    }
    Admit(state, actions);
  });
  Perform(actions);
}

void PoolTier::Answered(State& state, const Transfer& transfer, const PoolAnswer& answer,
                        Actions& actions) {
  switch (answer.kind) {
    case PoolAnswer::Kind::kHit:
      if (transfer->waits > 0) instruments_->filled_by_others.Add();
      transfer->source = &instruments_->from_pool;
      transfer->state = ChunkTransfer::State::kThere;
      transfer->valid = SizeOf(*transfer);
      actions.wake = transfer->readers;
      if (answer.lease.number == 0) return Keep(state, transfer, actions);
      // It was where it does not belong any more.
      instruments_->moved.Add();
      transfer->held = answer.lease;
      transfer->checksum = answer.checksum;
      transfer->putting = true;
      return Store(state, transfer);
    case PoolAnswer::Kind::kFill:
      if (transfer->waits > 0) instruments_->takeovers.Add();
      transfer->held = answer.lease;
      transfer->renewed = std::chrono::steady_clock::now();
      Fill(state, transfer);
      return;
    case PoolAnswer::Kind::kWait:
      if (transfer->lease) return Wait(state, transfer, actions);
      // A small part comes sooner from behind.
      return ReadBehind(state, transfer, actions);
    case PoolAnswer::Kind::kMiss:
      if (!transfer->lease) return LeaveToPieces(state, transfer, actions);
      // Somebody has come meanwhile who wants it whole.
      if (!transfer->asked_for_lease) return Ask(state, transfer);
      return AskAgainOrGiveUp(state, transfer, actions);
  }
}

// What the pool had was no good and is dropped. If it still has it, its help is declined.
void PoolTier::AskAgainOrGiveUp(State& state, const Transfer& transfer, Actions& actions) {
  if (!transfer->lease || std::exchange(transfer->asked_again, true)) {
    return ReadBehind(state, transfer, actions);
  }
  Ask(state, transfer);
}

void PoolTier::Wait(State& state, const Transfer& transfer, Actions& actions) {
  const TimePoint now = std::chrono::steady_clock::now();
  if (transfer->waits == 0) transfer->waiting_since = now;
  const TimePoint latest = transfer->waiting_since + options_.most_wait;
  if (now >= latest) {
    instruments_->given_up.Add();
    return ReadBehind(state, transfer, actions);
  }
  const auto longest = kFirstWait * (1U << std::min(transfer->waits++, kMostDoublings));
  std::uniform_int_distribution<std::chrono::microseconds::rep> pause(longest.count() / 2,
                                                                      longest.count());
  SendSmallPartsBehind(transfer, actions);
  if (transfer->readers.empty()) return End(state, transfer, actions);
  // Others make use of its memory meanwhile.
  const std::size_t size = SizeOf(*transfer);
  actions.memory.push_back(std::move(transfer->bytes));
  state.lanes[transfer->lane].used -= size;
  state.used -= size;
  transfer->state = ChunkTransfer::State::kWaiting;
  const TimePoint next = now + std::chrono::microseconds(pause(state.jitter));
  const auto at = state.waiting.emplace(std::min(next, latest), transfer);
  if (at == state.waiting.begin()) state_.Notify();
}

void PoolTier::SendSmallPartsBehind(const Transfer& transfer, Actions& actions) {
  std::erase_if(transfer->readers, [&](const Read& read) {
    const auto part = std::ranges::find(read->parts, transfer, &PoolRead::Part::transfer);
    if (part == read->parts.end() || part->whole) return false;
    part->transfer = nullptr;
    part->state = PoolRead::Part::State::kDirect;
    actions.wake.push_back(read);
    return true;
  });
}

void PoolTier::Fill(State& state, const Transfer& transfer) {
  transfer->state = ChunkTransfer::State::kFilling;
  transfer->source = &instruments_->from_fill;
  Enqueue(state, [self = shared_from_this(), transfer](ChunkSource& behind, ChunkPool& /*pool*/) {
    behind.FetchAsync(
        transfer->object, transfer->range.begin, SizeOf(*transfer), Pattern::kSequential,
        [self, transfer](std::span<const std::byte> bytes) {
          return self->OnFillBytes(transfer, bytes);
        },
        [self, transfer](const Status& status) { self->OnFillDone(transfer, status); });
  });
}

bool PoolTier::OnFillBytes(const Transfer& transfer, std::span<const std::byte> bytes) {
  if (bytes.size() > SizeOf(*transfer) - transfer->filled) {
    transfer->overrun = true;
    return false;
  }
  std::memcpy(transfer->bytes.get() + transfer->filled, bytes.data(), bytes.size());
  transfer->checksum = Crc32c(bytes, transfer->checksum);
  transfer->filled += bytes.size();
  const TimePoint now = std::chrono::steady_clock::now();
  Actions actions;
  const bool wanted = state_.With([&](State& state) {
    if (state.stopping || transfer->cancelled) return false;
    transfer->valid = transfer->filled;
    RenewIfDue(state, transfer, now);
    std::copy_if(transfer->readers.begin(), transfer->readers.end(),
                 std::back_inserter(actions.wake),
                 [&](const Read& read) { return read->parts.front().transfer == transfer; });
    return true;
  });
  Perform(actions);
  return wanted;
}

void PoolTier::OnFillDone(const Transfer& transfer, const Status& status) {
  const bool whole = transfer->filled == SizeOf(*transfer) && !transfer->overrun;
  Actions actions;
  state_.With([&](State& state) {
    if (state.stopping) return;
    if (status && whole && !transfer->cancelled) {
      instruments_->fills.Add();
      transfer->state = ChunkTransfer::State::kThere;
      transfer->putting = true;
      if (!transfer->renewing) Store(state, transfer);
    } else {
      if (!transfer->cancelled) Drop(state, transfer->key, transfer->held);
      transfer->failure =
          status ? Error{Code::kInternal, fmt::format("the origin gave {} bytes than asked for",
                                                      transfer->overrun ? "more" : "fewer")}
                 : status.error();
      actions.wake = transfer->readers;
      End(state, transfer, actions);
    }
    Admit(state, actions);
  });
  Perform(actions);
}

// A chunk that is there stays for the rest of it to be read, until its memory is needed. Once all
// of it was read it goes: the tiers above have it.
void PoolTier::Keep(State& state, const Transfer& transfer, Actions& actions) {
  if (transfer->readers.empty() && transfer->delivered >= SizeOf(*transfer)) {
    End(state, transfer, actions);
    return;
  }
  if (std::erase(state.kept, transfer) == 0) state.lanes[transfer->lane].used -= SizeOf(*transfer);
  transfer->used = std::chrono::steady_clock::now();
  state.kept.push_back(transfer);
}

// Its readers want little of it, and look for that.
void PoolTier::LeaveToPieces(State& state, const Transfer& transfer, Actions& actions) {
  actions.wake = TakeReaders(*transfer, PoolRead::Part::State::kAbsent);
  End(state, transfer, actions);
}

// Its readers read for themselves what they want.
void PoolTier::ReadBehind(State& state, const Transfer& transfer, Actions& actions) {
  actions.wake = TakeReaders(*transfer, PoolRead::Part::State::kDirect);
  End(state, transfer, actions);
}

void PoolTier::End(State& state, const Transfer& transfer, Actions& actions) {
  const bool has_memory = transfer->state != ChunkTransfer::State::kQueued &&
                          transfer->state != ChunkTransfer::State::kWaiting;
  if (has_memory) {
    if (std::erase(state.kept, transfer) == 0) {
      state.lanes[transfer->lane].used -= SizeOf(*transfer);
    }
    state.used -= SizeOf(*transfer);
  }
  transfer->state = ChunkTransfer::State::kEnded;
  const auto found = state.transfers.find(transfer->key);
  if (found != state.transfers.end() && found->second == transfer) state.transfers.erase(found);
  actions.freed.push_back(transfer);
}

void PoolTier::Tick(TimePoint now) {
  Actions actions;
  state_.With([&](State& state) {
    while (!state.waiting.empty() && state.waiting.begin()->first <= now) {
      const Transfer transfer = state.waiting.begin()->second;
      state.waiting.erase(state.waiting.begin());
      if (transfer->state == ChunkTransfer::State::kWaiting) {
        transfer->state = ChunkTransfer::State::kQueued;
        state.lanes[transfer->lane].queue.push_front(transfer);
      }
      actions.freed.push_back(transfer);
    }
    while (!state.kept.empty() && now - state.kept.front()->used > options_.keep &&
           !InUse(state.kept.front())) {
      Evict(state, Transfer(state.kept.front()), actions);
    }
    Admit(state, actions);
  });
  Perform(actions);
}

}  // namespace sluice::cache
