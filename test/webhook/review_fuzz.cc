#include "review_fuzz.h"

#include <cstdint>
#include <cstdlib>

#include "sluice/webhook/admission.h"
#include "sluice/yaml/file_objects.h"

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

}  // namespace

void FuzzReview(std::string_view body) {
  static const Fixture kFixture;
  const std::string answer = kFixture.admission.Serve("application/json", body);
  // The answer must itself be a document whatever bytes came in.
  if (Json::parse(answer, nullptr, false).is_discarded()) std::abort();
}

}  // namespace sluice::test

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  sluice::test::FuzzReview({reinterpret_cast<const char*>(data), size});
  return 0;
}
