#include "pool_tier.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "pool_tier_instruments.h"

namespace sluice::cache {
namespace {

// So many chunks behind the one at the cursor are asked for already.
constexpr std::size_t kPartsAhead = 3;
constexpr std::uint64_t kMostInPieces = 2 * kBlockBytes;
constexpr std::uint64_t kLeastCapacity = 2 * kMostChunkBytes;
constexpr std::chrono::seconds kLongestPause{1};

// How long stopping waits for a call that is just being made.
constexpr std::chrono::seconds kStopCalling{10};

Error Cancelled() { return {Code::kUnavailable, "cancelled"}; }
Error Stopped() { return {Code::kUnavailable, "the source is being stopped"}; }

}  // namespace

PoolTier::PoolTier(std::shared_ptr<ChunkSource> behind, std::shared_ptr<ChunkPool> pool,
                   PooledOptions options, platform::Metrics& metrics, const platform::Log& log)
    : options_(std::move(options)),
      capacity_(std::max(options_.memory_bytes, kLeastCapacity)),
      identity_(behind->Identity()),
      log_(log),
      instruments_(std::make_unique<Instruments>(metrics)) {
  state_.With([&](State& state) {
    state.behind = std::move(behind);
    state.pool = std::move(pool);
    state.jitter.seed(std::random_device{}());
  });
}

PoolTier::~PoolTier() = default;

void PoolTier::Run(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    const TimePoint latest = std::chrono::steady_clock::now() + kLongestPause;
    const TimePoint next = state_.With([&](const State& state) {
      return state.waiting.empty() ? latest : std::min(latest, state.waiting.begin()->first);
    });
    state_.WaitUntil(next, stop, [&](const State& state) {
      return !state.waiting.empty() && state.waiting.begin()->first < next;
    });
    Tick(std::chrono::steady_clock::now());
  }
}

void PoolTier::Stop() {
  Actions actions;
  std::deque<QueuedCall> unmade;
  state_.With([&](State& state) {
    state.stopping = true;
    unmade.swap(state.calls);
    for (QueuedCall& queued : unmade) {
      if (queued.at_the_end) state.calls.push_back(std::move(queued));
    }
    for (const Read& read : state.reads) {
      if (!read->failure) read->failure = Stopped();
      actions.wake.push_back(read);
    }
    for (const auto& [key, transfer] : state.transfers) {
      const bool going_to_put = transfer->putting && !transfer->put_begun;
      if (transfer->state == ChunkTransfer::State::kFilling || going_to_put) {
        Drop(state, key, transfer->held);
      }
    }
  });
  Perform(actions);
  state_.WaitUntil(std::chrono::steady_clock::now() + options_.most_wait_at_end,
                   [](const State& state) {
                     return !state.calling && state.calls.empty() && state.under_way == 0;
                   });
  // No call is begun any more; once the last one has ended, pool and source may go, on this thread.
  std::deque<QueuedCall> too_late;
  state_.With([&](State& state) {
    state.closed = true;
    too_late.swap(state.calls);
  });
  state_.WaitUntil(std::chrono::steady_clock::now() + kStopCalling,
                   [](const State& state) { return !state.calling; });
  const auto behind = state_.With([](State& state) {
    state.pool.reset();
    return std::exchange(state.behind, nullptr);
  });
}

void PoolTier::Fetch(const OriginObject& object, const Range& range, Pattern pattern, ReadSink sink,
                     ReadDone done) {
  if (range.end < range.begin || range.end > object.size) {
    return done(Fail(Code::kInvalidArgument,
                     fmt::format("{}: bytes {}+{} lie beyond its {} bytes", object.path,
                                 range.begin, range.Size(), object.size)));
  }
  auto read = std::make_shared<PoolRead>();
  read->object = object;
  read->key_base =
      ChunkKeyBase({options_.dataset_uid, identity_, object.path, object.version, object.size});
  read->range = range;
  read->pattern = pattern;
  read->cursor = range.begin;
  read->sink = std::move(sink);
  read->done = std::move(done);
  state_.With([&](State& state) {
    if (state.stopping) read->failure = Stopped();
    state.reads.insert(read);
  });
  Perform(OnlyWake(read));
}

PoolTier::Actions PoolTier::OnlyWake(const Read& read) {
  Actions actions;
  actions.wake.push_back(read);
  return actions;
}

void PoolTier::Perform(const Actions& actions) {
  for (const Read& read : actions.wake) Pump(read);
  RunCalls();
  if (actions.tell_stop) state_.Notify();
}

void PoolTier::Enqueue(State& state, Call call) {
  if (!state.stopping) state.calls.push_back({std::move(call)});
}

