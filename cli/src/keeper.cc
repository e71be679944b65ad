#include "keeper.h"

#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <filesystem>
#include <optional>

#include <fmt/format.h>

#include "sluice/broker/holder.h"
#include "sluice/platform/mount.h"

#include "client_process.h"
#include "log_file.h"
#include "mount_request.h"
#include "restart_policy.h"
#include "runtime_directory.h"

namespace sluice::cli {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds kTick{200};
constexpr milliseconds kStartTick{20};
constexpr milliseconds kEndPatience{5'000};

// Errors that waiting does not heal: a user who waits for the command wants to know at once.
bool IsFinal(Code code) {
  return code == Code::kPermissionDenied || code == Code::kNotFound ||
         code == Code::kInvalidArgument;
}

class Keeper {
 public:
  Keeper(std::string directory, MountRequest request)
      : directory_(std::move(directory)), request_(std::move(request)), holder_(log_, metrics_) {
    record_.path = request_.path;
    record_.origin = request_.origin;
    record_.passthrough = request_.passthrough;
    record_.holder_pid = ::getpid();
    record_.state = "starting";
    sigset_t signals;
    sigemptyset(&signals);
    for (const int number : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&signals, number);
    ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
    signals_ = platform::UniqueFd(::signalfd(-1, &signals, SFD_CLOEXEC));
  }
  ~Keeper() { EndClient(); }

  Status Run(const std::function<void(const Status&)>& started) {
    Status status = Begin();
    if (status) status = AwaitFirstAnswer();
    if (!status) {
      CleanUp();
      started(status);
      return status;
    }
    started(status);
    while (!Step(kTick)) {
    }
    CleanUp();
    return Ok();
  }

 private:
  Status Begin() {
    SLUICE_CHECK(WriteRecord(directory_, record_), "mount");
    SLUICE_CHECK(holder_.Start(), "mount");
    SLUICE_TRY(device,
               platform::MountFuse(request_.path,
                                   {.source = request_.origin, .read_only = !request_.read_write}),
               "mount");
    mounted_ = true;
    SLUICE_TRY(mount, platform::FindMount(request_.path), "mount");
    record_.device = mount.minor;
    broker::ConnectionSpec spec;
    spec.id = request_.path;
    spec.directory = directory_;
    spec.mount_point = request_.path;
    spec.device = std::move(device);
    SLUICE_CHECK(holder_.Add(std::move(spec)), "mount");
    NoteClientStart();
    SLUICE_TRY(client, StartClient(request_, directory_), "mount");
    client_ = std::move(client);
    return Ok();
  }

  Status AwaitFirstAnswer() {
    const auto deadline = Clock::now() + std::chrono::seconds(request_.start_timeout_seconds);
    while (true) {
      const bool ended = Step(kStartTick);
      if (record_.state == "ready") return Ok();
      if (ended) return Fail(Code::kUnavailable, "interrupted");
      if (record_.state == "gave up") return Fail(Code::kInternal, record_.error);
      const auto status = holder_.Get(request_.path);
      const bool reported = status && record_.state == "failing";
      if (reported && IsFinal(status->last_error_code)) {
        return Fail(status->last_error_code, status->last_error);
      }
      if (Clock::now() >= deadline) {
        return Fail(Code::kDeadlineExceeded,
                    fmt::format("not ready after {} s: {}", request_.start_timeout_seconds,
                                status ? status->last_error : std::string("no client")));
      }
    }
  }

  // Waits a tick for something to happen and deals with it; true at the end.
  bool Step(milliseconds tick) {
    pollfd waits[2] = {{signals_.Get(), POLLIN, 0},
                       {client_.pid != 0 ? client_.handle.Get() : -1, POLLIN, 0}};
    auto timeout = tick;
    if (restart_at_) {
      timeout = std::clamp(std::chrono::ceil<milliseconds>(*restart_at_ - Clock::now()),
                           milliseconds(0), tick);
    }
    ::poll(waits, 2, static_cast<int>(timeout.count()));
    if (waits[0].revents != 0) return true;
    if (waits[1].revents != 0 && OnClientEnd()) return true;
    if (restart_at_ && Clock::now() >= *restart_at_) Restart();
    BoundLog(directory_);
    return Observe();
  }

  // True when the mount ended with the client.
  bool OnClientEnd() {
    bool clean = false;
    const std::string how = Reap(client_.pid, &clean);
    client_ = {};
    if (clean && !IsMounted(record_)) return true;
    log_.Warn("client ended", {{"how", how}, {"path", request_.path}});
    const auto pause = policy_.OnDeath(Clock::now() - client_started_);
    if (pause) {
      restart_at_ = Clock::now() + *pause;
      return false;
    }
    gave_up_ = true;
    last_end_ = how;
    // Without a client, whoever reads would hang for ever.
    const Status aborted = platform::AbortFuseConnection(record_.device);
    log_.Error("gave up: the client keeps ending",
               {{"path", request_.path}, {"aborted", aborted.has_value()}});
    return false;
  }

  [[nodiscard]] std::string WhyGivenUp() const {
    const std::string cause = LastClientError(directory_, client_started_at_);
    return fmt::format("the client ended {} times right after its start, last with {}{}{}",
                       RestartPolicy::kMaxShortLives, last_end_, cause.empty() ? "" : ": ", cause);
  }

  void NoteClientStart() {
    client_started_ = Clock::now();
    client_started_at_ = std::chrono::system_clock::now();
  }

  void Restart() {
    restart_at_.reset();
    NoteClientStart();
    auto client = StartClient(request_, directory_);
    ++record_.restarts;
    if (client) {
      client_ = std::move(*client);
    } else if (const auto pause = policy_.OnDeath(Clock::now() - client_started_)) {
      restart_at_ = Clock::now() + *pause;
    } else {
      gave_up_ = true;
      last_end_ = client.error().message;
      (void)platform::AbortFuseConnection(record_.device);
    }
  }

  // Writes the record when something has changed; true when mount and client are gone.
  bool Observe() {
    const bool mounted = IsMounted(record_);
    if (!mounted && client_.pid == 0 && (gave_up_ || !restart_at_)) return true;
    MountRecord now = record_;
    now.client_pid = client_.pid;
    const auto status = holder_.Get(request_.path);
    if (gave_up_) {
      now.state = "gave up";
      now.error = WhyGivenUp();
    } else if (!mounted) {
      now.state = "detached";
    } else if (status && status->ready) {
      now.state = "ready";
      now.error.clear();
    } else if (client_.pid == 0) {
      now.state = "restarting";
    } else if (status && status->client_connected &&
               status->last_error_code != Code::kDeadlineExceeded) {
      now.state = "failing";
      now.error = status->last_error;
    }
    if (ToJson(now) != ToJson(record_)) (void)WriteRecord(directory_, now);
    record_ = std::move(now);
    return false;
  }

  void EndClient() {
    if (client_.pid == 0) return;
    ::kill(client_.pid, SIGTERM);
    pollfd wait = {client_.handle.Get(), POLLIN, 0};
    if (::poll(&wait, 1, static_cast<int>(kEndPatience.count())) != 1) {
      ::kill(client_.pid, SIGKILL);
    }
    bool clean = false;
    Reap(client_.pid, &clean);
    client_ = {};
  }

  void Unmount() {
    if (!mounted_) return;
    const Status done = platform::UnmountFuse(request_.path, record_.device, /*detach=*/true);
    if (done) return;
    // Somebody has mounted over it. Whoever still has files of ours open must not hang.
    log_.Error("not unmounted", {{"path", request_.path}, {"error", done.error().message}});
    (void)platform::AbortFuseConnection(record_.device);
  }

  void CleanUp() {
    Unmount();
    EndClient();
    (void)holder_.Remove(request_.path);
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
  }

  std::string directory_;
  MountRequest request_;
  MountRecord record_;
  platform::Log log_{"sluice-holder"};
  platform::Metrics metrics_;
  platform::UniqueFd signals_;
  broker::Holder holder_;
  ClientProcess client_;
  RestartPolicy policy_;
  Clock::time_point client_started_;
  std::chrono::system_clock::time_point client_started_at_;  // the same, as the log tells time
  std::optional<Clock::time_point> restart_at_;
  std::string last_end_;
  bool gave_up_ = false;
  bool mounted_ = false;
};

}  // namespace

Status KeepMount(const std::string& directory, const std::function<void(const Status&)>& started) {
  auto request = ReadRequest(directory);
  if (!request) {
    started(Fail(request.error()));
    return Fail(request.error());
  }
  Keeper keeper(directory, std::move(*request));
  return keeper.Run(started);
}

}  // namespace sluice::cli
