// Any JSON as a pod; the first byte chooses settings and namespace.
#include <string>

#include "sluice/webhook/review.h"

#include "json_mutator.h"
#include "judge_pod.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const sluice::test::Situation situation = sluice::test::SituationOf(data[0]);
  // Through the decoder: injection sees only what it lets through.
  std::string body = R"({"request":{"object":)";
  body.append(reinterpret_cast<const char*>(data) + 1, size - 1);
  body += "}}";
  const auto decoded = sluice::webhook::DecodeReview("application/json", body);
  if (!decoded.request) return 0;
  sluice::test::JudgePod(decoded.request->object, situation.ns, situation.settings);
  return 0;
}

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size,
                                               std::size_t max_size, unsigned seed) {
  return sluice::test::MutateJson(data, size, max_size, seed, 1);
}
