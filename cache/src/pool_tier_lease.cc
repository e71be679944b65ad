// What the pool tier says to the pool about a chunk that this client fills: that it still does, the
// value, or that it does not any more.
#include <utility>

#include "pool_tier.h"
#include "pool_tier_instruments.h"

namespace sluice::cache {

// Stopping waits for the end of every call that was begun.
void PoolTier::BeginCall(const std::function<void()>& under_lock) {
  state_.With([&](State& state) {
    ++state.under_way;
    if (under_lock) under_lock();
  });
}

void PoolTier::EndCall(State& state, Actions& actions) {
  --state.under_way;
  actions.tell_stop = state.stopping;
}

// Bytes have come: who fills the chunk is alive and gets on. That is said in time, or others would
// begin as well; and only then, so that who dies holds nobody up for longer than a lease.
void PoolTier::RenewIfDue(State& state, const Transfer& transfer, TimePoint now) {
  const bool all_there = transfer->valid == transfer->range.Size();  // its put is next
  if (all_there || transfer->renewing || transfer->lost) return;
  if (now - transfer->renewed < options_.renew_every) return;
  transfer->renewing = true;
  transfer->renewed = now;
  Enqueue(state, [self = shared_from_this(), transfer](ChunkSource& /*behind*/, ChunkPool& pool) {
    PoolVersion held;
    self->BeginCall([&] { held = transfer->held; });
    pool.Renew(transfer->key, held, [self, transfer](const Result<PoolVersion>& lease) {
      self->OnRenewed(transfer, lease);
    });
  });
}

void PoolTier::OnRenewed(const Transfer& transfer, const Result<PoolVersion>& lease) {
  Actions actions;
  state_.With([&](State& state) {
    EndCall(state, actions);
    transfer->renewing = false;
    if (lease) transfer->held = *lease;
    transfer->lost = !lease && lease.error().code == Code::kNotFound;
    const bool given_up =
        state.stopping || transfer->cancelled || transfer->state == ChunkTransfer::State::kEnded;
    if (given_up) {
      // That was said of the number before this one.
      if (lease) Drop(state, transfer->key, *lease);
      return;
    }
    if (transfer->lost) instruments_->lost_leases.Add();
    if (transfer->putting) Store(state, transfer);
  });
  Perform(actions);
}

void PoolTier::Store(State& state, const Transfer& transfer) {
  Enqueue(state, [self = shared_from_this(), transfer](ChunkSource& /*behind*/, ChunkPool& pool) {
    self->BeginCall([&] { transfer->put_begun = true; });
    pool.Put(transfer->key, transfer->held, {transfer->bytes.get(), transfer->range.Size()},
             transfer->checksum,
             [self, transfer](const Status& status) { self->OnStored(transfer, status); });
  });
}

void PoolTier::OnStored(const Transfer& transfer, const Status& status) {
  if (!status) instruments_->put_errors.Add();
  Actions actions;
  state_.With([&](State& state) {
    EndCall(state, actions);
    // So that others need not wait for the lease to end.
    if (!status) Drop(state, transfer->key, transfer->held);
    if (state.stopping) return;
    transfer->putting = false;
    Keep(state, transfer, actions);
    Admit(state, actions);
  });
  Perform(actions);
}

void PoolTier::Drop(State& state, const std::string& key, const PoolVersion& version) {
  if (state.closed) return;  // too late: it goes with its time
  Call call = [self = shared_from_this(), key, version](ChunkSource& /*behind*/, ChunkPool& pool) {
    self->BeginCall();
    pool.Drop(key, version, [self] {
      Actions actions;
      self->state_.With([&](State& then) { EndCall(then, actions); });
      self->Perform(actions);
    });
  };
  state.calls.push_back({.call = std::move(call), .at_the_end = true});
}

}  // namespace sluice::cache
