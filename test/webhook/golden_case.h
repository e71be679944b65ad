// Cases of test/golden/injection: a folder each.
//
//   about.txt         one line: what the case shows
//   review.json       the AdmissionReview; or
//   http.json         {method, contentType, body} for what is no proper request
//   settings.json     optional: {placement, failurePolicy, sluiceImage, …}
//   answer.json       what comes back: allowed, code, message, mode, reasons, warnings
//   patched_pod.json  the pod after the patch, when there is one
//   difference.txt    optional: where and why the answer is not Fluid's
//
// cluster.json beside the folders is the state of all of them. UPDATE_GOLDEN=1 rewrites answer.json
// and patched_pod.json.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "sluice/core/injection.h"

namespace sluice::test {

struct GoldenCase {
  std::string name;
  std::optional<Json> review;
  std::optional<Json> http;
  injection::Settings settings;
  std::optional<Json> answer;
  std::optional<Json> patched_pod;
  std::vector<std::string> unknown_files;

  [[nodiscard]] std::string Directory() const;
};

std::string GoldenRoot();
std::string ReadFile(const std::string& path);
std::vector<std::string> GoldenCaseNames();
GoldenCase LoadGoldenCase(const std::string& name);
bool UpdatesGolden();
// Writes the expected files of the case, or removes one that has nothing to say.
void WriteGolden(const GoldenCase& golden, const Json& answer,
                 const std::optional<Json>& patched_pod);

}  // namespace sluice::test
