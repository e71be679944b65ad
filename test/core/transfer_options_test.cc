#include "sluice/core/transfer_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sluice/core/mount_options.h"

namespace sluice {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

MountConfig MountWith(std::map<std::string, std::string> options) {
  MountConfig mount;
  mount.mount_point = "file:///data";
  mount.options = std::move(options);
  return mount;
}

TEST(TransferOptionsTest, NothingSaidLimitsNothing) {
  const auto options = ResolveTransferOptions(MountWith({}));
  ASSERT_TRUE(options) << options.error().message;
  EXPECT_EQ(options->max_connections, 0U);
  EXPECT_EQ(options->bytes_per_second, 0U);
  EXPECT_TRUE(options->hedge);
}

TEST(TransferOptionsTest, ReadsWhatIsSaid) {
  const auto options = ResolveTransferOptions(
      MountWith({{"maxConnections", "32"}, {"bandwidth", "200Mi"}, {"hedge", "false"}}));
  ASSERT_TRUE(options) << options.error().message;
  EXPECT_EQ(options->max_connections, 32U);
  EXPECT_EQ(options->bytes_per_second, 200U << 20);
  EXPECT_FALSE(options->hedge);
  EXPECT_EQ(ResolveTransferOptions(MountWith({{"bandwidth", "1e8"}}))->bytes_per_second,
            100'000'000U);
}

TEST(TransferOptionsTest, WhatIsWrongIsNamedWithItsFix) {
  struct Case {
    const char* option;
    const char* value;
    const char* fix;
  };
  for (const Case& c :
       {Case{"maxConnections", "0", "a whole number from 1 to 1024"},
        Case{"maxConnections", "1025", "a whole number from 1 to 1024"},
        Case{"maxConnections", "4x", "a whole number from 1 to 1024"},
        Case{"maxConnections", "-1", "a whole number from 1 to 1024"},
        Case{"bandwidth", "fast", "for example 200Mi"}, Case{"bandwidth", "200", "1Mi or more"},
        Case{"bandwidth", "200Mi/s", "for example 200Mi"}, Case{"bandwidth", "0", "leave it out"},
        Case{"hedge", "no", "true or false"}}) {
    const MountConfig mount = MountWith({{c.option, c.value}});
    const auto options = ResolveTransferOptions(mount);
    ASSERT_FALSE(options) << c.option << " " << c.value;
    EXPECT_EQ(options.error().code, Code::kInvalidArgument);
    EXPECT_THAT(options.error().message, AllOf(HasSubstr("file:///data"), HasSubstr(c.option),
                                               HasSubstr(c.value), HasSubstr(c.fix)));
    EXPECT_EQ(CheckMountOptions(mount).error().message, options.error().message);
  }
}

}  // namespace
}  // namespace sluice
