#include "crc32c.h"

#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "fake_origin.h"

namespace sluice::cache {
namespace {

struct Case {
  const char* name;
  std::string bytes;
  std::uint32_t crc;
};
void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

class Crc32cTable : public ::testing::TestWithParam<Case> {};

TEST_P(Crc32cTable, GivesThePublishedValue) {
  const auto bytes = std::as_bytes(std::span(GetParam().bytes));
  EXPECT_EQ(Crc32c(bytes), GetParam().crc);
  EXPECT_EQ(Crc32cPortable(bytes), GetParam().crc);
}

std::string Counting(int from, int step) {
  std::string bytes;
  for (int i = 0; i < 32; ++i) bytes += static_cast<char>(from + step * i);
  return bytes;
}

// RFC 3720, appendix B.4, and the usual check string.
INSTANTIATE_TEST_SUITE_P(Vectors, Crc32cTable,
                         ::testing::Values(Case{"Empty", "", 0},
                                           Case{"Check", "123456789", 0xe3069283U},
                                           Case{"Zeros", std::string(32, '\0'), 0x8a9136aaU},
                                           Case{"Ones", std::string(32, '\xff'), 0x62a8ab43U},
                                           Case{"Ascending", Counting(0, 1), 0x46dd794eU},
                                           Case{"Descending", Counting(31, -1), 0x113fdb5cU}),
                         [](const auto& row) { return std::string(row.param.name); });

TEST(Crc32cTest, BothWaysAgreeAtEveryLengthAndCut) {
  const auto content = sluice::testing::MakeContent(300, 5);
  const std::span<const std::byte> bytes(content);
  for (std::size_t n = 0; n < bytes.size(); ++n) {
    const std::uint32_t whole = Crc32c(bytes.first(n));
    EXPECT_EQ(whole, Crc32cPortable(bytes.first(n)));
    EXPECT_EQ(whole, Crc32c(bytes.subspan(n / 3, n - n / 3), Crc32c(bytes.first(n / 3))));
  }
}

// Long enough for the lanes that go side by side, at every alignment and with every kind of rest.
TEST(Crc32cTest, BothWaysAgreeOnLongBytes) {
  const auto content = sluice::testing::MakeContent(256 << 10, 6);
  const std::span<const std::byte> bytes(content);
  for (std::size_t n = 24'000; n < 80'000; n += 131) {
    const auto part = bytes.subspan(n % 17, n);
    const std::uint32_t whole = Crc32c(part);
    ASSERT_EQ(whole, Crc32cPortable(part)) << n;
    ASSERT_EQ(whole, Crc32c(part.subspan(n / 3), Crc32c(part.first(n / 3)))) << n;
  }
  EXPECT_EQ(Crc32c(bytes), Crc32cPortable(bytes));
}

}  // namespace
}  // namespace sluice::cache
