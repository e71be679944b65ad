#include "sluice/fuse_client/client.h"

#include <malloc.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <csignal>
#include <thread>

#include "sluice/platform/http_endpoint.h"

#include "session.h"

namespace sluice::fuse_client {
namespace {

constexpr int kEndPatienceMs = 3000;

void Signal(const platform::UniqueFd& event) {
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t n = ::write(event.Get(), &one, sizeof(one));
}

// True when the event came in time.
bool Await(const platform::UniqueFd& event, int timeout_ms) {
  pollfd wait = {event.Get(), POLLIN, 0};
  return ::poll(&wait, 1, timeout_ms) == 1;
}

}  // namespace

int RunClient(const Options& options) {
  // A few threads that allocate a little: many arenas would cost more memory than they save time.
  ::mallopt(M_ARENA_MAX, 2);
  const platform::Log log("sluice-fuse", options.log_level);
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
  const platform::UniqueFd signal_fd(::signalfd(-1, &signals, SFD_CLOEXEC));
  const platform::UniqueFd ended(::eventfd(0, EFD_CLOEXEC));     // the connection
  const platform::UniqueFd finished(::eventfd(0, EFD_CLOEXEC));  // the session's thread

  platform::Metrics metrics;
  Session session(options, metrics, log);
  std::vector<std::unique_ptr<platform::HttpEndpoint>> endpoints;
  for (const std::string& address : options.metrics_addresses) {
    endpoints.push_back(std::make_unique<platform::HttpEndpoint>(
        metrics, [&session] { return session.NotReady(); }));
    if (const auto port = endpoints.back()->Start(address); !port) {
      // In an application's pod the port may be taken, and a mount is worth more than its metrics;
      // elsewhere the probes need it.
      log.Error("no metrics", {{"error", port.error().message}});
      if (options.mount_path.empty()) return 1;
    }
  }
  Status result = Ok();
  std::jthread runner([&](const std::stop_token& stop) {
    result = session.Run(stop, [&ended] { Signal(ended); });
    Signal(finished);
  });

  pollfd waits[3] = {
      {signal_fd.Get(), POLLIN, 0}, {ended.Get(), POLLIN, 0}, {finished.Get(), POLLIN, 0}};
  while (::poll(waits, 3, -1) < 0 && errno == EINTR) {
  }
  log.Info("ending", {{"cause", waits[0].revents != 0   ? "signal"
                                : waits[1].revents != 0 ? "the mount is gone"
                                                        : "could not start"}});
  runner.request_stop();
  session.End();
  if (!Await(finished, kEndPatienceMs)) {
    // It waits for an origin that does not answer; nothing of it is worth waiting for.
    ::_exit(0);
  }
  runner.join();
  if (result) return 0;
  log.Error("sluice-fuse failed", {{"error", result.error().message}});
  return 1;
}

}  // namespace sluice::fuse_client
