#include "review_fuzz.h"

#include "sluice/certs/base64.h"
#include "sluice/core/json_access.h"
#include "sluice/webhook/admission.h"
#include "sluice/yaml/file_objects.h"

#include "demand.h"
#include "golden_case.h"
#include "manual_clock.h"

namespace sluice::test {
namespace {

struct Fixture {
  std::unique_ptr<yaml::FileObjects> state =
      *yaml::FileObjects::Load(GoldenRoot() + "/cluster.json");
  ManualClock clock;
  platform::Metrics metrics;
  webhook::Admission admission{{.state = *state,
                                .clock = clock,
                                .metrics = metrics,
                                // Only the outcome matters here.
                                .log = platform::Log("fuzz", platform::LogLevel::kError)},
                               injection::DefaultSettings()};
};

// What the API server does with the answer.
void ApplyAnswer(std::string_view body, const std::string& text) {
  const Json review = Json::parse(text, nullptr, false);
  Demand(review.is_object(), "the answer is a document", text);
  const Json& response = ChildOf(review, "response");
  Demand(response.contains("allowed") && ChildOf(response, "status").contains("code"),
         "the answer decides", text);
  if (!response.contains("patch")) return;
  Demand(FlagOf(response, "allowed"), "only an admitted pod is patched", text);
  const auto bytes = certs::DecodeBase64(StringOf(response, "patch"));
  Demand(bytes.has_value(), "the patch is base64", text);
  const Json patch = Json::parse(*bytes, nullptr, false);
  Demand(patch.is_array() && !patch.empty(), "the patch is a list", text);
  // Throws when it cannot be applied.
  (void)Json::parse(body)["request"]["object"].patch(patch);
}

}  // namespace

void FuzzReview(std::string_view body) {
  static const Fixture kFixture;
  const std::string answer = kFixture.admission.Serve("application/json", body);
  Demand(answer == kFixture.admission.Serve("application/json", body), "one answer", answer);
  ApplyAnswer(body, answer);
}

}  // namespace sluice::test
