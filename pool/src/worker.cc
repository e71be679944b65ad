#include "worker.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace sluice::pool {
namespace {

// After a connection that failed while others serve, or that was of no use.
constexpr std::chrono::milliseconds kPauseBetweenOpens{500};
// Between two times that a worker is told to load its certificate anew: what is in its files may be
// old still, or of no use, which costs the connection.
constexpr std::chrono::hours kPauseBetweenRefreshes{1};
// An item holds its key and a header besides the value.
constexpr std::uint64_t kItemOverhead = 80;

BreakerOptions BreakerOptionsOf(const PoolOptions& options) {
  return {options.failures_to_leave_out, options.first_left_out, options.longest_left_out};
}

std::int64_t Milliseconds(TimePoint::duration time) {
  return std::chrono::ceil<std::chrono::milliseconds>(time).count();
}

}  // namespace

Worker::Worker(PoolMember member, std::uint64_t place, const WorkerContext& context,
               EventLoop& loop)
    : member_(std::move(member)),
      place_(place),
      context_(context),
      loop_(loop),
      gate_(Gate(BreakerOptionsOf(context.options))),
      random_(std::random_device{}()) {}

Worker::~Worker() = default;

void Worker::Start() {
  loop_.Post([self = shared_from_this()] {
    self->loop_.Add(self);
    self->ShowUp();
  });
}

void Worker::Retire() {
  gate_.With([](Gate& gate) { gate.retired = true; });
  loop_.Post([self = shared_from_this()] { self->loop_.WakeBy(TimePoint::min()); });
}

Worker::Admission Worker::Submit(std::unique_ptr<Operation>& operation) {
  bool first = false;
  const Admission admission = gate_.With([&](Gate& gate) {
    if (gate.retired) return Admission::kRetired;
    if (!gate.breaker.Closed()) return Admission::kLeftOut;
    if (gate.pending >= context_.options.max_pending) return Admission::kFull;
    ++gate.pending;
    first = gate.arrived.empty();
    gate.arrived.push_back(std::move(operation));
    return Admission::kTaken;
  });
  if (first) loop_.Post([self = shared_from_this()] { self->TakeArrived(); });
  return admission;
}

Worker::Standing Worker::Stand() const {
  return gate_.With([](const Gate& gate) {
    return Standing{gate.breaker.Closed(), gate.breaker.Open(), gate.retired, gate.pending,
                    gate.breaker.ProbeAt()};
  });
}

void Worker::TakeArrived() {
  auto arrived = gate_.With([](Gate& gate) { return std::exchange(gate.arrived, {}); });
  for (auto& operation : arrived) {
    loop_.WakeBy(operation->sent_by);
    queue_.push_back(std::move(operation));
  }
  Dispatch();
}

void Worker::Dispatch() {
  if (queue_.empty()) return;
  if (!Stand().closed) return FailQueue("left out after failures");
  while (!queue_.empty()) {
    Connection* const connection = LeastBusy();
    if (connection == nullptr || connection->InFlight() > 0) Grow();
    if (connection == nullptr) return;
    if (SkipTooLarge(*connection)) continue;
    auto operation = std::move(queue_.front());
    queue_.pop_front();
    connection->Send(std::move(operation));
  }
}

// A worker says that a value is too large only after it has swallowed it.
bool Worker::SkipTooLarge(Connection& connection) {
  const Operation& first = *queue_.front();
  const std::uint64_t largest = connection.LargestItem();
  if (largest == 0 || first.value.size() + first.key.size() + kItemOverhead <= largest) {
    return false;
  }
  auto operation = std::move(queue_.front());
  queue_.pop_front();
  // Nobody is to wait for the end of its lease.
  connection.Discard(operation->key, operation->version.number);
  Finish(std::move(operation), {PoolAnswer{}, "too_large"});
  return true;
}

Connection* Worker::LeastBusy() const {
  Connection* best = nullptr;
  for (const auto& connection : connections_) {
    if (!connection->Ready() || connection->InFlight() >= context_.options.pipelined) continue;
    if (best == nullptr || connection->InFlight() < best->InFlight()) best = connection.get();
  }
  return best;
}

std::size_t Worker::ReadyConnections() const {
  return static_cast<std::size_t>(std::count_if(connections_.begin(), connections_.end(),
                                                [](const auto& one) { return one->Ready(); }));
}

void Worker::FailQueue(const std::string& message) {
  for (auto& operation : std::exchange(queue_, {})) {
    Finish(std::move(operation), Unavailable(message));
  }
}

