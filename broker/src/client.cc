#include "sluice/broker/client.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <map>
#include <random>
#include <thread>

#include <fmt/format.h>

#include "sluice/platform/guarded.h"

#include "message_socket.h"

namespace sluice::broker {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds kFirstRetry{20};
constexpr milliseconds kLastRetry{1000};
constexpr milliseconds kRequestDeadline{5000};

// Waits 20 ms, then twice as long each time up to a second, less a random part.
class Backoff {
 public:
  milliseconds Next() {
    const milliseconds full = delay_;
    delay_ = std::min(delay_ * 2, kLastRetry);
    std::uniform_int_distribution<std::int64_t> part(full.count() / 2, full.count());
    return milliseconds(part(random_));
  }

 private:
  milliseconds delay_ = kFirstRetry;
  std::minstd_rand random_{std::random_device{}()};
};

platform::UniqueFd Duplicate(const platform::UniqueFd& fd) {
  return platform::UniqueFd(::fcntl(fd.Get(), F_DUPFD_CLOEXEC, 0));
}

Result<platform::UniqueFd> ConnectSocket(const std::string& path) {
  const std::filesystem::path file(path);
  // Through /proc the address is short whatever the directory is called.
  const platform::UniqueFd directory(
      ::open(file.parent_path().c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  platform::UniqueFd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  const std::string name =
      fmt::format("/proc/self/fd/{}/{}", directory.Get(), file.filename().string());
  if (name.size() >= sizeof(address.sun_path)) {
    return Fail(Code::kInvalidArgument, fmt::format("socket path {} is too long", path));
  }
  name.copy(address.sun_path, sizeof(address.sun_path) - 1);
  if (!directory.Valid() || !socket.Valid() ||
      ::connect(socket.Get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    const Code code =
        errno == EACCES || errno == EPERM ? Code::kPermissionDenied : Code::kUnavailable;
    return Fail(code, fmt::format("connect to {}: {}", path, std::strerror(errno)));
  }
  return socket;
}

// Waits for a message until `deadline` or until `stop` becomes readable.
Result<Message> Await(int socket, Clock::time_point deadline, int stop) {
  while (true) {
    SLUICE_TRY(message, Receive(socket), "holder");
    if (message) return std::move(*message);
    const auto left = std::chrono::ceil<milliseconds>(deadline - Clock::now());
    if (left <= milliseconds(0)) return Fail(Code::kDeadlineExceeded, "holder: no answer in time");
    pollfd waits[2] = {{socket, POLLIN, 0}, {stop, POLLIN, 0}};
    const auto timeout = static_cast<int>(std::min<std::int64_t>(left.count(), 60'000));
    ::poll(waits, stop >= 0 ? 2 : 1, timeout);
    if (stop >= 0 && waits[1].revents != 0) return Fail(Code::kUnavailable, "stopped");
  }
}

Code CodeOfErrno(std::int32_t error) {
  switch (error) {
    case EPERM:
    case EACCES:
      return Code::kPermissionDenied;
    case EINVAL:
      return Code::kInvalidArgument;
    case ENOENT:
      return Code::kNotFound;
    case EBUSY:
      return Code::kConflict;
    case EIO:
      return Code::kInternal;
    default:
      return Code::kUnavailable;
  }
}

Status ToStatus(const ResultMessage& result, const char* what) {
  if (result.error == 0) return Ok();
  return Fail(CodeOfErrno(result.error),
              fmt::format("{}: holder: {}", what, std::strerror(result.error)));
}

}  // namespace

struct Client::Impl {
  struct Session {
    platform::UniqueFd socket;  // invalid while the holder is away
    std::uint64_t next_request = 1;
    std::map<std::uint64_t, std::optional<ResultMessage>> pending;
    std::uint64_t epoch = 0;
    bool ready = false;
  };

  // Receives results, and connects again when the holder has gone.
  void Run(const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      const int socket = session.With([](Session& s) { return s.socket.Get(); });
      auto message = Await(socket, Clock::now() + std::chrono::hours(1), stop_event.Get());
      if (message) {
        if (const auto result = message->As<ResultMessage>();
            result && message->Type() == MessageType::kResult) {
          Answer(*result);
        }
        continue;
      }
      if (message.error().code == Code::kDeadlineExceeded || stop.stop_requested()) continue;
      session.With([](Session& s) {
        s.socket.Reset();
        s.pending.clear();  // whoever waits finds its request gone
      });
      session.Notify();
      Reconnect(stop);
    }
  }

  void Answer(const ResultMessage& result) {
    session.With([&](Session& s) {
      const auto found = s.pending.find(result.request_id);
      if (found != s.pending.end()) found->second = result;
    });
    session.Notify();
  }

  void Reconnect(const std::stop_token& stop) {
    Backoff backoff;
    while (!stop.stop_requested()) {
      pollfd wait = {stop_event.Get(), POLLIN, 0};
      ::poll(&wait, 1, static_cast<int>(backoff.Next().count()));
      if (stop.stop_requested()) return;
      auto socket = ConnectSocket(path);
      if (!socket || !Deposit(socket->Get())) continue;
      // What was reported while the deposit was under way went nowhere: say it again.
      session.With([&](Session& s) {
        s.socket = std::move(*socket);
        // A socket that broke meanwhile is noticed by its reader, which brings us back here.
        if (s.ready) static_cast<void>(Send(s.socket.Get(), ReadyMessage{}));
      });
      return;
    }
  }

  Status Deposit(int socket) {
    DepositMessage deposit;
    session.With([&](Session& s) {
      deposit.request_id = s.next_request++;
      deposit.epoch = s.epoch;
      deposit.ready = s.ready ? 1 : 0;
    });
    SLUICE_CHECK(Send(socket, deposit, {device.Get(), state.Get()}), "deposit");
    SLUICE_TRY(answer, Await(socket, Clock::now() + kRequestDeadline, stop_event.Get()), "deposit");
    SLUICE_TRY(result, answer.As<ResultMessage>(), "deposit");
    return ToStatus(result, "deposit");
  }

  template <typename T>
  Result<ResultMessage> Request(T message, std::initializer_list<int> fds) {
    std::uint64_t id = 0;
    const Status sent = session.With([&](Session& s) -> Status {
      if (!s.socket.Valid()) return Fail(Code::kUnavailable, "holder: not connected");
      id = message.request_id = s.next_request++;
      SLUICE_CHECK(Send(s.socket.Get(), message, fds), "holder");
      s.pending[id] = std::nullopt;
      return Ok();
    });
    if (!sent) return Fail(sent.error());
    session.WaitUntil(Clock::now() + kRequestDeadline, [&](const Session& s) {
      const auto found = s.pending.find(id);
      return found == s.pending.end() || found->second.has_value();
    });
    return session.With([&](Session& s) -> Result<ResultMessage> {
      const auto found = s.pending.find(id);
      if (found == s.pending.end()) return Fail(Code::kUnavailable, "holder: went away");
      const auto result = found->second;
      s.pending.erase(found);
      if (!result) return Fail(Code::kDeadlineExceeded, "holder: no answer in time");
      return *result;
    });
  }

  std::string path;
  platform::UniqueFd device;  // duplicates, to give back to a restarted holder
  platform::UniqueFd state;
  Bundle bundle;
  platform::UniqueFd stop_event;
  platform::Guarded<Session> session;
  std::jthread thread;
};

Client::Client() : impl_(std::make_unique<Impl>()) {}

Client::~Client() {
  if (!impl_->thread.joinable()) return;
  impl_->thread.request_stop();
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t n = ::write(impl_->stop_event.Get(), &one, sizeof(one));
  impl_->thread.join();
}

namespace {

struct Greeting {
  platform::UniqueFd socket;
  Bundle bundle;
};

Result<Greeting> Greet(const std::string& path, Clock::time_point deadline) {
  SLUICE_TRY(socket, ConnectSocket(path), "broker");
  SLUICE_CHECK(Send(socket.Get(), HelloMessage{}), "broker");
  SLUICE_TRY(answer, Await(socket.Get(), deadline, -1), "broker");
  if (answer.Type() != MessageType::kBundle) {
    return Fail(Code::kInternal, "broker: the holder answered something else than a bundle");
  }
  SLUICE_TRY(message, answer.As<BundleMessage>(2), "broker");
  Greeting greeting{std::move(socket), {answer.TakeFd(0), answer.TakeFd(1), message.epoch}};
  return greeting;
}

}  // namespace

Result<std::unique_ptr<Client>> Client::Connect(const std::string& socket_path,
                                                Clock::time_point deadline) {
  Backoff backoff;
  while (true) {
    auto greeting = Greet(socket_path, deadline);
    if (greeting) {
      std::unique_ptr<Client> client(new Client());
      Impl& impl = *client->impl_;
      impl.path = socket_path;
      impl.device = Duplicate(greeting->bundle.device);
      impl.state = Duplicate(greeting->bundle.state);
      impl.stop_event = platform::UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
      if (!impl.device.Valid() || !impl.state.Valid() || !impl.stop_event.Valid()) {
        return Fail(Code::kInternal, fmt::format("broker: {}", std::strerror(errno)));
      }
      impl.bundle = std::move(greeting->bundle);
      impl.session.With([&](Impl::Session& s) {
        s.socket = std::move(greeting->socket);
        s.epoch = impl.bundle.epoch;
      });
      impl.thread = std::jthread([&impl](const std::stop_token& stop) { impl.Run(stop); });
      return client;
    }
    const auto pause = backoff.Next();
    if (Clock::now() + pause >= deadline) return Fail(greeting.error());
    std::this_thread::sleep_for(pause);
  }
}

Bundle Client::TakeBundle() { return std::move(impl_->bundle); }

Status Client::ReportReady() {
  return impl_->session.With([](Impl::Session& s) -> Status {
    s.ready = true;
    if (!s.socket.Valid()) return Fail(Code::kUnavailable, "holder: not connected");
    return Send(s.socket.Get(), ReadyMessage{});
  });
}

Status Client::ReportFailure(const Error& error) {
  FailureMessage failure;
  failure.code = WireCode(error.code);
  failure.text_length = static_cast<std::uint32_t>(std::min(error.message.size(), kMaxFailureText));
  error.message.copy(failure.text, failure.text_length);
  return impl_->session.With([&](Impl::Session& s) -> Status {
    s.ready = false;
    if (!s.socket.Valid()) return Fail(Code::kUnavailable, "holder: not connected");
    return Send(s.socket.Get(), failure);
  });
}

Result<std::int32_t> Client::BackingOpen(std::uint64_t node_id, int fd) {
  BackingOpenMessage request;
  request.node_id = node_id;
  SLUICE_TRY(result, impl_->Request(request, {fd}), "backing open");
  SLUICE_CHECK(ToStatus(result, "backing open"), "broker");
  return result.value;
}

Status Client::BackingClose(std::int32_t backing_id) {
  BackingCloseMessage request;
  request.backing_id = backing_id;
  SLUICE_TRY(result, impl_->Request(request, {}), "backing close");
  return ToStatus(result, "backing close");
}

}  // namespace sluice::broker
