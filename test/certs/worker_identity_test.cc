#include "sluice/certs/worker_identity.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sluice/platform/openssl.h"

namespace sluice::certs {
namespace {

using std::chrono::days;
using testing::HasSubstr;
using testing::Not;

constexpr const char* kDomain = "demo-worker.ns.svc";
const WallTime kStart = WallTime(std::chrono::seconds(1'767'225'600));

// Whether a worker or client that trusts `trusting` accepts the pair of `shown`.
bool Trusts(const WorkerIdentity& trusting, const KeyPair& shown, WallTime now) {
  for (const std::string& authority :
       {trusting.authority.certificate, trusting.next.certificate, trusting.former}) {
    const Policy at_all{.renew_serving_before = std::chrono::seconds(0)};
    if (ClientProblem(shown, authority, now, at_all).empty()) return true;
  }
  return false;
}

WorkerIdentity Renew(const WorkerIdentity& current, WallTime now) {
  auto renewed = RenewWorkerIdentity(current, kDomain, now);
  EXPECT_TRUE(renewed) << (renewed ? "" : renewed.error().message);
  return renewed.value_or(WorkerIdentity{});
}

TEST(WorkerIdentityTest, IsIssuedOnceForWorkersAndClients) {
  const WorkerIdentity identity = Renew({}, kStart);
  for (const char* name : {"demo-worker-0.demo-worker.ns.svc", "demo-worker.ns.svc"}) {
    EXPECT_EQ(ServingProblem({identity.authority, identity.worker}, name, kStart), "") << name;
  }
  for (const char* name : {"demo-worker-0.demo-worker.other.svc", "a.b.demo-worker.ns.svc"}) {
    EXPECT_THAT(ServingProblem({identity.authority, identity.worker}, name, kStart),
                HasSubstr("does not name"))
        << name;
  }
  EXPECT_EQ(ClientProblem(identity.client, identity.authority.certificate, kStart), "");
  EXPECT_EQ(platform::ParseCertificates(TrustedAuthorities(identity)).size(), 1U);
  EXPECT_EQ(Renew(identity, kStart), identity);
  EXPECT_EQ(Renew(identity, kStart + days(200)), identity);
}

TEST(WorkerIdentityTest, ANewPairIsOfTheSameAuthority) {
  const WorkerIdentity first = Renew({}, kStart);
  const WorkerIdentity second = Renew(first, kStart + days(300));
  EXPECT_EQ(second.authority, first.authority);
  EXPECT_NE(second.worker, first.worker);
  EXPECT_NE(second.client, first.client);
}

TEST(WorkerIdentityTest, WhatIsWrongIsReplacedAndNothingElse) {
  const WorkerIdentity good = Renew({}, kStart);
  WorkerIdentity bad = good;
  bad.client.key = "no key";
  WorkerIdentity again = Renew(bad, kStart);
  EXPECT_EQ(again.worker, good.worker);
  EXPECT_EQ(again.authority, good.authority);
  EXPECT_NE(again.client, bad.client);
  // The runtime was made anew under another name, say.
  const auto moved = RenewWorkerIdentity(good, "other-worker.ns.svc", kStart);
  ASSERT_TRUE(moved);
  EXPECT_EQ(moved->client, good.client);
  EXPECT_NE(moved->worker, good.worker);
  // All that a lost authority has signed is signed anew.
  bad = good;
  bad.authority = {};
  again = Renew(bad, kStart);
  EXPECT_NE(again.worker, good.worker);
  EXPECT_NE(again.client, good.client);
  EXPECT_TRUE(Trusts(again, again.worker, kStart));
}

// Workers load their files within the last days of what they show, clients within some days: at no
// time may one side show what the other one does not trust.
TEST(WorkerIdentityTest, NobodyIsRefusedWhileAuthoritiesFollowOneAnother) {
  WorkerIdentity now_current = Renew({}, kStart);
  WorkerIdentity loaded = now_current;  // by a worker
  WallTime loaded_end = *NotAfter(loaded.worker.certificate);
  WorkerIdentity client = now_current;  // as a client has it that lags
  int authorities = 1;
  for (int day = 0; day < 11 * 365; day += 15) {
    const WallTime now = kStart + days(day);
    const WorkerIdentity before = now_current;
    now_current = Renew(now_current, now);
    if (before.authority != now_current.authority) ++authorities;
    ASSERT_TRUE(Trusts(loaded, client.client, now)) << day;
    ASSERT_TRUE(Trusts(loaded, now_current.client, now)) << day;
    ASSERT_TRUE(Trusts(client, loaded.worker, now)) << day;
    ASSERT_TRUE(Trusts(now_current, loaded.worker, now)) << day;
    ASSERT_LE(platform::ParseCertificates(TrustedAuthorities(now_current)).size(), 3U);
    client = now_current;
    if (loaded_end - now > days(20)) continue;  // as late as that
    loaded = now_current;
    loaded_end = *NotAfter(loaded.worker.certificate);
  }
  EXPECT_EQ(authorities, 2);
}

}  // namespace
}  // namespace sluice::certs