void PoolTier::RunCalls() {
  for (;;) {
    Call call;
    std::shared_ptr<ChunkSource> behind;
    std::shared_ptr<ChunkPool> pool;
    const bool mine = state_.With([&](State& state) {
      if (state.calling || state.calls.empty()) return false;
      state.calling = true;
      call = std::move(state.calls.front().call);
      state.calls.pop_front();
      behind = state.behind;
      pool = state.pool;
      return true;
    });
    if (!mine) return;
    call(*behind, *pool);
    // All is let go before the tier may be: the last owner of the source is whoever stops it.
    call = nullptr;
    behind.reset();
    pool.reset();
    const bool stopping = state_.With([](State& state) {
      state.calling = false;
      return state.stopping;
    });
    if (stopping) state_.Notify();
  }
}

// Takes the read as far as it gets. Another thread that is doing so goes on instead.
void PoolTier::Pump(const Read& read) {
  Actions actions;
  Step step = state_.With([&](State& state) { return NextStep(state, read, actions); });
  while (!step.bytes.empty()) {
    const bool wanted = read->sink(step.bytes);
    step = state_.With([&](State& state) {
      Delivered(*read, *step.transfer, step.bytes.size(), wanted);
      return NextStep(state, read, actions);
    });
  }
  if (step.done) step.done(step.status);
}

void PoolTier::Delivered(PoolRead& read, ChunkTransfer& transfer, std::size_t size, bool wanted) {
  read.delivering = false;
  read.cursor += size;
  transfer.delivered += size;
  transfer.source->Add(size);
  if (!wanted && !read.failure) read.failure = Cancelled();
}

PoolTier::Step PoolTier::NextStep(State& state, const Read& read, Actions& actions) {
  if (read->finished || read->delivering) return {};
  while (!read->parts.empty() && read->parts.front().range.end <= read->cursor) {
    if (const Transfer transfer = read->parts.front().transfer) {
      Leave(state, read, transfer, Leaving::kServed, actions);
    }
    read->parts.pop_front();
  }
  const bool over = read->cursor == read->range.end && !read->direct_end;
  Step step;
  if (read->failure || over) {
    step = Finish(state, read, actions);
  } else if (!read->direct_end) {
    LookAhead(state, read);
    const PoolRead::Part& part = read->parts.front();
    if (part.state == PoolRead::Part::State::kDirect) {
      ReadDirectly(state, read);
    } else {
      step = TakeShared(state, read, actions);
    }
  }
  Admit(state, actions);
  return step;
}

// What has arrived of the chunk at the cursor; or its failure, once all that came before it is
// delivered.
PoolTier::Step PoolTier::TakeShared(State& state, const Read& read, Actions& actions) {
  const PoolRead::Part& part = read->parts.front();
  const ChunkTransfer& transfer = *part.transfer;
  const std::uint64_t ready = std::min(part.range.end, transfer.range.begin + transfer.valid);
  if (ready > read->cursor) {
    read->delivering = true;
    const std::size_t at = read->cursor - transfer.range.begin;
    Step step;
    step.bytes = {transfer.bytes.get() + at, ready - read->cursor};
    step.transfer = part.transfer;
    return step;
  }
  if (!transfer.failure) return {};
  read->failure = transfer.failure;
  return Finish(state, read, actions);
}

PoolTier::Step PoolTier::Finish(State& state, const Read& read, Actions& actions) {
  for (const PoolRead::Part& part : read->parts) {
    if (part.transfer) Leave(state, read, part.transfer, Leaving::kUnserved, actions);
  }
  read->parts.clear();
  read->finished = true;
  state.reads.erase(read);
  Step step;
  step.sink = std::move(read->sink);
  step.done = std::move(read->done);
  if (read->failure) step.status = ::sluice::Fail(*read->failure);
  return step;
}

// Asks for the chunk or piece at the cursor, and for those after it that will be filled.
void PoolTier::LookAhead(State& state, const Read& read) {
  const std::uint64_t size = read->object.size;
  for (std::size_t i = 0; i <= kPartsAhead; ++i) {
    if (i == read->parts.size()) {
      const std::uint64_t begin = i == 0 ? read->cursor : read->parts.back().range.end;
      if (begin == read->range.end) return;
      PoolRead::Part part;
      const Range chunk = ChunkRange(size, ChunkOf(size, begin));
      part.range = {begin, std::min(read->range.end, chunk.end)};
      part.whole = WantsWholeChunk(part.range, chunk, read->pattern);
      read->parts.push_back(std::move(part));
    }
    if (read->parts[i].state == PoolRead::Part::State::kAbsent) CutIntoPieces(*read, i);
    PoolRead::Part& part = read->parts[i];
    const bool ahead = (part.whole || part.piece) && part.state == PoolRead::Part::State::kNotAsked;
    const bool now = i == 0 && part.state != PoolRead::Part::State::kDirect && !part.transfer;
    if (ahead || now) Join(state, read, part);
  }
}