void Worker::FailOverdue(TimePoint now) {
  std::vector<std::unique_ptr<Operation>> overdue;
  std::erase_if(queue_, [&](std::unique_ptr<Operation>& operation) {
    if (operation->sent_by > now) return false;
    overdue.push_back(std::move(operation));
    return true;
  });
  for (auto& operation : overdue) {
    Finish(std::move(operation), TooLate("no connection became free in time"));
  }
}

void Worker::Grow() {
  if (connections_.size() >= context_.options.connections) return;
  if (ReadyConnections() < connections_.size()) return;  // one is on its way
  if (std::chrono::steady_clock::now() < open_after_) return loop_.WakeBy(open_after_);
  Resolve();
}

void Worker::Resolve() {
  if (!addresses_.empty() && ReadyConnections() > 0) return OpenConnection();
  if (resolve_deadline_ != TimePoint::max()) return;
  if (auto numeric = NumericAddress(member_.address)) {
    addresses_ = *std::move(numeric);
    return OpenConnection();
  }
  resolve_deadline_ = std::chrono::steady_clock::now() + context_.options.greeting_timeout;
  loop_.WakeBy(resolve_deadline_);
  if (resolving_) return;  // the name server still owes the answer to an earlier question
  resolving_ = true;
  // The pool stops the resolver before it ends the loops.
  context_.resolver.Resolve(member_.address,
                            [weak = weak_from_this(), &loop = loop_](const Addresses& addresses) {
                              loop.Post([weak, addresses] {
                                if (const auto self = weak.lock()) self->OnResolved(addresses);
                              });
                            });
}

void Worker::OnResolved(Addresses addresses) {
  resolving_ = false;
  if (std::exchange(resolve_deadline_, TimePoint::max()) == TimePoint::max()) return;  // too late
  if (!addresses) return OnUnreachable(addresses.error());
  addresses_ = *std::move(addresses);
  OpenConnection();
}

void Worker::OpenConnection() {
  answered_ = 0;
  const std::string& domain = context_.options.tls_domain;
  auto connection = std::make_unique<Connection>(
      loop_, static_cast<Connection::Owner&>(*this), context_.options,
      domain.empty() ? member_.name : fmt::format("{}.{}", member_.name, domain));
  if (auto opened = connection->Open(addresses_); !opened) return OnUnreachable(opened.error());
  connections_.push_back(std::move(connection));
}

void Worker::OnGreeted() {
  context_.metrics.CountConnect("ok");
  const bool back = gate_.With([](Gate& gate) {
    const bool was_closed = gate.breaker.Closed();
    gate.breaker.Reached();
    return !was_closed;
  });
  if (back) {
    context_.log.Info("pool worker answers again",
                      {{"worker", member_.name}, {"address", member_.address}});
  }
  ShowUp();
  Dispatch();
}

void Worker::OnSettled(std::unique_ptr<Operation> operation, Ending ending) {
  if (ending.answer || ending.word == kOver) {
    ++answered_;
    gate_.With([](Gate& gate) { gate.breaker.Success(); });
  }
  if (ending.answer) ending.answer->value.place = ending.answer->lease.place = place_;
  if (operation->kind == Operation::Kind::kPut && ending.word == kOver) {
    // Filling took long, which is no reason to have the value read once more.
    operation->only_absent = true;
    operation->version = {};
    operation->sent_by = std::chrono::steady_clock::now() + context_.options.queue_timeout;
    loop_.WakeBy(operation->sent_by);
    queue_.push_front(std::move(operation));
  } else {
    Finish(std::move(operation), ending);
  }
  Dispatch();
}

void Worker::OnClosed(Connection& connection, const Connection::Closing& closing) {
  const auto found = std::find_if(connections_.begin(), connections_.end(),
                                  [&](const auto& other) { return other.get() == &connection; });
  loop_.Retire(std::move(*found));
  connections_.erase(found);
  if (!closing.greeted) return OnUnreachable(closing.cause);
  if (answered_ == 0) open_after_ = std::chrono::steady_clock::now() + kPauseBetweenOpens;
  if (closing.busy) {
    LeaveOut(closing.cause, [](Breaker& breaker, TimePoint now, double chance) {
      return breaker.Failure(now, chance);
    });
  }
  ShowUp();
  loop_.WakeBy(TimePoint::min());  // to connect anew
}

bool Worker::MayRefresh() {
  const TimePoint now = std::chrono::steady_clock::now();
  if (now < refresh_after_) return false;
  refresh_after_ = now + kPauseBetweenRefreshes;
  context_.log.Info("pool worker is told to load its certificate anew, which ends soon",
                    {{"worker", member_.name}, {"address", member_.address}});
  return true;
}

