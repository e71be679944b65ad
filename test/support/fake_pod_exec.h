// Commands in containers, answered by the test.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "sluice/platform/guarded.h"
#include "sluice/ports/pod_exec.h"

namespace sluice::test {

class FakePodExec final : public PodExec {
 public:
  using Answer = std::function<Result<ExecOutcome>(const ExecRequest&)>;
  explicit FakePodExec(Answer answer = [](const ExecRequest&) { return ExecOutcome{}; })
      : answer_(std::move(answer)) {}

  Result<ExecOutcome> Run(const ExecRequest& request) override {
    auto outcome = answer_(request);
    requests_.With([&](auto& requests) { requests.push_back(request); });
    requests_.Notify();
    return outcome;
  }
  [[nodiscard]] std::vector<ExecRequest> Requests() const {
    return requests_.With([](const auto& requests) { return requests; });
  }
  bool AwaitRequests(std::size_t count, std::chrono::seconds time = std::chrono::seconds(20)) {
    return requests_.WaitUntil(std::chrono::steady_clock::now() + time,
                               [&](const auto& requests) { return requests.size() >= count; });
  }

 private:
  const Answer answer_;
  platform::Guarded<std::vector<ExecRequest>> requests_;
};

}  // namespace sluice::test
