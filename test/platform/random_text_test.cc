#include "sluice/platform/random_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sluice::platform {
namespace {

TEST(RandomTextTest, HasTheLengthAskedForAndOnlyHexadecimalDigits) {
  const auto text = RandomText(32);
  ASSERT_TRUE(text);
  EXPECT_THAT(*text, testing::MatchesRegex("[0-9a-f]+"));
  EXPECT_EQ(text->size(), 64U);
}

TEST(RandomTextTest, IsFreshEachTime) { EXPECT_NE(*RandomText(32), *RandomText(32)); }

}  // namespace
}  // namespace sluice::platform
