#include "sluice/core/timestamp.h"

#include <gtest/gtest.h>

namespace sluice {
namespace {

using std::chrono::seconds;
using std::chrono::system_clock;

TEST(TimestampTest, WritesAndReadsBack) {
  const system_clock::time_point time{seconds(1795400000)};
  EXPECT_EQ(FormatTime(time), "2026-11-23T02:13:20Z");
  EXPECT_EQ(FormatMicroTime(time + std::chrono::microseconds(7)), "2026-11-23T02:13:20.000007Z");
  EXPECT_EQ(ParseTime(FormatTime(time)), time);
  EXPECT_EQ(ParseTime("2026-11-23T02:13:20.123456Z"), time);
  EXPECT_EQ(ParseTime("2024-02-29T00:00:00Z"), system_clock::time_point(seconds(1709164800)));
}

TEST(TimestampTest, TakesTheNearestOfTimesThatItCannotHold) {
  EXPECT_EQ(TimeFromUnix(1795400000), system_clock::time_point(seconds(1795400000)));
  EXPECT_EQ(FormatTime(TimeFromUnix(INT64_MAX)), "2262-04-11T23:47:15Z");
  EXPECT_EQ(FormatTime(TimeFromUnix(INT64_MIN)), "1677-09-21T00:12:45Z");
  // "No end", as certificates say it.
  EXPECT_EQ(ParseTime("9999-12-31T23:59:59Z"), TimeFromUnix(INT64_MAX));
}

TEST(TimestampTest, RefusesOtherText) {
  for (const char* text : {"", "Z", "2026-11-23", "2026-11-23T02:13:20", "2026-02-30T00:00:00Z",
                           "2026-11-23T25:00:00Z", "2026-11-23T02:13:20+01:00",
                           "x026-11-23T02:13:20Z", "2026-11-23T02:13:20xZ"}) {
    EXPECT_FALSE(ParseTime(text)) << text;
  }
}

TEST(TimestampTest, DurationsAsGoWritesThem) {
  EXPECT_EQ(FormatDuration(seconds(0)), "0s");
  EXPECT_EQ(FormatDuration(seconds(75)), "1m15s");
  EXPECT_EQ(FormatDuration(seconds(7205)), "2h0m5s");
}

}  // namespace
}  // namespace sluice