// Puts the pieces in the place of their part. Of a piece of which less than half is wanted, no more
// than that is read; nor is a read of many pieces cut into as many requests of the origin.
void PoolTier::CutIntoPieces(PoolRead& read, std::size_t at) {
  const Range range = read.parts[at].range;
  if (range.Size() > kMostInPieces) {
    read.parts[at].state = PoolRead::Part::State::kDirect;
    return;
  }
  std::vector<PoolRead::Part> pieces;
  for (std::uint64_t begin = std::max(range.begin, read.cursor); begin < range.end;) {
    const Range whole = PieceRange(read.object.size, PieceOf(begin));
    PoolRead::Part part;
    part.range = {begin, std::min(range.end, whole.end)};
    part.piece = part.range.Size() * 2 >= whole.Size();
    if (!part.piece) part.state = PoolRead::Part::State::kDirect;
    pieces.push_back(part);
    begin = part.range.end;
  }
  const auto place = read.parts.erase(read.parts.begin() + static_cast<std::ptrdiff_t>(at));
  read.parts.insert(place, pieces.begin(), pieces.end());
}

void PoolTier::Join(State& state, const Read& read, PoolRead::Part& part) {
  const std::uint64_t size = read->object.size;
  const std::uint64_t chunk = ChunkOf(size, part.range.begin);
  const std::uint64_t piece = PieceOf(part.range.begin);
  std::string key = part.piece ? PieceKey(read->key_base, piece) : ChunkKey(read->key_base, chunk);
  Transfer& transfer = state.transfers[key];
  if (transfer && transfer->state == ChunkTransfer::State::kWaiting && !part.whole) {
    // A small part comes sooner from behind than from another client.
    part.state = PoolRead::Part::State::kDirect;
    return;
  }
  if (!transfer) {
    transfer = std::make_shared<ChunkTransfer>();
    transfer->object = read->object;
    transfer->key = std::move(key);
    transfer->range = part.piece ? PieceRange(size, piece) : ChunkRange(size, chunk);
    const bool small = part.piece || part.range.Size() * 2 < transfer->range.Size();
    transfer->lane = small ? kSmallParts : kBulk;
    state.lanes[transfer->lane].queue.push_back(transfer);
  }
  if (part.whole || part.piece) transfer->lease = true;
  transfer->readers.push_back(read);
  part.transfer = transfer;
  part.state = PoolRead::Part::State::kShared;
}

void PoolTier::ReadDirectly(State& state, const Read& read) {
  read->direct_end = read->cursor;
  Enqueue(state, [self = shared_from_this(), read](ChunkSource& behind, ChunkPool& /*pool*/) {
    // Only now: by now the pool may have failed the parts after this one too, and one read from
    // behind is better than several.
    const Range range = self->state_.With([&](const State&) {
      for (const PoolRead::Part& part : read->parts) {
        if (part.state != PoolRead::Part::State::kDirect) break;
        read->direct_end = part.range.end;
      }
      return Range{read->cursor, *read->direct_end};
    });
    if (range.Size() == 0) return;  // finished meanwhile
    behind.FetchAsync(
        read->object, range.begin, range.Size(), read->pattern,
        [self, read](std::span<const std::byte> bytes) { return self->OnDirectBytes(read, bytes); },
        [self, read](const Status& status) { self->OnDirectDone(read, status); });
  });
}

bool PoolTier::OnDirectBytes(const Read& read, std::span<const std::byte> bytes) {
  bool wanted = state_.With([&](const State&) {
    if (read->finished || read->failure) return false;
    if (bytes.size() > *read->direct_end - read->cursor) {
      read->failure = Error{Code::kInternal, "the origin gave more bytes than asked for"};
      return false;
    }
    read->delivering = true;
    return true;
  });
  if (wanted) {
    wanted = read->sink(bytes);
    state_.With([&](const State&) {
      read->delivering = false;
      read->cursor += bytes.size();
      if (!wanted && !read->failure) read->failure = Cancelled();
      wanted = !read->failure;
    });
    instruments_->from_behind.Add(bytes.size());
  }
  if (!wanted) Perform(OnlyWake(read));
  return wanted;
}

void PoolTier::OnDirectDone(const Read& read, const Status& status) {
  state_.With([&](const State&) {
    const bool whole = read->cursor == *read->direct_end;
    read->direct_end.reset();
    if (read->failure) return;
    if (!status) {
      read->failure = status.error();
    } else if (!whole) {
      read->failure = Error{Code::kInternal, "the origin gave fewer bytes than asked for"};
    }
  });
  Perform(OnlyWake(read));
}

}  // namespace sluice::cache
