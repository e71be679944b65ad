#include "sluice/csi/patient_caller.h"

#include <deque>
#include <optional>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "sluice/csi/stopping.h"
#include "sluice/platform/guarded.h"

namespace sluice::csi {
namespace {

using TimePoint = std::chrono::steady_clock::time_point;

struct Job {
  std::string key;
  std::function<Status()> work;
  platform::Guarded<std::optional<Status>> result;
};

}  // namespace

struct PatientCaller::State {
  struct Queue {
    std::deque<std::shared_ptr<Job>> waiting;
    std::set<std::string> busy;  // keys waiting or running
    bool closed = false;
  };
  platform::Guarded<Queue> queue;

  void Serve() {
    while (std::shared_ptr<Job> job = Next()) {
      Status status = job->work();
      queue.With([&](Queue& q) { q.busy.erase(job->key); });
      job->result.With([&](auto& result) { result.emplace(std::move(status)); });
      job->result.Notify();
    }
  }

  std::shared_ptr<Job> Next() {
    std::shared_ptr<Job> job;
    queue.WaitUntil(TimePoint::max(), [&](Queue& q) {
      if (!q.waiting.empty()) {
        job = std::move(q.waiting.front());
        q.waiting.pop_front();
      }
      return job != nullptr || q.closed;
    });
    return job;
  }
};

PatientCaller::PatientCaller(unsigned threads, std::stop_token stop)
    : stop_(std::move(stop)), state_(std::make_shared<State>()) {
  for (unsigned i = 0; i < threads; ++i) {
    threads_.emplace_back([state = state_] { state->Serve(); });
  }
}

PatientCaller::~PatientCaller() {
  state_->queue.With([](State::Queue& q) { q.closed = true; });
  state_->queue.Notify();
}

Status PatientCaller::Call(const std::string& key, TimePoint deadline,
                           std::function<Status()> work) {
  auto job = std::make_shared<Job>();
  job->key = key;
  job->work = std::move(work);
  const bool accepted = state_->queue.With([&](State::Queue& q) {
    if (q.closed || !q.busy.insert(key).second) return false;
    q.waiting.push_back(job);
    return true;
  });
  if (!accepted) {
    return Fail(Code::kUnavailable, fmt::format("{}: an earlier call has not ended: does the FUSE "
                                                "server of this mount answer?",
                                                key));
  }
  state_->queue.Notify();
  const bool done =
      job->result.WaitUntil(deadline, stop_, [](const auto& result) { return result.has_value(); });
  if (done) return job->result.With([](auto& result) { return std::move(*result); });
  // Not begun: nothing will happen any more. Begun: its thread is on its own.
  const bool dropped = state_->queue.With([&](State::Queue& q) {
    if (std::erase(q.waiting, job) == 0) return false;
    q.busy.erase(key);
    return true;
  });
  if (stop_.stop_requested()) return Fail(Stopping(key));
  return Fail(dropped ? Code::kUnavailable : Code::kDeadlineExceeded,
              fmt::format("{}: {}", key,
                          dropped ? "all threads for mount work are busy with mounts that do not "
                                    "answer"
                                  : "the FUSE server of this mount does not answer"));
}

bool PatientCaller::Idle() const {
  return state_->queue.With([](const State::Queue& q) { return q.busy.empty(); });
}

}  // namespace sluice::csi
