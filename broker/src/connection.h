// One FUSE connection as the holder sees it: its descriptors, its listening socket and the clients
// that are connected. Not thread-safe: the Holder calls it under its lock. Never blocks.
#pragma once

#include <sys/socket.h>

#include <deque>
#include <functional>
#include <map>
#include <memory>

#include "sluice/broker/holder.h"

#include "message_socket.h"

namespace sluice::broker {

struct ConnectionCounters {
  platform::Counter& handovers;
  platform::Counter& deposits;
  platform::Counter& refused;
  platform::Counter& malformed;
  platform::Counter& failures;
  platform::Counter& backing_opens;
};

// What to do once the lock is released: log lines, and I/O that may take a moment.
using Deferred = std::vector<std::function<void()>>;

class Connection {
 public:
  using Token = std::uint64_t;

  Connection(ConnectionSpec spec, const platform::Log& log, ConnectionCounters& counters);
  ~Connection();  // removes the socket file

  // Makes the socket and the state memfd.
  Status Open();
  [[nodiscard]] int Listener() const { return listener_.Get(); }

  // A client to be watched under `token`; nobody was refused, or is there no more; kNoRoom: this
  // process can have no further descriptor, and the client waits. `accepted` gets its descriptor.
  enum class Arrival { kClient, kNobody, kNoRoom };
  Arrival Accept(Token token, int* accepted, Deferred& deferred);
  // False when the peer is closed now.
  bool HandleInput(Token token, Deferred& deferred);
  void Close(Token token, Deferred& deferred);

  [[nodiscard]] ConnectionStatus Describe() const;

 private:
  struct Peer {
    platform::UniqueFd socket;
    ucred who = {};
    bool greeted = false;
  };

  Status Handle(Token token, Peer& peer, Message& message, Deferred& deferred);
  Status HandleActive(Peer& peer, Message& message, Deferred& deferred);
  std::int32_t TakeDeposit(Token token, const Peer& peer, const DepositMessage& deposit,
                           Message& message, Deferred& deferred);
  Status VerifyDeposit(int device, int state) const;
  ResultMessage OpenBacking(const BackingOpenMessage& request, uid_t client, int file);
  ResultMessage CloseBacking(const BackingCloseMessage& request);
  void HandOver(Deferred& deferred);
  void NoteReady(Deferred& deferred);

  ConnectionSpec spec_;
  const platform::Log& log_;
  ConnectionCounters& counters_;
  platform::UniqueFd directory_;
  platform::UniqueFd listener_;
  platform::UniqueFd state_;
  std::map<Token, Peer> peers_;
  std::deque<Token> waiting_;  // said HELLO, in order
  Token active_ = 0;           // has the bundle; 0: nobody
  bool ready_ = false;
  bool cause_reported_ = false;  // last_error_ is a client's own report
  std::uint64_t epoch_ = 0;
  std::map<std::uint64_t, std::int32_t> backing_;  // node id -> backing id
  Error last_error_{Code::kUnavailable, "no client has connected yet"};
};

}  // namespace sluice::broker
