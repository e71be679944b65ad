#include "sluice/certs/worker_secrets.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sluice/certs/base64.h"

#include "fake_cluster.h"

namespace sluice::certs {
namespace {

using testing::HasSubstr;
using testing::UnorderedElementsAre;

const WallTime kBegin = WallTime(std::chrono::seconds(1'767'225'600));

Json Skeleton(const char* name) {
  return {{"apiVersion", "v1"},
          {"kind", "Secret"},
          {"metadata",
           {{"namespace", "ns"},
            {"name", name},
            {"ownerReferences", Json::array({{{"kind", "SluiceRuntime"}, {"uid", "r"}}})}}}};
}

class WorkerSecretsTest : public testing::Test {
 protected:
  Result<bool> Ensure(WallTime now = kBegin) { return EnsureWorkerSecrets(cluster_, wanted_, now); }
  Json Data(const char* name) { return cluster_.Get(resources::kSecret, {"ns", name})->at("data"); }
  static std::vector<std::string> Keys(const Json& data) {
    std::vector<std::string> keys;
    for (const auto& [key, value] : data.items()) keys.push_back(key);
    return keys;
  }

  test::FakeCluster cluster_;
  WorkerSecrets wanted_{.authority = Skeleton("demo-worker-ca"),
                        .worker = Skeleton("demo-worker-tls"),
                        .client = Skeleton("demo-client-tls"),
                        .domain = "demo-worker.ns.svc"};
};

TEST_F(WorkerSecretsTest, TheAuthoritysKeyIsInASecretOfItsOwn) {
  const auto issued = Ensure();
  ASSERT_TRUE(issued) << issued.error().message;
  EXPECT_TRUE(*issued);
  const Json authority = Data("demo-worker-ca");
  EXPECT_THAT(Keys(authority), UnorderedElementsAre("tls.crt", "tls.key"));
  for (const char* name : {"demo-worker-tls", "demo-client-tls"}) {
    const Json data = Data(name);
    EXPECT_THAT(Keys(data), UnorderedElementsAre("ca.crt", "tls.crt", "tls.key")) << name;
    EXPECT_EQ(data["ca.crt"], authority["tls.crt"]);
    EXPECT_NE(data["tls.key"], authority["tls.key"]);
    EXPECT_EQ(StringAt(*cluster_.Get(resources::kSecret, {"ns", name}),
                       "/metadata/ownerReferences/0/uid"),
              "r");
  }
}

TEST_F(WorkerSecretsTest, WhatIsGoodIsOnlyRead) {
  ASSERT_TRUE(Ensure());
  const auto writes = cluster_.Writes();
  EXPECT_EQ(*Ensure(), false);
  EXPECT_EQ(*Ensure(kBegin + std::chrono::days(100)), false);
  EXPECT_EQ(cluster_.Writes(), writes);
}

TEST_F(WorkerSecretsTest, WhatEndsIsRenewedInPlace) {
  ASSERT_TRUE(Ensure());
  const Json authority = Data("demo-worker-ca");
  const Json worker = Data("demo-worker-tls");
  EXPECT_EQ(*Ensure(kBegin + std::chrono::days(300)), true);
  EXPECT_EQ(Data("demo-worker-ca"), authority);
  EXPECT_NE(Data("demo-worker-tls")["tls.crt"], worker["tls.crt"]);
  // The next authority is trusted before it signs.
  EXPECT_EQ(*Ensure(kBegin + std::chrono::days(3650 - 700)), true);
  EXPECT_EQ(Data("demo-worker-ca")["tls.crt"], authority["tls.crt"]);
  EXPECT_TRUE(Data("demo-worker-ca").contains("next.key"));
  EXPECT_NE(Data("demo-worker-tls")["ca.crt"], worker["ca.crt"]);
  EXPECT_EQ(*Ensure(kBegin + std::chrono::days(3650 - 300)), true);
  EXPECT_TRUE(Data("demo-worker-ca").contains("former.crt"));
}

TEST_F(WorkerSecretsTest, ASecretOfSomebodyElseIsNotTouched) {
  Json theirs = Skeleton("demo-client-tls");
  theirs["metadata"].erase("ownerReferences");
  theirs["data"] = {{"tls.key", EncodeBase64("theirs")}};
  ASSERT_TRUE(cluster_.Create(resources::kSecret, theirs));
  const auto issued = Ensure();
  ASSERT_FALSE(issued);
  EXPECT_EQ(issued.error().code, Code::kAlreadyExists);
  EXPECT_THAT(issued.error().message, HasSubstr("Secret ns/demo-client-tls exists already"));
  EXPECT_EQ(Data("demo-client-tls"), theirs["data"]);
}

TEST_F(WorkerSecretsTest, ALostRaceIsRunAgain) {
  ASSERT_TRUE(Ensure());
  int conflicts = 2;
  cluster_.OnRequest([&](const std::string& request) -> Status {
    if (!request.starts_with("replace") || conflicts-- <= 0) return Ok();
    return Fail(Code::kConflict, "changed meanwhile");
  });
  const auto issued = Ensure(kBegin + std::chrono::days(300));
  ASSERT_TRUE(issued) << issued.error().message;
  EXPECT_TRUE(*issued);
}

TEST_F(WorkerSecretsTest, CutOffAtAnyRequestTheNextRoundSetsItRight) {
  for (int cut = 1; cut <= 6; ++cut) {
    int request = 0;
    cluster_.OnRequest([&](const std::string&) -> Status {
      return ++request == cut ? Status(Fail(Code::kUnavailable, "cut")) : Ok();
    });
    EXPECT_FALSE(Ensure()) << cut;
    cluster_.OnRequest({});
    ASSERT_TRUE(Ensure()) << cut;
    EXPECT_EQ(Data("demo-worker-tls")["ca.crt"], Data("demo-worker-ca")["tls.crt"]) << cut;
    EXPECT_EQ(*Ensure(), false) << cut;
    for (const char* name : {"demo-worker-ca", "demo-worker-tls", "demo-client-tls"}) {
      ASSERT_TRUE(cluster_.Delete(resources::kSecret, {"ns", name}));
    }
  }
}

}  // namespace
}  // namespace sluice::certs
