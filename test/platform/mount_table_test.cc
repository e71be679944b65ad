#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sluice/platform/mount.h"

namespace sluice::platform {
namespace {

TEST(MountTableTest, ReadsTheFieldsOfALine) {
  const auto table = ParseMountTable(
      "36 35 0:51 / /runtime-mnt/sluice/ns/m/sluice-fuse rw,nosuid shared:1 master:2 - fuse.sluice "
      "s3://bucket ro,user_id=0\n");
  ASSERT_TRUE(table.has_value());
  ASSERT_EQ(table->size(), 1U);
  const MountEntry& entry = table->front();
  EXPECT_EQ(entry.mount_point, "/runtime-mnt/sluice/ns/m/sluice-fuse");
  EXPECT_EQ(entry.fs_type, "fuse.sluice");
  EXPECT_EQ(entry.source, "s3://bucket");
  EXPECT_EQ(entry.root, "/");
  EXPECT_EQ(entry.major, 0U);
  EXPECT_EQ(entry.minor, 51U);
  EXPECT_TRUE(entry.read_only);
}

TEST(MountTableTest, UnescapesNamesSoThatTheyCannotForgeLinesOrFields) {
  const auto table =
      ParseMountTable("1 0 0:5 / /a\\040-\\040fuse\\012b\\134c\\011d rw - tmpfs tmp\\040fs rw\n");
  ASSERT_TRUE(table.has_value());
  ASSERT_EQ(table->size(), 1U);
  EXPECT_EQ(table->front().mount_point, "/a - fuse\nb\\c\td");
  EXPECT_EQ(table->front().source, "tmp fs");
  EXPECT_FALSE(table->front().read_only);
}

TEST(MountTableTest, KeepsOtherBackslashesAndByteValues) {
  const auto table = ParseMountTable("1 0 0:5 / /x\\08\\777\\1 rw - tmpfs none rw\n");
  ASSERT_TRUE(table.has_value());
  EXPECT_EQ(table->front().mount_point, "/x\\08\xff\\1");
}

TEST(MountTableTest, TakesAnEmptySource) {
  const auto table = ParseMountTable("1 0 0:5 / /x rw - tmpfs  ro\n");
  ASSERT_TRUE(table.has_value());
  EXPECT_EQ(table->front().source, "");
  EXPECT_TRUE(table->front().read_only);
}

TEST(MountTableTest, DoesNotTakeRootfsOrErrorsRoForReadOnly) {
  const auto table =
      ParseMountTable("1 0 8:1 / / rw,relatime - ext4 /dev/ro rw,errors=remount-ro\n");
  ASSERT_TRUE(table.has_value());
  EXPECT_FALSE(table->front().read_only);
}

struct Malformed {
  const char* name;
  std::string text;
};
void PrintTo(const Malformed& c, std::ostream* out) { *out << c.name; }

class MalformedMountTableTest : public testing::TestWithParam<Malformed> {};

TEST_P(MalformedMountTableTest, NamesTheLine) {
  const auto table = ParseMountTable("1 0 0:5 / /x rw - tmpfs none rw\n" + GetParam().text);
  ASSERT_FALSE(table.has_value());
  EXPECT_EQ(table.error().code, Code::kInternal);
  EXPECT_THAT(table.error().message, testing::HasSubstr("line 2"));
}

INSTANTIATE_TEST_SUITE_P(
    Lines, MalformedMountTableTest,
    testing::Values(Malformed{"NoDash", "1 0 0:5 / /x rw tmpfs none rw"}, Malformed{"Short", "1 0"},
                    Malformed{"DashEarly", "1 0 0:5 - tmpfs none rw"},
                    Malformed{"NothingAfterDash", "1 0 0:5 / /x rw -"},
                    Malformed{"DeviceWithoutColon", "1 0 05 / /x rw - tmpfs none rw"},
                    Malformed{"DeviceNotANumber", "1 0 a:5 / /x rw - tmpfs none rw"},
                    Malformed{"DeviceTooLarge", "1 0 0:99999999999 / /x rw - tmpfs none rw"},
                    Malformed{"DeviceNegative", "1 0 0:-5 / /x rw - tmpfs none rw"},
                    Malformed{"OnlySpaces", "     "},
                    Malformed{"NulBytes", std::string("\0\0\0 \0", 5)}),
    [](const auto& test) { return test.param.name; });

TEST(MountTableTest, AcceptsNothing) {
  const auto table = ParseMountTable("");
  ASSERT_TRUE(table.has_value());
  EXPECT_TRUE(table->empty());
}

TEST(MountTableTest, ReadsThisMachine) {
  const auto root = FindMount("/");
  ASSERT_TRUE(root.has_value());
  const auto missing = FindMount("/no/such/mount");
  ASSERT_FALSE(missing.has_value());
  EXPECT_EQ(missing.error().code, Code::kNotFound);
}

}  // namespace
}  // namespace sluice::platform
