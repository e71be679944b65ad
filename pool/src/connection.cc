#include "connection.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "credentials.h"
#include "judgement.h"
#include "request.h"

namespace sluice::pool {
namespace {

// What one connection may take before the others of its loop have a turn.
constexpr std::size_t kBytesPerTurn = 8U << 20;
constexpr std::size_t kGathered = 4;  // requests sent by one call

Error Lost(std::string_view what) { return {Code::kUnavailable, std::string(what)}; }
Error Lost(std::string_view what, int error) {
  return Lost(fmt::format("{}: {}", what, std::generic_category().message(error)));
}

void SetOption(int fd, int level, int name, int value) {
  ::setsockopt(fd, level, name, &value, sizeof(value));
}

void ConfigureSocket(int fd) {
  SetOption(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  // A host that vanished is noticed within half a minute, without an operation.
  SetOption(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  SetOption(fd, IPPROTO_TCP, TCP_KEEPIDLE, 15);
  SetOption(fd, IPPROTO_TCP, TCP_KEEPINTVL, 5);
  SetOption(fd, IPPROTO_TCP, TCP_KEEPCNT, 3);
}

iovec Piece(const void* data, std::size_t size) { return {const_cast<void*>(data), size}; }

// Adds what is left of `bytes` when `skip` bytes are gone; takes off what it skipped.
void Append(std::array<iovec, kGathered * 3>& pieces, std::size_t& count, const void* data,
            std::size_t size, std::size_t& skip) {
  const std::size_t gone = std::min(skip, size);
  skip -= gone;
  if (gone == size) return;
  pieces.at(count++) = Piece(static_cast<const std::byte*>(data) + gone, size - gone);
}

}  // namespace

std::size_t Connection::Outgoing::Size() const {
  return head.size() + (value.empty() ? 0 : value.size() + kLineEnd.size());
}

Connection::Connection(EventLoop& loop, Owner& owner, const PoolOptions& options)
    : loop_(loop), owner_(owner), options_(options), stream_(*this) {}
Connection::~Connection() = default;

Status Connection::Open(std::vector<SocketAddress> addresses) {
  addresses_ = std::move(addresses);
  return TryNextAddress();
}

Status Connection::TryNextAddress() {
  Error error = Lost("no address left to try");
  while (next_address_ < addresses_.size()) {
    const SocketAddress& address = addresses_[next_address_++];
    fd_ = platform::UniqueFd(::socket(address.storage.ss_family,
                                      SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP));
    if (!fd_.Valid()) {
      error = Lost("socket", errno);
      continue;
    }
    ConfigureSocket(fd_.Get());
    if (::connect(fd_.Get(), reinterpret_cast<const sockaddr*>(&address.storage), address.length) !=
            0 &&
        errno != EINPROGRESS) {
      error = Lost("connect", errno);
      continue;
    }
    if (auto watched = loop_.Watch(fd_.Get(), EPOLLOUT, *this); !watched) return watched;
    deadline_ = std::chrono::steady_clock::now() + options_.connect_timeout;
    loop_.WakeBy(deadline_);
    return Ok();
  }
  fd_.Reset();
  return Fail(error);
}

void Connection::OnReady(std::uint32_t events) {
  if (state_ == State::kClosed) return;  // earlier in this round
  if (state_ == State::kConnecting) return FinishConnect();
  if ((events & (EPOLLIN | EPOLLERR | EPOLLHUP)) != 0) Receive();
  if (state_ != State::kClosed && (events & EPOLLOUT) != 0) Flush();
}

void Connection::FinishConnect() {
  int error = 0;
  socklen_t length = sizeof(error);
  ::getsockopt(fd_.Get(), SOL_SOCKET, SO_ERROR, &error, &length);
  if (error == 0) return Greet();
  loop_.Forget(fd_.Get());
  if (next_address_ < addresses_.size() && TryNextAddress()) return;
  Close(Lost("connect", error), std::chrono::steady_clock::now());
}

void Connection::Greet() {
  state_ = State::kGreeting;
  loop_.Change(fd_.Get(), EPOLLIN, *this);
  deadline_ = std::chrono::steady_clock::now() + options_.greeting_timeout;
  loop_.WakeBy(deadline_);
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
  outgoing_.push_back(std::move(outgoing));
  if (!flushing_ && !watching_output_) Flush();
}

void Connection::Flush() {
  flushing_ = true;
  while (!outgoing_.empty()) {
    std::array<iovec, kGathered * 3> pieces{};
    std::size_t count = 0;
    std::size_t skip = sent_;
    for (std::size_t i = 0; i < std::min(outgoing_.size(), kGathered); ++i) {
      const Outgoing& one = outgoing_[i];
      Append(pieces, count, one.head.data(), one.head.size(), skip);
      if (one.value.empty()) continue;
      Append(pieces, count, one.value.data(), one.value.size(), skip);
      Append(pieces, count, kLineEnd.data(), kLineEnd.size(), skip);
    }
    msghdr message{};
    message.msg_iov = pieces.data();
    message.msg_iovlen = count;
    const ssize_t sent = ::sendmsg(fd_.Get(), &message, MSG_NOSIGNAL);
    if (sent >= 0) {
      CountSent(static_cast<std::size_t>(sent));
    } else if (errno != EINTR) {
      // Other errors than a full buffer are reported to the receiving side as well.
      break;
    }
  }
  flushing_ = false;
  WatchOutput(!outgoing_.empty());
}

void Connection::CountSent(std::size_t bytes) {
  sent_ += bytes;
  quiet_since_ = std::chrono::steady_clock::now();
  while (!outgoing_.empty() && sent_ >= outgoing_.front().Size()) {
    sent_ -= outgoing_.front().Size();
    outgoing_.pop_front();
    if (early_) Settle();
  }
}

void Connection::WatchOutput(bool wanted) {
  if (wanted == watching_output_) return;
  watching_output_ = wanted;
  loop_.Change(fd_.Get(), wanted ? EPOLLIN | EPOLLOUT : EPOLLIN, *this);
}

void Connection::Receive() {
  for (std::size_t taken = 0; taken < kBytesPerTurn;) {
    const ReplyStream::Room room = stream_.NextRoom();
    std::array<iovec, 2> pieces{Piece(room.value.data(), room.value.size()),
                                Piece(room.lines.data(), room.lines.size())};
    msghdr message{};
    message.msg_iov = pieces.data();
    message.msg_iovlen = pieces.size();
    const ssize_t count = ::recvmsg(fd_.Get(), &message, 0);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
    const TimePoint now = std::chrono::steady_clock::now();
    if (count < 0) return Close(Lost("receive", errno), now);
    if (count == 0) return Close(Lost("the worker closed the connection"), now);
    quiet_since_ = now;
    const auto bytes = static_cast<std::size_t>(count);
    if (auto status = stream_.Received(bytes); !status) return Close(status.error(), now);
    if (bytes < room.value.size() + room.lines.size()) return;  // that was all
    taken += bytes;
  }
}

Result<std::span<std::byte>> Connection::OnReply(const Reply& reply) {
  if (flights_.empty() || early_) return Fail(Lost("out of step: an answer to nothing"));
  const Flight& flight = flights_.front();
  if (flight.kind == Flight::Kind::kAuth || flight.kind == Flight::Kind::kSettings) {
    if (reply.kind == Reply::Kind::kValue) return Fail(Lost("out of step: an unwanted value"));
    SLUICE_CHECK(TakeGreeting(reply), "greet");
    return std::span<std::byte>();
  }
  if (flight.kind == Flight::Kind::kDiscard) {
    if (reply.kind == Reply::Kind::kValue) return Fail(Lost("out of step: an unwanted value"));
    ending_ = {PoolAnswer{}, "dropped"};
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
  if (outgoing_.size() == flights_.size()) {
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
      loop_.Forget(fd_.Get());
      if (TryNextAddress()) return deadline_;
    }
    Close(Lost(connecting ? "connect: no answer in time" : "greet: no answer in time"), now);
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
  if (fd_.Valid()) loop_.Forget(fd_.Get());
  fd_.Reset();
  state_ = State::kClosed;
  outgoing_.clear();
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
