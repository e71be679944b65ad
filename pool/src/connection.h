// One connection to a worker: connects, greets, then keeps several operations in flight.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "sluice/core/result.h"
#include "sluice/pool/memcached_pool.h"

#include "byte_stream.h"
#include "event_loop.h"
#include "operation.h"
#include "reply_stream.h"
#include "request.h"
#include "resolver.h"
#include "send_queue.h"

namespace sluice::pool {

// Threads: the loop's only. Never called by the owner from within one of the owner's methods, but
// for Ready, InFlight and Send.
class Connection final : public EventLoop::Handler, private ReplyStream::Handler {
 public:
  struct Closing {
    Error cause;
    bool greeted = false;  // before
    bool busy = false;     // with operations
  };
  class Owner {
   public:
    virtual ~Owner() = default;
    virtual void OnGreeted() = 0;
    virtual void OnSettled(std::unique_ptr<Operation> operation, Ending ending) = 0;
    // It is to be retired; OnSettled comes for what was in flight.
    virtual void OnClosed(Connection& connection, const Closing& closing) = 0;
    // The worker's certificate ends soon: whether this connection tells it to load its files anew.
    virtual bool MayRefresh() = 0;
  };

  // All must outlive the connection. `worker` is what the worker's certificate must name.
  Connection(EventLoop& loop, Owner& owner, const PoolOptions& options, std::string worker);
  ~Connection() override;

  // kUnavailable when no address can even be tried; the owner is not told then.
  Status Open(std::vector<SocketAddress> addresses);
  [[nodiscard]] bool Ready() const { return state_ == State::kReady; }
  [[nodiscard]] std::size_t InFlight() const { return flights_.size(); }
  // The last byte, or the beginning of what is under way.
  [[nodiscard]] TimePoint QuietSince() const { return quiet_since_; }
  // Of the worker: key and value of an item, with some bytes around; 0: not known.
  [[nodiscard]] std::uint64_t LargestItem() const { return largest_item_; }
  void Send(std::unique_ptr<Operation> operation);  // when ready
  // Drops this version of the key, when ready; nobody is told how it ends.
  void Discard(const std::string& key, std::uint64_t number);
  // Closes when nothing moves or something is overdue; returns when to check again.
  TimePoint Check(TimePoint now);
  void Close(const Error& cause, TimePoint now);

  void OnReady(std::uint32_t events) override;

 private:
  enum class State { kConnecting, kShakingHands, kGreeting, kReady, kClosed };
  // What a reply is awaited for.
  struct Flight {
    enum class Kind { kOperation, kDiscard, kAuth, kSettings, kRefresh };
    Kind kind = Kind::kOperation;
    std::unique_ptr<Operation> operation;  // of kOperation
    std::uint32_t opaque = 0;
    TimePoint deadline;
  };
  struct Outgoing {
    std::string head;
    std::span<const std::byte> value;
  };

  Result<std::span<std::byte>> OnReply(const Reply& reply) override;
  Status OnComplete() override;

  Status TryNextAddress();
  void FinishConnect();
  void ShakeHands();
  void Greet();
  Status TakeGreeting(const Reply& reply);
  void Authenticate(const PoolCredentials& credentials);
  void RefreshCertificates();
  void Push(Flight flight, Outgoing outgoing);
  void Settle();
  void Receive();
  [[nodiscard]] Error Refusal(const Error& cause) const;
  void Flush();
  void WatchOutput(bool wanted);

  EventLoop& loop_;
  Owner& owner_;
  const PoolOptions& options_;
  const std::string worker_;
  State state_ = State::kConnecting;
  std::vector<SocketAddress> addresses_;
  std::size_t next_address_ = 0;
  ByteStream bytes_;
  TimePoint deadline_;     // of connecting; of the handshake and greeting
  TimePoint quiet_since_;  // no byte since
  bool asked_to_authenticate_ = false;
  std::uint64_t largest_item_ = 0;

  std::deque<Flight> flights_;
  SendQueue outgoing_;  // of the last flights, those not yet sent whole
  bool flushing_ = false;
  bool watching_output_ = false;
  std::uint32_t next_opaque_ = 1;

  Ending ending_;  // of the first flight, once its reply's line is there
  // The reply came before the value was sent whole: its buffer is still needed.
  bool early_ = false;
  ReplyStream stream_;
};

}  // namespace sluice::pool
