#include <iostream>

#include "verbs.h"

namespace sluice::cli {

int Report(const Error& error, const char* next_step) {
  std::cerr << "sluice: " << error.message << '\n';
  if (next_step[0] != '\0') std::cerr << "        " << next_step << '\n';
  return error.code == Code::kInvalidArgument ? kUsage : kFailure;
}

}  // namespace sluice::cli
