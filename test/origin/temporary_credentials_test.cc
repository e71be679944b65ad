// What servers answer who hand out credentials, read.
#include <random>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sluice/core/timestamp.h"

#include "credentials_json.h"
#include "identity_fixture.h"
#include "identity_fuzz.h"
#include "mutate_text.h"
#include "sts_xml.h"

namespace sluice::origin {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(CredentialsJsonTest, ReadsWhatAgentAndInstanceSay) {
  const auto read = ParseCredentialsJson(test::CredentialsJson("ASIA1", "2026-11-26T18:00:00Z"));
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->credentials.access_key_id, "ASIA1");
  EXPECT_EQ(read->credentials.secret_access_key.Reveal(), "secret-of-ASIA1");
  EXPECT_EQ(read->credentials.session_token.Reveal(), "session-of-ASIA1");
  EXPECT_EQ(FormatTime(read->expires), "2026-11-26T18:00:00Z");
}

TEST(StsXmlTest, ReadsAnAssumedRole) {
  const auto read = ParseAssumedRole(test::AssumedRoleXml("ASIA1", "2026-11-26T18:00:00Z"));
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->credentials.access_key_id, "ASIA1");
  EXPECT_EQ(read->credentials.secret_access_key.Reveal(), "secret-of-ASIA1");
  EXPECT_EQ(read->credentials.session_token.Reveal(), "session-of-ASIA1");
  EXPECT_EQ(FormatTime(read->expires), "2026-11-26T18:00:00Z");
}

TEST(StsXmlTest, ReadsTheCodeOfAnError) {
  EXPECT_EQ(ParseStsError(test::StsErrorXml("AccessDenied")), "AccessDenied");
  EXPECT_EQ(ParseStsError("<html>gateway"), "");
  EXPECT_EQ(ParseStsError(test::StsErrorXml("a\nb c")), "abc");
}

struct HostileAnswer {
  std::string name;
  std::string json;
  std::string message;
};
void PrintTo(const HostileAnswer& c, std::ostream* out) { *out << c.name; }

std::string Json4(const std::string& id, const std::string& secret, const std::string& token,
                  const std::string& end) {
  return fmt::format(
      R"({{"AccessKeyId":"{}","SecretAccessKey":"{}","Token":"{}","Expiration":"{}"}})", id, secret,
      token, end);
}

class HostileAnswerTest : public ::testing::TestWithParam<HostileAnswer> {};

TEST_P(HostileAnswerTest, IsRefusedWithoutAValueInTheMessage) {
  const auto read = ParseCredentialsJson(GetParam().json);
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code, Code::kUnavailable);
  EXPECT_THAT(read.error().message,
              AllOf(HasSubstr(GetParam().message), Not(HasSubstr("hunter2"))));
}

const std::string kEnd(test::kFarEnd);

INSTANTIATE_TEST_SUITE_P(
    Table, HostileAnswerTest,
    ::testing::Values(
        HostileAnswer{"Empty", "", "no JSON object"}, HostileAnswer{"List", "[]", "no JSON object"},
        HostileAnswer{"Deep", std::string(60'000, '['), "no JSON object"},
        HostileAnswer{"NoMember", "{}", "AccessKeyId is missing"},
        HostileAnswer{"Failed", R"({"Code":"AssumeRoleUnauthorizedAccess"})",
                      "says \"AssumeRoleUnauthorizedAccess\""},
        HostileAnswer{"OddCode", R"({"Code":"bad\r\ncode <x>"})", "says \"badcodex\""},
        HostileAnswer{"LineInId", Json4("A\\r\\nX: y", "hunter2", "t", kEnd), "AccessKeyId"},
        HostileAnswer{"CommaInId", Json4("A,b", "hunter2", "t", kEnd), "AccessKeyId"},
        HostileAnswer{"SlashInId", Json4("A/b", "hunter2", "t", kEnd), "AccessKeyId"},
        HostileAnswer{"LineInToken", Json4("A", "hunter2", "t\\nEvil: 1", kEnd), "session token"},
        HostileAnswer{"NulInSecret", Json4("A", "hunter2\\u0000", "t", kEnd), "SecretAccessKey"},
        HostileAnswer{"BlankInSecret", Json4("A", "hunter2 x", "t", kEnd), "SecretAccessKey"},
        HostileAnswer{"LongId", Json4(std::string(513, 'A'), "hunter2", "t", kEnd), "AccessKeyId"},
        HostileAnswer{"LongToken", Json4("A", "hunter2", std::string(20'000, 't'), kEnd),
                      "session token"},
        HostileAnswer{"NoToken", Json4("A", "hunter2", "", kEnd), "session token"},
        HostileAnswer{"NoEnd", Json4("A", "hunter2", "t", ""), "Expiration"},
        HostileAnswer{"OddEnd", Json4("A", "hunter2", "t", "tomorrow"), "Expiration"},
        HostileAnswer{"NumberAsId", R"({"AccessKeyId":7})", "AccessKeyId"}),
    [](const auto& row) { return row.param.name; });

TEST(StsXmlTest, RefusesHostileAnswers) {
  const std::string good = test::AssumedRoleXml("ASIA1");
  for (const std::string& bad :
       {std::string(), std::string("<html>"), good.substr(0, good.size() - 10),
        "<!DOCTYPE a [<!ENTITY b \"c\">]>" + good, test::AssumedRoleXml("A&#10;B"),
        test::AssumedRoleXml(std::string(600, 'A')), test::AssumedRoleXml("A", "never"),
        test::AssumedRoleXml(""), "<a>" + good + "</a>"}) {
    const auto read = ParseAssumedRole(bad);
    ASSERT_FALSE(read) << bad;
    EXPECT_EQ(read.error().code, Code::kUnavailable);
    EXPECT_THAT(read.error().message, Not(HasSubstr("secret-of")));
  }
}

// Changes, drops, doubles and inserts bytes; test/fuzz does so for longer.
TEST(IdentityFuzzTest, SurvivesMutatedAnswers) {
  std::mt19937 random(20261126);
  const std::vector<std::string> seeds = {test::CredentialsJson("ASIA1"),
                                          test::AssumedRoleXml("ASIA1"),
                                          test::StsErrorXml("AccessDenied")};
  const std::vector<std::string> tokens = {
      "\"", "\\n", "\\u0000", "&#10;", "<Credentials>", "</Credentials>", "{", "}", ",", "/"};
  for (int round = 0; round < 10000; ++round) {
    const std::string& seed = seeds[random() % seeds.size()];
    test::FuzzIdentity(test::Mutated(seed, tokens, 4, random));
  }
}

}  // namespace
}  // namespace sluice::origin
