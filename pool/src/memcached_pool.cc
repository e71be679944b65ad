#include "sluice/pool/memcached_pool.h"

#include <algorithm>
#include <mutex>
#include <utility>

#include <fmt/format.h>

#include "event_loop.h"
#include "operation.h"
#include "placement.h"
#include "pool_metrics.h"
#include "request.h"
#include "resolver.h"
#include "worker.h"

namespace sluice::pool {
namespace {

// Where keys were before the list changed.
struct Former {
  std::vector<std::string> names;
  std::vector<std::uint64_t> places;
  Placement order;
};

// The list as of one moment; never changed.
struct Membership {
  std::vector<std::shared_ptr<Worker>> workers;
  Placement order;
  std::shared_ptr<const Former> former;  // null: there was none
  TimePoint former_until;                // it is of interest

  [[nodiscard]] Worker* At(std::uint64_t place) const {
    const auto found = std::find_if(workers.begin(), workers.end(),
                                    [&](const auto& worker) { return worker->Place() == place; });
    return found == workers.end() ? nullptr : found->get();
  }
  [[nodiscard]] bool HasName(const std::string& name) const {
    return std::any_of(workers.begin(), workers.end(),
                       [&](const auto& worker) { return worker->Who().name == name; });
  }
};

std::shared_ptr<const Former> FormerOf(const Membership& list) {
  if (list.workers.empty()) return nullptr;
  auto former = std::make_shared<Former>();
  for (const auto& worker : list.workers) {
    former->names.push_back(worker->Who().name);
    former->places.push_back(worker->Place());
  }
  former->order = list.order;
  return former;
}

// Who may have the key that the worker at `asked` has not got; null: nobody.
Worker* FormerOwner(const Membership& list, const std::string& key, std::uint64_t asked) {
  const Former& former = *list.former;
  std::size_t index = former.order.First(key);
  if (list.At(former.places[index]) == nullptr) {
    if (!list.HasName(former.names[index]) || former.names.size() == 1) return nullptr;
    // It came back, empty. Meanwhile the next one stood in.
    index = former.order.Order(key)[1];
  }
  return former.places[index] == asked ? nullptr : list.At(former.places[index]);
}

}  // namespace

struct MemcachedPool::Impl {
  Impl(const PoolOptions& wanted, platform::Metrics& registry, platform::Log output)
      : options(wanted), log(std::move(output)), metrics(registry) {
    StartLoops();
    membership.With([](auto& now) { now = std::make_shared<const Membership>(); });
  }
  void StartLoops();
  // Gives up what is under way. Its callbacks may call the pool again: no worker takes anything by
  // then.
  void Stop() {
    membership.With([](auto& now) { now = std::make_shared<const Membership>(); });
    resolver.Stop();
    // All of them, before the first goes: a callback of one may still have the workers of another.
    for (const auto& loop : loops) loop->Stop();
    loops.clear();
  }

  [[nodiscard]] std::shared_ptr<const Membership> Now() const {
    return membership.With([](const auto& now) { return now; });
  }

  void SetMembers(const std::vector<PoolMember>& members);
  [[nodiscard]] std::unique_ptr<Operation> Make(Operation::Kind kind, const std::string& key) const;
  void Route(std::unique_ptr<Operation> operation);
  void RouteByKey(std::unique_ptr<Operation> operation);
  void RouteByPlace(std::unique_ptr<Operation> operation);
  void Refuse(Operation& operation, const Worker& worker);
  void AskFormerOwnerAsWell(Operation& get);
  void AskFormerOwner(const std::string& key, std::span<std::byte> into, const PoolAnswer& answer,
                      const GetDone& done);
  void Answer(Operation& operation, const Ending& ending);

