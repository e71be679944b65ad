#include "sluice/core/quantity.h"

#include <gtest/gtest.h>

namespace sluice {
namespace {

TEST(QuantityTest, ReadsWhatKubernetesWrites) {
  struct Case {
    const char* text;
    std::uint64_t bytes;
  };
  for (const Case& c :
       {Case{"0", 0}, Case{"1024", 1024}, Case{"2Gi", 2ULL << 30}, Case{"500M", 500'000'000},
        Case{"0.5Ti", 1ULL << 39}, Case{"1k", 1000}, Case{"1e3", 1000}, Case{"2E3", 2000},
        Case{"1Ei", 1ULL << 60}, Case{"1E", 1'000'000'000'000'000'000}, Case{"1.5", 2}}) {
    const auto bytes = ParseBytes(c.text);
    ASSERT_TRUE(bytes) << c.text;
    EXPECT_EQ(*bytes, c.bytes) << c.text;
  }
}

TEST(QuantityTest, RefusesEverythingElse) {
  for (const char* text : {"", " ", "-1", "Gi", "1 Gi", "1GB", "1gi", "nan", "inf", "1e", "1e999",
                           "9999999Ei", "0x10", "1Gi ", "+1"}) {
    const auto bytes = ParseBytes(text);
    ASSERT_FALSE(bytes) << text;
    EXPECT_EQ(bytes.error().code, Code::kInvalidArgument);
  }
}

TEST(QuantityTest, WritesTheShortestExactText) {
  EXPECT_EQ(FormatBytes(0), "0");
  EXPECT_EQ(FormatBytes(1000), "1000");
  EXPECT_EQ(FormatBytes(384ULL << 20), "384Mi");
  EXPECT_EQ(FormatBytes(1ULL << 30), "1Gi");
  for (const std::uint64_t bytes : {1ULL, 1023ULL, 1024ULL, 3ULL << 33, 7ULL << 50}) {
    EXPECT_EQ(*ParseBytes(FormatBytes(bytes)), bytes);
  }
}

}  // namespace
}  // namespace sluice
