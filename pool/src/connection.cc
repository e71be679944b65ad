#include "connection.h"

#include <sys/epoll.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include <fmt/format.h>

#include "credentials.h"
#include "judgement.h"
#include "request.h"

namespace sluice::pool {
namespace {

// What one connection may take before the others of its loop have a turn.
constexpr std::size_t kBytesPerTurn = 8U << 20;
// A worker whose certificate ends within so long is told to load its files anew. The controller
// renews them well before that.
constexpr std::chrono::days kRefreshBefore{30};

Error Lost(std::string_view what) { return {Code::kUnavailable, std::string(what)}; }

}  // namespace

Connection::Connection(EventLoop& loop, Owner& owner, const PoolOptions& options,
                       std::string worker)
    : loop_(loop), owner_(owner), options_(options), worker_(std::move(worker)), stream_(*this) {}
Connection::~Connection() = default;

Status Connection::Open(std::vector<SocketAddress> addresses) {
  addresses_ = std::move(addresses);
  return TryNextAddress();
}

Status Connection::TryNextAddress() {
  Error error = Lost("no address left to try");
  while (next_address_ < addresses_.size()) {
    if (auto begun = bytes_.Connect(addresses_[next_address_++]); !begun) {
      error = begun.error();
      continue;
    }
    if (auto watched = loop_.Watch(bytes_.Fd(), EPOLLOUT, *this); !watched) return watched;
    deadline_ = std::chrono::steady_clock::now() + options_.connect_timeout;
    loop_.WakeBy(deadline_);
    return Ok();
  }
  bytes_.Close();
  return Fail(error);
}

void Connection::OnReady(std::uint32_t events) {
  if (state_ == State::kClosed) return;  // earlier in this round
  if (state_ == State::kConnecting) return FinishConnect();
  if (state_ == State::kShakingHands) return ShakeHands();
  if ((events & (EPOLLIN | EPOLLERR | EPOLLHUP)) != 0 || bytes_.Failed()) Receive();
  if (state_ != State::kClosed && (events & EPOLLOUT) != 0) Flush();
}

void Connection::FinishConnect() {
  const TimePoint now = std::chrono::steady_clock::now();
  if (auto connected = bytes_.FinishConnect(); !connected) {
    loop_.Forget(bytes_.Fd());
    if (next_address_ < addresses_.size() && TryNextAddress()) return;
    return Close(connected.error(), now);
  }
  deadline_ = now + options_.greeting_timeout;
  loop_.WakeBy(deadline_);
  if (options_.tls_directory.empty()) return Greet();
  if (auto started = bytes_.StartTls(options_.tls_directory, worker_); !started) {
    return Close(started.error(), now);
  }
  state_ = State::kShakingHands;
  ShakeHands();
}

void Connection::ShakeHands() {
  const auto shaken = bytes_.ShakeHands();
  if (!shaken) return Close(shaken.error(), std::chrono::steady_clock::now());
  if (*shaken == ByteStream::Handshake::kDone) return Greet();
  loop_.Change(bytes_.Fd(), *shaken == ByteStream::Handshake::kWantsOutput ? EPOLLOUT : EPOLLIN,
               *this);
}

void Connection::Greet() {
  state_ = State::kGreeting;
  loop_.Change(bytes_.Fd(), EPOLLIN, *this);
  Push({Flight::Kind::kSettings, nullptr, 0, deadline_}, {std::string(kSettingsRequest), {}});
}

// Credentials go only to a worker that asks for them: one that does not would store them as the
// value of a key.
void Connection::Authenticate(const PoolCredentials& credentials) {
  asked_to_authenticate_ = true;
  Push({Flight::Kind::kAuth, nullptr, 0, deadline_}, {AuthRequest(credentials), {}});
  Push({Flight::Kind::kSettings, nullptr, 0, deadline_}, {std::string(kSettingsRequest), {}});
}

Status Connection::TakeGreeting(const Reply& reply) {
  const bool auth = flights_.front().kind == Flight::Kind::kAuth;
  switch (reply.kind) {
    case Reply::Kind::kStatistic: {
      constexpr std::string_view kName = "item_size_max ";
      if (auth || !reply.text.starts_with(kName)) return Ok();
      const std::string_view number = reply.text.substr(kName.size());
      std::from_chars(number.data(), number.data() + number.size(), largest_item_);
      return Ok();
    }
    case Reply::Kind::kStored:
      if (!auth) return Fail(Lost("out of step: nothing was stored"));
      flights_.pop_front();
      return Ok();
    case Reply::Kind::kEnd:
      if (auth) return Fail(Lost("out of step: no answer to the credentials"));
      flights_.pop_front();
      state_ = State::kReady;
      RefreshCertificates();
      owner_.OnGreeted();
      return Ok();
    case Reply::Kind::kClientError: {
      flights_.pop_front();
      if (asked_to_authenticate_) {
        return Fail(Code::kPermissionDenied, "the worker refuses the credentials");
      }
      if (options_.credentials_file.empty()) {
        return Fail(Code::kPermissionDenied, "the worker wants credentials, and there are none");
      }
      SLUICE_TRY(credentials, ReadPoolCredentials(options_.credentials_file), "authenticate");
      Authenticate(credentials);
      return Ok();
    }
    default:
      return Fail(Lost("out of step: no answer to the greeting"));
  }
}

// memcached reads its certificate once, and then when it is told to.
void Connection::RefreshCertificates() {
  const auto end = bytes_.CertificateEnd();
  if (!end || *end - std::chrono::system_clock::now() > kRefreshBefore) return;
  if (!owner_.MayRefresh()) return;
  const TimePoint deadline = std::chrono::steady_clock::now() + options_.operation_limit;
  Push({Flight::Kind::kRefresh, nullptr, 0, deadline}, {std::string(kRefreshRequest), {}});
}

void Connection::Send(std::unique_ptr<Operation> operation) {
  const Operation& op = *operation;
  const std::uint32_t opaque = next_opaque_++;
  Outgoing outgoing;
  switch (op.kind) {
    case Operation::Kind::kGet: {
      const bool lease = op.on_miss == ChunkPool::OnMiss::kLease;
      outgoing.head = GetRequest(op.key, lease ? options_.lease : std::chrono::seconds(0), opaque);
      break;
    }
    case Operation::Kind::kRenew:
      outgoing.head = RenewRequest(op.key, options_.lease, op.version.number, opaque);
      break;
    case Operation::Kind::kPut:
      outgoing.head = PutRequest({.key = op.key,
                                  .length = op.value.size(),
                                  .keep = options_.keep,
                                  .checksum = op.checksum,
                                  .lease = op.version.number,
                                  .opaque = opaque});
      outgoing.value = op.value;
      break;
    case Operation::Kind::kDrop:
      outgoing.head = DropRequest(op.key, op.version.number, opaque);
      break;
  }
  const TimePoint deadline = op.deadline;
  Push({Flight::Kind::kOperation, std::move(operation), opaque, deadline}, std::move(outgoing));
}

void Connection::Discard(const std::string& key, std::uint64_t number) {
  if (number == 0) return;  // to the worker, any version
  const TimePoint deadline = std::chrono::steady_clock::now() + options_.operation_limit;
  const std::uint32_t opaque = next_opaque_++;
  Push({Flight::Kind::kDiscard, nullptr, opaque, deadline}, {DropRequest(key, number, opaque), {}});
}

void Connection::Push(Flight flight, Outgoing outgoing) {
  if (flights_.empty()) {
    quiet_since_ = std::chrono::steady_clock::now();
    loop_.WakeBy(quiet_since_ + options_.operation_timeout);
  }
  flights_.push_back(std::move(flight));
  outgoing_.Add(std::move(outgoing.head), outgoing.value);
  if (!flushing_ && !watching_output_) Flush();
}

void Connection::Flush() {
  flushing_ = true;
  while (!outgoing_.Empty()) {
    const SendQueue::Sent sent = outgoing_.SendSome(bytes_);
    if (sent.bytes == 0) break;
    quiet_since_ = std::chrono::steady_clock::now();
    if (sent.requests > 0 && early_) Settle();
  }
  flushing_ = false;
  WatchOutput(!outgoing_.Empty());
}

void Connection::WatchOutput(bool wanted) {
  if (wanted == watching_output_) return;
  watching_output_ = wanted;
  loop_.Change(bytes_.Fd(), wanted ? EPOLLIN | EPOLLOUT : EPOLLIN, *this);
}

void Connection::Receive() {
  for (std::size_t taken = 0; taken < kBytesPerTurn || bytes_.Holds();) {
    const ReplyStream::Room room = stream_.NextRoom();
    const auto got = bytes_.Receive(room.value, room.lines);
    const TimePoint now = std::chrono::steady_clock::now();
    if (!got) return Close(Refusal(got.error()), now);
    if (got->bytes > 0) {
      quiet_since_ = now;
      if (auto status = stream_.Received(got->bytes); !status) return Close(status.error(), now);
    }
    if (got->all) return;
    taken += got->bytes;
  }
}

// By TLS 1.3 a worker looks at our certificate after we are done with the handshake.
Error Connection::Refusal(const Error& cause) const {
  if (state_ != State::kGreeting || !bytes_.IsTls()) return cause;
  return {Code::kPermissionDenied,
          cause.message + " (so ends a worker that does not accept our certificate)"};
}

Result<std::span<std::byte>> Connection::OnReply(const Reply& reply) {
  if (flights_.empty() || early_) return Fail(Lost("out of step: an answer to nothing"));
  const Flight& flight = flights_.front();
  if (flight.kind == Flight::Kind::kAuth || flight.kind == Flight::Kind::kSettings) {
    if (reply.kind == Reply::Kind::kValue) return Fail(Lost("out of step: an unwanted value"));
    SLUICE_CHECK(TakeGreeting(reply), "greet");
    return std::span<std::byte>();
  }
  if (flight.kind == Flight::Kind::kDiscard || flight.kind == Flight::Kind::kRefresh) {
    if (reply.kind == Reply::Kind::kValue) return Fail(Lost("out of step: an unwanted value"));
    ending_ = {PoolAnswer{}, "done"};
    return std::span<std::byte>();
  }
  auto ending = Judge(*flight.operation, flight.opaque, reply);
  if (!ending) return Fail(ending.error());
  ending_ = *std::move(ending);
  const std::span<std::byte> into = flight.operation->into;
  return reply.length == into.size() ? into : std::span<std::byte>();
}

Status Connection::OnComplete() {
  if (state_ != State::kReady || flights_.empty() || ending_.word.empty()) return Ok();
  if (outgoing_.Size() == flights_.size()) {
    early_ = true;
    return Ok();
  }
  Settle();
  return Ok();
}

void Connection::Settle() {
  early_ = false;
  Flight flight = std::move(flights_.front());
  flights_.pop_front();
  const Ending ending = std::exchange(ending_, {});
  if (flight.kind != Flight::Kind::kOperation) return;
  if (ending.word == kWrongSize) Discard(flight.operation->key, ending.answer->value.number);
  owner_.OnSettled(std::move(flight.operation), ending);
}

TimePoint Connection::Check(TimePoint now) {
  if (state_ == State::kClosed) return TimePoint::max();
  if (state_ != State::kReady) {
    if (now < deadline_) return deadline_;
    const bool connecting = state_ == State::kConnecting;
    if (connecting && next_address_ < addresses_.size()) {
      loop_.Forget(bytes_.Fd());
      if (TryNextAddress()) return deadline_;
    }
    const char* const then = state_ == State::kShakingHands ? "TLS handshake" : "greet";
    Close(Lost(fmt::format("{}: no answer in time", connecting ? "connect" : then)), now);
    return TimePoint::max();
  }
  if (flights_.empty()) return TimePoint::max();
  const TimePoint silent = quiet_since_ + options_.operation_timeout;
  TimePoint next = silent;
  for (const Flight& flight : flights_) next = std::min(next, flight.deadline);
  if (now < next) return next;
  if (now >= silent) {
    Close({Code::kDeadlineExceeded, "nothing came and nothing went for too long"}, now);
  } else {
    Close(Lost("an operation took too long"), now);
  }
  return TimePoint::max();
}

void Connection::Close(const Error& cause, TimePoint now) {
  if (state_ == State::kClosed) return;
  const Closing closing{cause, state_ == State::kReady, !flights_.empty()};
  // No buffer is touched from here on.
  if (bytes_.Open()) loop_.Forget(bytes_.Fd());
  bytes_.Close();
  state_ = State::kClosed;
  outgoing_.Clear();
  auto flights = std::exchange(flights_, {});
  owner_.OnClosed(*this, closing);
  for (Flight& flight : flights) {
    if (flight.kind != Flight::Kind::kOperation) continue;
    const bool late = cause.code == Code::kDeadlineExceeded || flight.deadline <= now;
    owner_.OnSettled(std::move(flight.operation),
                     late ? TooLate(cause.message) : Unavailable(cause.message));
  }
}

}  // namespace sluice::pool
