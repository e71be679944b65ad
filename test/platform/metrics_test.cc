#include "sluice/platform/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sluice::platform {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(MetricsTest, AGaugeEndsWithItsSubject) {
  Metrics metrics;
  metrics.AddGauge("up", "Help.", {{"worker", "a"}}).Set(1);
  metrics.AddGauge("up", "Help.", {{"worker", "b"}}).Set(1);
  metrics.RemoveGauge("up", {{"worker", "a"}});
  metrics.RemoveGauge("up", {{"worker", "never there"}});
  metrics.RemoveGauge("nor this", {});
  EXPECT_THAT(metrics.Render(), Not(HasSubstr("worker=\"a\"")));
  EXPECT_THAT(metrics.Render(), HasSubstr("up{worker=\"b\"} 1"));
  EXPECT_THAT(metrics.Render(), Not(HasSubstr("nor this")));
  metrics.AddGauge("up", "Help.", {{"worker", "a"}});
  EXPECT_THAT(metrics.Render(), HasSubstr("up{worker=\"a\"} 0"));
}

}  // namespace
}  // namespace sluice::platform
