#include "request.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include "credentials.h"

namespace sluice::pool {
namespace {

TEST(RequestTest, WritesTheMetaCommands) {
  EXPECT_EQ(GetRequest("k:1f", std::chrono::seconds(0), 7), "mg k:1f v c f s O7\r\n");
  EXPECT_EQ(GetRequest("k:1f", std::chrono::seconds(10), 8), "mg k:1f v c f s O8 N10\r\n");
  EXPECT_EQ(
      PutRequest(
          {.key = "k", .length = 4'194'304, .checksum = 4'294'967'295U, .lease = 5, .opaque = 9}),
      "ms k 4194304 T0 F4294967295 C5 O9\r\n");
  EXPECT_EQ(PutRequest({.key = "k", .length = 1, .keep = std::chrono::hours(24 * 365), .lease = 5}),
            "ms k 1 T2592000 F0 C5 O0\r\n")
      << "more than 30 days would be read as a date";
  EXPECT_EQ(PutRequest({.key = "k", .length = 1}), "ms k 1 T0 F0 ME O0\r\n")
      << "without a lease, only where there is nothing";
  EXPECT_EQ(RenewRequest("k", std::chrono::seconds(3), 5, 11), "ms k 0 T3 C5 c O11\r\n\r\n");
  EXPECT_EQ(DropRequest("k", 5, 10), "md k C5 O10\r\n");
  EXPECT_EQ(AuthRequest({"u", platform::Secret("secret")}), "set auth 0 0 8\r\nu secret\r\n");
}

TEST(RequestTest, KeysCannotEndAWordOrALine) {
  EXPECT_TRUE(IsKey("a"));
  EXPECT_TRUE(IsKey(std::string(250, 'k')));
  for (const std::string& bad :
       {std::string(), std::string(251, 'k'), std::string("a b"), std::string("a\r\nflush_all"),
        std::string("a\0b", 3), std::string("\xc3\xa4")}) {
    EXPECT_FALSE(IsKey(bad)) << bad;
  }
}

TEST(PoolCredentialsTest, ReadsTheFirstLine) {
  struct Case {
    std::string name;
    std::string text;
    std::string user;  // empty: refused
    std::string password;
  };
  const std::vector<Case> cases = {
      {"plain", "u:p", "u", "p"},
      {"line end", "u:p\n", "u", "p"},
      {"foreign line end", "u:p\r\nother:x\r\n", "u", "p"},
      {"colon in the password", "u:p:q\n", "u", "p:q"},
      {"empty", "", "", ""},
      {"no colon", "up\n", "", ""},
      {"no user", ":p\n", "", ""},
      {"no password", "u:\n", "", ""},
      {"a blank", "u:p q\n", "", ""},
      {"too long", "u:" + std::string(257, 'p'), "", ""},
  };
  std::string folder = ::testing::TempDir() + "credentials-XXXXXX";
  ASSERT_NE(::mkdtemp(folder.data()), nullptr);
  const std::string path = folder + "/file";
  for (const Case& c : cases) {
    std::ofstream(path) << c.text;
    const auto read = ReadPoolCredentials(path);
    ASSERT_EQ(read.has_value(), !c.user.empty()) << c.name;
    if (read) {
      EXPECT_EQ(read->user, c.user) << c.name;
      EXPECT_EQ(read->password.Reveal(), c.password) << c.name;
    } else {
      EXPECT_EQ(read.error().code, Code::kPermissionDenied) << c.name;
      EXPECT_NE(read.error().message.find(path), std::string::npos) << c.name;
      EXPECT_EQ(read.error().message.find("ppp"), std::string::npos) << "the secret itself";
    }
  }
  std::filesystem::remove_all(folder);
  EXPECT_EQ(ReadPoolCredentials(path).error().code, Code::kPermissionDenied);
}

}  // namespace
}  // namespace sluice::pool