void Worker::OnUnreachable(const Error& cause) {
  context_.metrics.CountConnect(cause.code == Code::kPermissionDenied ? "refused" : "failed");
  addresses_.clear();  // it may have moved
  open_after_ = std::chrono::steady_clock::now() + kPauseBetweenOpens;
  loop_.WakeBy(open_after_);
  // It refuses more, but it serves. A probe that fails has to tell, whatever else is open.
  if (ReadyConnections() > 0 && Stand().closed) return;
  LeaveOut(cause, [](Breaker& breaker, TimePoint now, double chance) {
    return breaker.Trip(now, chance);
  });
}

template <typename Judge>
void Worker::LeaveOut(const Error& cause, Judge&& judge) {
  const TimePoint now = std::chrono::steady_clock::now();
  const double chance = Chance();
  TimePoint probe_at;
  const bool opened = gate_.With([&](Gate& gate) {
    const bool by_this = !gate.retired && judge(gate.breaker, now, chance);
    probe_at = gate.breaker.ProbeAt();
    return by_this;
  });
  if (!opened) return;
  context_.metrics.CountOpening(member_.name);
  context_.log.Warn("pool worker is left out", {{"worker", member_.name},
                                                {"address", member_.address},
                                                {"error", cause.message},
                                                {"milliseconds", Milliseconds(probe_at - now)}});
  ShowUp();
  loop_.WakeBy(probe_at);
  FailQueue(fmt::format("worker {} is left out: {}", member_.name, cause.message));
}

void Worker::Finish(std::unique_ptr<Operation> operation, const Ending& ending) {
  const bool leaving = gate_.With([](Gate& gate) {
    --gate.pending;
    return gate.retired && gate.pending == 0;
  });
  if (leaving) loop_.WakeBy(TimePoint::min());
  context_.metrics.CountOperation(*operation, ending, std::chrono::steady_clock::now());
  Tell(*operation, ending, member_.name);
}

TimePoint Worker::OnTime(TimePoint now) {
  Standing standing = Stand();
  if (standing.retired && standing.pending == 0) {
    Leave();
    return TimePoint::max();
  }
  FailOverdue(now);
  TimePoint next = TimePoint::max();
  for (std::size_t i = connections_.size(); i-- > 0;) {
    // It may close, and others with it that have not been looked at are none of ours any more.
    if (i < connections_.size()) next = std::min(next, connections_[i]->Check(now));
  }
  next = std::min(next, CloseIdle(now));
  if (resolve_deadline_ <= now) {
    resolve_deadline_ = TimePoint::max();
    OnUnreachable({Code::kUnavailable, fmt::format("{}: not resolved in time", member_.address)});
  }
  const bool probe =
      gate_.With([&](Gate& gate) { return !gate.retired && gate.breaker.TryProbe(now); });
  if (probe) {
    open_after_ = TimePoint::min();
    Resolve();
  }
  standing = Stand();
  if (standing.closed && connections_.empty() && (!standing.retired || !queue_.empty())) Grow();
  Dispatch();
  for (const auto& operation : queue_) next = std::min(next, operation->sent_by);
  if (standing.open && !standing.retired) next = std::min(next, standing.probe_at);
  return std::min(next, resolve_deadline_);
}

// A burst opened them. Returns when to look again.
TimePoint Worker::CloseIdle(TimePoint now) {
  const TimePoint since = now - context_.options.idle_timeout;
  for (std::size_t i = connections_.size(); i-- > 0 && ReadyConnections() > 1;) {
    Connection& connection = *connections_[i];
    if (connection.Ready() && connection.InFlight() == 0 && connection.QuietSince() <= since) {
      connection.Close({Code::kUnavailable, "idle"}, now);
    }
  }
  return connections_.size() > 1 ? now + context_.options.idle_timeout : TimePoint::max();
}

void Worker::Leave() {
  const TimePoint now = std::chrono::steady_clock::now();
  while (!connections_.empty()) connections_.back()->Close({Code::kUnavailable, "retired"}, now);
  loop_.Remove(*this);
}

void Worker::OnStop() {
  const std::string message = "the pool is shutting down";
  gate_.With([](Gate& gate) { gate.retired = true; });
  TakeArrived();
  FailQueue(message);
  const TimePoint now = std::chrono::steady_clock::now();
  while (!connections_.empty()) connections_.back()->Close({Code::kUnavailable, message}, now);
}

void Worker::ShowUp() {
  const bool connected = ReadyConnections() > 0;
  // Under the lock: once it is retired, the gauge may be another's of the same name.
  gate_.With([&](const Gate& gate) {
    if (!gate.retired) context_.metrics.SetUp(member_.name, connected && gate.breaker.Closed());
  });
}

double Worker::Chance() { return std::uniform_real_distribution<double>(0, 1)(random_); }

}  // namespace sluice::pool
