// The life of the prefetcher's container: what sluice-prefetch does with its flags and environment.
#pragma once

#include <csignal>
#include <functional>
#include <iosfwd>
#include <string>

#include "sluice/platform/log.h"
#include "sluice/prefetcher/prefetch.h"

namespace sluice::prefetcher {

// What comes after the work. Whoever injects the container knows whether it is started again.
enum class WhenDone {
  kIdle,  // stay until SIGTERM
  kExit,  // exit with 0, whatever came of it: the pod would never complete else, or fail
  kTell,  // after a failure exit with 1, once, so that the pod's status tells; else stay
};

struct Options {
  PrefetchRequest request;
  // How long the application is held back; the reading itself takes as long as it takes.
  std::chrono::seconds limit{120};
  WhenDone when_done = WhenDone::kIdle;
  std::string status_directory = kStatusDirectory;
  std::string termination_log = "/dev/termination-log";
};

// The value of an environment variable, empty when unset.
using Environment = std::function<std::string(const std::string&)>;

// What the environment says (docs/webhook.md). A value that makes no sense is logged and left out.
void ReadEnvironment(const Environment& environment, const platform::Log& log, Options& options);

// Prefetches unless that was done in an earlier life. Returns the exit status; at once with 0 on
// SIGTERM and SIGINT, which the caller must have blocked (StopSignals) before its first thread.
int Run(const Options& options, const platform::Log& log);
sigset_t StopSignals();

// Prints one line about the progress; 0 when the application need not be held back any more. For a
// probe it looks for a while before it says no, the longer the older the prefetch is: that makes
// few events, and it yet ends in time.
int PrintStatus(const Options& options, Asker asker, std::ostream& out);

// Waits until it is finished or the limit is over, and says which; always 0.
int WaitForEnd(const Options& options, std::ostream& out);

}  // namespace sluice::prefetcher