  const PoolOptions options;
  const platform::Log log;
  PoolMetrics metrics;
  Resolver resolver;
  std::vector<std::unique_ptr<EventLoop>> loops;
  platform::Guarded<std::shared_ptr<const Membership>> membership;
  std::mutex changing;        // one list after the other
  std::size_t next_loop = 0;  // under `changing`, as the next one
  std::uint64_t last_place = 0;
};

// Fewer than wanted where the process has nothing left to make them of, perhaps none.
void MemcachedPool::Impl::StartLoops() {
  while (loops.size() < std::max(1U, options.loops)) {
    auto loop = EventLoop::Start();
    if (!loop) {
      log.Error("the pool's client cannot be started as wanted",
                {{"error", loop.error().message}, {"loops", loops.size()}});
      return;
    }
    loops.push_back(*std::move(loop));
  }
}

void MemcachedPool::Impl::SetMembers(const std::vector<PoolMember>& members) {
  const std::lock_guard lock(changing);
  if (loops.empty()) StartLoops();
  if (loops.empty()) return;  // there is no list, so every call is kUnavailable
  const auto before = Now();
  auto after = std::make_shared<Membership>();
  std::vector<std::string> names;
  for (const PoolMember& member : members) {
    const auto same = std::find_if(before->workers.begin(), before->workers.end(),
                                   [&](const auto& worker) { return worker->Who() == member; });
    names.push_back(member.name);
    if (same != before->workers.end()) {
      after->workers.push_back(*same);
      continue;
    }
    EventLoop& loop = *loops[next_loop++ % loops.size()];
    after->workers.push_back(std::make_shared<Worker>(
        member, ++last_place, WorkerContext{options, resolver, metrics, log}, loop));
  }
  if (after->workers == before->workers) return;
  after->order = Placement(names);
  // When workers join one after the other, what they take over was where it was before the first.
  const TimePoint now = std::chrono::steady_clock::now();
  after->former = now < before->former_until ? before->former : FormerOf(*before);
  if (after->former) after->former_until = now + options.grace;
  const auto in = [](const Membership& list, const std::shared_ptr<Worker>& worker) {
    return std::find(list.workers.begin(), list.workers.end(), worker) != list.workers.end();
  };
  // First, so that whoever is refused by a worker that is retired finds another list.
  membership.With([&](auto& list) { list = after; });
  // Nobody writes the gauge of a worker that is retired, so its successor's is not overwritten.
  for (const auto& worker : before->workers) {
    if (!in(*after, worker)) worker->Retire();
  }
  for (const auto& worker : after->workers) {
    if (!in(*before, worker)) worker->Start();
  }
  for (const auto& worker : before->workers) {
    const std::string& name = worker->Who().name;
    if (std::find(names.begin(), names.end(), name) == names.end()) metrics.Forget(name);
  }
  metrics.SetWorkers(members.size());
}

std::unique_ptr<Operation> MemcachedPool::Impl::Make(Operation::Kind kind,
                                                     const std::string& key) const {
  auto operation = std::make_unique<Operation>();
  operation->kind = kind;
  operation->key = key;
  operation->started = std::chrono::steady_clock::now();
  operation->sent_by = operation->started + options.queue_timeout;
  operation->deadline = operation->started + options.operation_limit;
  return operation;
}

void MemcachedPool::Impl::Answer(Operation& operation, const Ending& ending) {
  metrics.CountOperation(operation, ending, std::chrono::steady_clock::now());
  Tell(operation, ending, "");
}

void MemcachedPool::Impl::Route(std::unique_ptr<Operation> operation) {
  if (!IsKey(operation->key)) {
    return Answer(*operation, {Fail(Code::kInvalidArgument,
                                    "key of the pool: must be 1 to 250 characters without blanks"),
                               "invalid"});
  }
  if (operation->kind == Operation::Kind::kGet) return RouteByKey(std::move(operation));
  RouteByPlace(std::move(operation));
}

// Leases and values are where they were got, whatever the list says by now.
void MemcachedPool::Impl::RouteByPlace(std::unique_ptr<Operation> operation) {
  const auto list = Now();
  if (Worker* const worker = list->At(operation->version.place)) {
    switch (worker->Submit(operation)) {
      case Worker::Admission::kTaken:
        return;
      case Worker::Admission::kLeftOut:
        return Answer(*operation,
                      Unavailable(fmt::format("pool worker {} is left out", worker->Who().name)));
      case Worker::Admission::kRetired:
        break;
      case Worker::Admission::kFull:
        return Refuse(*operation, *worker);
    }
  }
  switch (operation->kind) {
    case Operation::Kind::kPut:
      // The lease went with its worker, but the value is of use to others.
      operation->only_absent = true;
      operation->version = {};
      return RouteByKey(std::move(operation));
    case Operation::Kind::kDrop:
      return Answer(*operation, {PoolAnswer{}, "dropped"});
    case Operation::Kind::kRenew:
    case Operation::Kind::kGet:
      return Answer(*operation, {Fail(Code::kNotFound, "the lease went with its worker"), kOver});
  }
}

void MemcachedPool::Impl::RouteByKey(std::unique_ptr<Operation> operation) {
  const auto list = Now();
  if (list->workers.empty()) return Answer(*operation, Unavailable("the pool has no workers"));
  bool retired = false;
  const auto settled = [&](std::size_t index) {
    switch (list->workers[index]->Submit(operation)) {
      case Worker::Admission::kTaken:
        return true;
      case Worker::Admission::kLeftOut:
        return false;
      case Worker::Admission::kRetired:
        retired = true;
        return true;
      case Worker::Admission::kFull:
        // Not for the next worker: who is slow would make others keep what nobody finds there.
        Refuse(*operation, *list->workers[index]);
        return true;
    }
    return false;
  };
  // Nearly always the first takes it, and then the others need no sorting.
  bool done = settled(list->order.First(operation->key));
  if (!done) {
    const auto order = list->order.Order(operation->key);
    done = std::any_of(order.begin(), order.end(), settled);
  }
  // There is another list by now.
  if (retired) return RouteByKey(std::move(operation));
  if (!done) Answer(*operation, Unavailable("no worker of the pool answers"));
}

void MemcachedPool::Impl::Refuse(Operation& operation, const Worker& worker) {
  Answer(operation,
         {Fail(Code::kUnavailable, fmt::format("pool worker {}: {} operations are waiting already",
                                               worker.Who().name, options.max_pending)),
          "refused"});
}

// A worker that has just joined has nothing yet, and its share of the keys would be read from the
// origin once more, while another worker has it all.
void MemcachedPool::Impl::AskFormerOwnerAsWell(Operation& get) {
  if (get.started >= Now()->former_until) return;
  get.done = [this, key = get.key, into = get.into,
              done = std::move(get.done)](Result<PoolAnswer> answer) {
    const bool absent = answer && (answer->kind == PoolAnswer::Kind::kFill ||
                                   answer->kind == PoolAnswer::Kind::kMiss);
    if (!absent) return done(std::move(answer));
    AskFormerOwner(key, into, *answer, done);
  };
}

void MemcachedPool::Impl::AskFormerOwner(const std::string& key, std::span<std::byte> into,
                                         const PoolAnswer& answer, const GetDone& done) {
  const auto list = Now();
  Worker* const worker = list->former ? FormerOwner(*list, key, answer.lease.place) : nullptr;
  if (worker == nullptr) return done(answer);
  auto second = Make(Operation::Kind::kGet, key);
  second->into = into;
  second->done = [answer, done](const Result<PoolAnswer>& former) {
    if (!former || former->kind != PoolAnswer::Kind::kHit) return done(answer);
    PoolAnswer moved = *former;
    moved.lease = answer.lease;
    done(moved);
  };
  if (worker->Submit(second) != Worker::Admission::kTaken) done(answer);
}

MemcachedPool::MemcachedPool(const PoolOptions& options, platform::Metrics& metrics,
                             platform::Log log)
    : impl_(std::make_unique<Impl>(options, metrics, std::move(log))) {}
MemcachedPool::~MemcachedPool() { impl_->Stop(); }

void MemcachedPool::SetMembers(const std::vector<PoolMember>& members) {
  impl_->SetMembers(members);
}

void MemcachedPool::Get(const std::string& key, std::span<std::byte> into, OnMiss on_miss,
                        GetDone done) {
  auto operation = impl_->Make(Operation::Kind::kGet, key);
  operation->into = into;
  operation->on_miss = on_miss;
  operation->done = std::move(done);
  impl_->AskFormerOwnerAsWell(*operation);
  if (into.empty()) {
    return impl_->Answer(*operation, {Fail(Code::kInvalidArgument,
                                           "get from the pool: the buffer must not be empty"),
                                      "invalid"});
  }
  impl_->Route(std::move(operation));
}

void MemcachedPool::Renew(const std::string& key, const PoolVersion& lease, RenewDone done) {
  auto operation = impl_->Make(Operation::Kind::kRenew, key);
  operation->version = lease;
  operation->done = [done = std::move(done)](const Result<PoolAnswer>& answer) {
    if (!answer) return done(Fail(answer.error()));
    done(answer->lease);
  };
  // To the worker, number 0 would be any version.
  if (lease.number == 0) {
    return impl_->Answer(*operation, {Fail(Code::kNotFound, "no lease to renew"), kOver});
  }
  impl_->Route(std::move(operation));
}

void MemcachedPool::Put(const std::string& key, const PoolVersion& lease,
                        std::span<const std::byte> value, std::uint32_t checksum, Done done) {
  auto operation = impl_->Make(Operation::Kind::kPut, key);
  operation->version = lease;
  operation->value = value;
  operation->checksum = checksum;
  operation->done = [done = std::move(done)](const Result<PoolAnswer>& answer) {
    done(answer ? Ok() : Fail(answer.error()));
  };
  // An empty value would read as a lease.
  if (value.empty()) {
    return impl_->Answer(
        *operation,
        {Fail(Code::kInvalidArgument, "put to the pool: the value must not be empty"), "invalid"});
  }
  if (lease.number == 0) return impl_->Answer(*operation, {PoolAnswer{}, "not_stored"});
  impl_->Route(std::move(operation));
}

void MemcachedPool::Drop(const std::string& key, const PoolVersion& version,
                         std::function<void()> done) {
  auto operation = impl_->Make(Operation::Kind::kDrop, key);
  operation->version = version;
  operation->done = [done = std::move(done)](const Result<PoolAnswer>&) { done(); };
  if (version.number == 0) return impl_->Answer(*operation, {PoolAnswer{}, "dropped"});
  impl_->Route(std::move(operation));
}

}  // namespace sluice::pool
