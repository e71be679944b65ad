// Calls that may hang on a FUSE server that does not answer, made so that the caller does not.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "sluice/core/result.h"

namespace sluice::csi {

// A bounded set of threads. A call that outlives its deadline keeps its thread until the kernel
// lets it go (an aborted connection does that at once); meanwhile further calls under the same key
// are refused, so that one dead mount costs one thread.
//
// Threads: Call from any. The destructor waits for running calls; ask Idle() first.
class PatientCaller {
 public:
  // From the request of `stop` on, callers wait no longer.
  explicit PatientCaller(unsigned threads, std::stop_token stop = {});
  ~PatientCaller();
  PatientCaller(const PatientCaller&) = delete;
  PatientCaller& operator=(const PatientCaller&) = delete;

  // Runs `work` on a thread of the set. kDeadlineExceeded when it has not ended by then (its result
  // is dropped), kUnavailable when `key` is busy with an earlier call, no thread gets free, or stop
  // is requested.
  Status Call(const std::string& key, std::chrono::steady_clock::time_point deadline,
              std::function<Status()> work);

  // True when no call is under way.
  [[nodiscard]] bool Idle() const;

 private:
  struct State;
  std::stop_token stop_;
  std::shared_ptr<State> state_;
  std::vector<std::jthread> threads_;
};

}  // namespace sluice::csi
