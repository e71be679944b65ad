#include "connection.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <fstream>

#include <fmt/format.h>

#include "sluice/broker/backing.h"
#include "sluice/platform/mount.h"

namespace sluice::broker {
namespace {

constexpr std::size_t kMaxPeers = 16;
constexpr unsigned kReadAheadKilobytes = 8192;
constexpr char kSocketName[] = "s";

Error Errno(const std::string& what) {
  return {Code::kInternal, fmt::format("{}: {}", what, std::strerror(errno))};
}

// The connection number that the kernel shows for an open /dev/fuse (6.18; absent on older ones).
std::optional<std::uint32_t> FuseConnectionOf(int device) {
  std::ifstream info(fmt::format("/proc/self/fdinfo/{}", device));
  for (std::string key; info >> key;) {
    std::uint32_t number = 0;
    if (key == "fuse_connection:" && info >> number) return number;
  }
  return std::nullopt;
}

std::int32_t ErrnoOf(Code code) {
  switch (code) {
    case Code::kInvalidArgument:
      return EINVAL;
    case Code::kNotFound:
      return ENOENT;
    case Code::kAlreadyExists:
      return EEXIST;
    case Code::kConflict:
      return EBUSY;
    case Code::kPermissionDenied:
      return EPERM;
    case Code::kUnavailable:
      return EOPNOTSUPP;
    case Code::kDeadlineExceeded:
      return ETIMEDOUT;
    case Code::kInternal:
      return EIO;
  }
  return EIO;
}

// The kernel opens a backing file once more for each of its readers and writers, by its path and
// with our rights: what is not the client's own it could read or write so although it may not.
bool Owns(uid_t client, int file) {
  struct stat info = {};
  return client == 0 || (::fstat(file, &info) == 0 && info.st_uid == client);
}

// Goes to events and terminals, so nothing in it may steer them.
std::string Printable(std::string text) {
  const auto is_control = [](unsigned char c) { return c < 0x20 || c == 0x7f; };
  std::ranges::replace_if(text, is_control, ' ');
  return text;
}

void SetReadAheadOf(const std::string& mount_point) {
  const auto mount = platform::FindMount(mount_point);
  // Best effort: /sys may be read-only here, and the mount works without.
  if (mount) (void)platform::SetReadAhead(mount->major, mount->minor, kReadAheadKilobytes);
}

}  // namespace

Connection::Connection(ConnectionSpec spec, const platform::Log& log, ConnectionCounters& counters)
    : spec_(std::move(spec)), log_(log), counters_(counters) {}

Connection::~Connection() {
  if (listener_.Valid()) ::unlinkat(directory_.Get(), kSocketName, 0);
}

Status Connection::Open() {
  state_ = platform::UniqueFd(::memfd_create("sluice-state", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  // A client that maps the file must not be killed by another one shrinking it.
  if (!state_.Valid() || ::fcntl(state_.Get(), F_ADD_SEALS, F_SEAL_SHRINK) != 0) {
    return Fail(Errno("create the state memfd"));
  }
  directory_ =
      platform::UniqueFd(::open(spec_.directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!directory_.Valid()) return Fail(Errno("open " + spec_.directory));
  ::unlinkat(directory_.Get(), kSocketName, 0);  // of an earlier life
  platform::UniqueFd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  // Through /proc the path is short whatever the directory is called.
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  const std::string path = fmt::format("/proc/self/fd/{}/{}", directory_.Get(), kSocketName);
  path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  if (!socket.Valid() ||
      ::bind(socket.Get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return Fail(Errno(fmt::format("listen on {}/{}", spec_.directory, kSocketName)));
  }
  if (spec_.client_uid && *spec_.client_uid != ::geteuid() &&
      ::fchownat(directory_.Get(), kSocketName, *spec_.client_uid, static_cast<gid_t>(-1), 0) !=
          0) {
    return Fail(Errno("give the socket to its client"));
  }
  if (::fchmodat(directory_.Get(), kSocketName, 0600, 0) != 0 ||
      ::listen(socket.Get(), static_cast<int>(kMaxPeers)) != 0) {
    return Fail(Errno(fmt::format("listen on {}/{}", spec_.directory, kSocketName)));
  }
  listener_ = std::move(socket);
  return Ok();
}

Connection::Arrival Connection::Accept(Token token, int* accepted, Deferred& deferred) {
  Peer peer;
  peer.socket = platform::UniqueFd(
      ::accept4(listener_.Get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!peer.socket.Valid()) {
    const bool no_room = errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM;
    return no_room ? Arrival::kNoRoom : Arrival::kNobody;
  }
  socklen_t size = sizeof(peer.who);
  const bool known =
      ::getsockopt(peer.socket.Get(), SOL_SOCKET, SO_PEERCRED, &peer.who, &size) == 0;
  const bool allowed =
      known && (spec_.client_uid ? peer.who.uid == *spec_.client_uid
                                 : peer.who.uid == 0 || peer.who.uid == ::geteuid());
  if (!allowed || peers_.size() >= kMaxPeers) {
    counters_.refused.Add();
    deferred.push_back([this_log = &log_, id = spec_.id, who = peer.who, allowed] {
      this_log->Warn("client refused", {{"connection", id},
                                        {"uid", who.uid},
                                        {"pid", who.pid},
                                        {"reason", allowed ? "too many" : "uid"}});
    });
    return Arrival::kNobody;
  }
  *accepted = peer.socket.Get();
  peers_.emplace(token, std::move(peer));
  return Arrival::kClient;
}

bool Connection::HandleInput(Token token, Deferred& deferred) {
  const auto found = peers_.find(token);
  if (found == peers_.end()) return false;
  auto received = Receive(found->second.socket.Get());
  if (received && !received->has_value()) return true;
  Status handled = Ok();
  if (!received) {
    handled = Fail(received.error());
  } else {
    handled = Handle(token, found->second, **received, deferred);
  }
  if (handled) return true;
  if (handled.error().code == Code::kInvalidArgument) {
    counters_.malformed.Add();
    deferred.push_back(
        [log = &log_, id = spec_.id, pid = found->second.who.pid, error = handled.error().message] {
          log->Warn("malformed message", {{"connection", id}, {"pid", pid}, {"error", error}});
        });
  }
  Close(token, deferred);
  return false;
}

void Connection::Close(Token token, Deferred& deferred) {
  const auto found = peers_.find(token);
  if (found == peers_.end()) return;
  const pid_t pid = found->second.who.pid;
  peers_.erase(found);
  std::erase(waiting_, token);
  if (token != active_) return;
  active_ = 0;
  // A cause that a client has named says more than its end.
  if (!cause_reported_) {
    last_error_ = {Code::kUnavailable,
                   fmt::format("client {} went away{}", pid, ready_ ? "" : " before it was ready")};
  }
  ready_ = false;
  deferred.push_back([log = &log_, id = spec_.id, pid] {
    log->Info("client went away", {{"connection", id}, {"pid", pid}});
  });
  HandOver(deferred);
}

Status Connection::Handle(Token token, Peer& peer, Message& message, Deferred& deferred) {
  if (token == active_) return HandleActive(peer, message, deferred);
  if (peer.greeted) return Fail(Code::kInvalidArgument, "message from a client that is waiting");
  peer.greeted = true;
  if (message.Type() == MessageType::kHello) {
    SLUICE_CHECK(message.Expect<HelloMessage>(), "hello");
    waiting_.push_back(token);
    HandOver(deferred);
    return Ok();
  }
  if (message.Type() == MessageType::kDeposit) {
    SLUICE_TRY(deposit, message.As<DepositMessage>(2), "deposit");
    ResultMessage result;
    result.request_id = deposit.request_id;
    result.error = TakeDeposit(token, peer, deposit, message, deferred);
    SLUICE_CHECK(Send(peer.socket.Get(), result), "answer a deposit");
    return result.error == 0 ? Ok() : Fail(Code::kUnavailable, "deposit refused");
  }
  return Fail(Code::kInvalidArgument, "the first message is neither hello nor deposit");
}

std::int32_t Connection::TakeDeposit(Token token, const Peer& peer, const DepositMessage& deposit,
                                     Message& message, Deferred& deferred) {
  if (active_ != 0) return EBUSY;
  platform::UniqueFd device = message.TakeFd(0);
  platform::UniqueFd state = message.TakeFd(1);
  if (const auto verified = VerifyDeposit(device.Get(), state.Get()); !verified) {
    deferred.push_back([log = &log_, id = spec_.id, error = verified.error().message] {
      log->Warn("deposit refused", {{"connection", id}, {"error", error}});
    });
    return ErrnoOf(verified.error().code);
  }
  if (!spec_.device.Valid()) {
    spec_.device = std::move(device);
    state_ = std::move(state);
  }
  epoch_ = std::max(epoch_, deposit.epoch);
  active_ = token;
  counters_.deposits.Add();
  deferred.push_back([log = &log_, id = spec_.id, pid = peer.who.pid] {
    log->Info("client gave its descriptors back", {{"connection", id}, {"pid", pid}});
  });
  if (deposit.ready != 0) NoteReady(deferred);
  return 0;
}

Status Connection::VerifyDeposit(int device, int state) const {
  struct stat info = {};
  if (::fstat(device, &info) != 0 || !S_ISCHR(info.st_mode) || info.st_rdev != makedev(10, 229)) {
    return Fail(Code::kInvalidArgument, "the first descriptor is not /dev/fuse");
  }
  const int seals = ::fcntl(state, F_GET_SEALS);
  if (seals < 0 || (seals & F_SEAL_SHRINK) == 0) {
    return Fail(Code::kInvalidArgument, "the second descriptor is not a state memfd");
  }
  const auto number = FuseConnectionOf(device);
  SLUICE_TRY(mount, platform::FindMount(spec_.mount_point), "deposit");
  if (number && *number != mount.minor) {
    return Fail(Code::kInvalidArgument,
                fmt::format("the descriptor serves connection {}, the mount at {} is {}", *number,
                            spec_.mount_point, mount.minor));
  }
  return Ok();
}

Status Connection::HandleActive(Peer& peer, Message& message, Deferred& deferred) {
  switch (message.Type()) {
    case MessageType::kReady: {
      SLUICE_CHECK(message.Expect<ReadyMessage>(), "ready");
      NoteReady(deferred);
      return Ok();
    }
    case MessageType::kFailure: {
      SLUICE_TRY(failure, message.As<FailureMessage>(), "failure");
      if (failure.text_length > kMaxFailureText) {
        return Fail(Code::kInvalidArgument, "failure text too long");
      }
      ready_ = false;
      cause_reported_ = true;
      last_error_ = {CodeFromWire(failure.code),
                     Printable(std::string(failure.text, failure.text_length))};
      counters_.failures.Add();
      return Ok();
    }
    case MessageType::kBackingOpen: {
      SLUICE_TRY(request, message.As<BackingOpenMessage>(1), "backing open");
      const platform::UniqueFd file = message.TakeFd(0);
      return Send(peer.socket.Get(), OpenBacking(request, peer.who.uid, file.Get()));
    }
    case MessageType::kBackingClose: {
      SLUICE_TRY(request, message.As<BackingCloseMessage>(), "backing close");
      return Send(peer.socket.Get(), CloseBacking(request));
    }
    case MessageType::kHello:
    case MessageType::kBundle:
    case MessageType::kDeposit:
    case MessageType::kResult:
      break;
  }
  return Fail(Code::kInvalidArgument, "unexpected message type");
}

ResultMessage Connection::OpenBacking(const BackingOpenMessage& request, uid_t client, int file) {
  ResultMessage result;
  result.request_id = request.request_id;
  // A client that died between getting an id and noting it asks again: a second id for one inode
  // would make the kernel refuse the open.
  if (const auto known = backing_.find(request.node_id); known != backing_.end()) {
    result.value = known->second;
    return result;
  }
  if (!Owns(client, file)) {
    result.error = EINVAL;
    return result;
  }
  if (backing_.size() >= spec_.max_backing_files) {
    result.error = EMFILE;
    return result;
  }
  const auto id = RegisterBackingFile(spec_.device.Get(), file);
  if (id) {
    backing_[request.node_id] = *id;
    counters_.backing_opens.Add();
    result.value = *id;
  } else {
    result.error = ErrnoOf(id.error().code);
  }
  return result;
}

ResultMessage Connection::CloseBacking(const BackingCloseMessage& request) {
  ResultMessage result;
  result.request_id = request.request_id;
  const auto found = std::ranges::find_if(
      backing_, [&](const auto& entry) { return entry.second == request.backing_id; });
  // An id that a holder before us registered is the connection's all the same.
  const bool known = found != backing_.end();
  if (known) backing_.erase(found);
  const auto closed = UnregisterBackingFile(spec_.device.Get(), request.backing_id);
  if (!closed) result.error = known ? ErrnoOf(closed.error().code) : ENOENT;
  return result;
}

void Connection::HandOver(Deferred& deferred) {
  while (active_ == 0 && spec_.device.Valid() && !waiting_.empty()) {
    const Token next = waiting_.front();
    waiting_.pop_front();
    const auto found = peers_.find(next);
    if (found == peers_.end()) continue;
    BundleMessage bundle;
    bundle.epoch = epoch_ + 1;
    if (!Send(found->second.socket.Get(), bundle, {spec_.device.Get(), state_.Get()})) {
      // Its hang-up event is on the way and cleans up.
      continue;
    }
    ++epoch_;
    active_ = next;
    if (!cause_reported_) {
      last_error_ = {Code::kDeadlineExceeded,
                     fmt::format("client {} is not ready yet", found->second.who.pid)};
    }
    counters_.handovers.Add();
    deferred.push_back([log = &log_, id = spec_.id, pid = found->second.who.pid, epoch = epoch_] {
      log->Info("descriptors handed over", {{"connection", id}, {"pid", pid}, {"epoch", epoch}});
    });
  }
}

void Connection::NoteReady(Deferred& deferred) {
  ready_ = true;
  cause_reported_ = false;
  last_error_ = {};
  // Only now: the kernel lowers the value when the connection is negotiated.
  deferred.push_back([mount_point = spec_.mount_point] { SetReadAheadOf(mount_point); });
}

ConnectionStatus Connection::Describe() const {
  ConnectionStatus status;
  status.has_device = spec_.device.Valid();
  status.client_connected = active_ != 0;
  status.ready = ready_;
  if (const auto active = peers_.find(active_); active != peers_.end()) {
    status.client_pid = active->second.who.pid;
  }
  status.epoch = epoch_;
  status.backing_files = static_cast<unsigned>(backing_.size());
  status.last_error = last_error_.message;
  status.last_error_code = last_error_.message.empty() ? Code::kUnavailable : last_error_.code;
  return status;
}

}  // namespace sluice::broker
