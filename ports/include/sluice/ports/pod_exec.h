// Commands run inside containers of pods. The adapter is kube/exec.h, the fake
// test/support/fake_pod_exec.h.
#pragma once

#include <string>
#include <vector>

#include "sluice/core/resource.h"
#include "sluice/core/result.h"

namespace sluice {

struct ExecRequest {
  ObjectKey pod;
  std::string container;
  std::vector<std::string> command;  // executed as it is, by no shell
};

struct ExecOutcome {
  int exit_code = 0;
  // The beginning of what the command wrote; the rest is dropped.
  std::string output = {};
  std::string errors = {};
};

// Every call has a deadline of its own (set at construction), is made once and may be made from any
// thread. A command that ends is an outcome, whatever its exit code. Errors: the command did not
// start, or its end did not become known (the container may have ended meanwhile): kNotFound 404,
// kInvalidArgument 400/422, kPermissionDenied 401/403, kUnavailable, kDeadlineExceeded.
class PodExec {
 public:
  virtual ~PodExec() = default;
  virtual Result<ExecOutcome> Run(const ExecRequest& request) = 0;
};

}  // namespace sluice
