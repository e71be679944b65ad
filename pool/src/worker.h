// One worker of the pool as its clients see it: the operations that wait for it, its connections,
// and whether it is left out.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "sluice/core/pool_members.h"
#include "sluice/platform/guarded.h"
#include "sluice/platform/log.h"
#include "sluice/pool/memcached_pool.h"

#include "breaker.h"
#include "connection.h"
#include "event_loop.h"
#include "operation.h"
#include "pool_metrics.h"
#include "resolver.h"

namespace sluice::pool {

// What all workers of a pool share; outlives them.
struct WorkerContext {
  const PoolOptions& options;
  Resolver& resolver;
  PoolMetrics& metrics;
  const platform::Log& log;
};

// Threads: Start, Submit and Retire from any; the rest is the loop's.
class Worker final : public EventLoop::Member,
                     private Connection::Owner,
                     public std::enable_shared_from_this<Worker> {
 public:
  // `place` is no other worker's, not even of a former one.
  Worker(PoolMember member, std::uint64_t place, const WorkerContext& context, EventLoop& loop);
  ~Worker() override;

  [[nodiscard]] const PoolMember& Who() const { return member_; }
  // As the versions of what it keeps say it.
  [[nodiscard]] std::uint64_t Place() const { return place_; }
  void Start();
  // Ends what it has, then leaves the loop. Further operations are kRetired.
  void Retire();

  enum class Admission {
    kTaken,
    kLeftOut,  // after failures
    kRetired,
    kFull,
  };
  // Takes the operation over, or leaves it with the caller.
  Admission Submit(std::unique_ptr<Operation>& operation);

  TimePoint OnTime(TimePoint now) override;
  void OnStop() override;

 private:
  // What callers touch.
  struct Gate {
    explicit Gate(const BreakerOptions& options) : breaker(options) {}
    Breaker breaker;
    std::vector<std::unique_ptr<Operation>> arrived;
    std::size_t pending = 0;  // arrived, queued or in flight
    bool retired = false;
  };
  // What there is to do, as far as the gate knows.
  struct Standing {
    bool closed = false;  // not left out
    bool open = false;
    bool retired = false;
    std::size_t pending = 0;
    TimePoint probe_at;
  };

  void OnGreeted() override;
  void OnSettled(std::unique_ptr<Operation> operation, Ending ending) override;
  void OnClosed(Connection& connection, const Connection::Closing& closing) override;
  bool MayRefresh() override;

  [[nodiscard]] Standing Stand() const;
  void TakeArrived();
  void Dispatch();
  bool SkipTooLarge(Connection& connection);
  [[nodiscard]] Connection* LeastBusy() const;
  [[nodiscard]] std::size_t ReadyConnections() const;
  void FailQueue(const std::string& message);
  void FailOverdue(TimePoint now);
  // Another connection, unless there are enough or one is on its way.
  void Grow();
  void Resolve();
  void OnResolved(Addresses addresses);
  void OpenConnection();
  // No connection came to be.
  void OnUnreachable(const Error& cause);
  template <typename Judge>
  void LeaveOut(const Error& cause, Judge&& judge);
  void Finish(std::unique_ptr<Operation> operation, const Ending& ending);
  TimePoint CloseIdle(TimePoint now);
  void Leave();
  void ShowUp();
  double Chance();

  const PoolMember member_;
  const std::uint64_t place_;
  const WorkerContext context_;
  EventLoop& loop_;
  platform::Guarded<Gate> gate_;
  // The rest belongs to the loop.
  std::deque<std::unique_ptr<Operation>> queue_;
  std::vector<std::unique_ptr<Connection>> connections_;
  std::vector<SocketAddress> addresses_;  // empty: to be resolved
  bool resolving_ = false;                // a look-up is under way
  TimePoint resolve_deadline_ = TimePoint::max();
  TimePoint open_after_ = TimePoint::min();  // no further connection before
  std::size_t answered_ = 0;                 // operations since a connection was opened
  TimePoint refresh_after_ = TimePoint::min();
  std::minstd_rand random_;
};

}  // namespace sluice::pool
