// When temporary credentials are renewed, and what is given out meanwhile.
#include "renewed_credentials.h"

#include <deque>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "manual_clock.h"

namespace sluice::origin {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::AllOf;
using ::testing::HasSubstr;

// Answers as told; waits in Ask while it is held.
class ScriptedSource final : public CredentialsSource {
 public:
  struct Script {
    std::deque<Result<TemporaryCredentials>> answers;  // the last one is repeated
    bool held = false;
    unsigned asked = 0;
  };
  explicit ScriptedSource(platform::Guarded<Script>& script) : script_(script) {}

  Result<TemporaryCredentials> Ask(std::chrono::steady_clock::time_point deadline,
                                   const std::stop_token& stop) override {
    script_.With([](Script& script) { ++script.asked; });
    script_.Notify();
    script_.WaitUntil(deadline, stop, [](const Script& script) { return !script.held; });
    return script_.With([](Script& script) {
      auto answer = script.answers.front();
      if (script.answers.size() > 1) script.answers.pop_front();
      return answer;
    });
  }
  [[nodiscard]] std::string_view Name() const override { return "scripted"; }
  [[nodiscard]] std::string Place() const override { return "http://who.gives"; }

 private:
  platform::Guarded<Script>& script_;
};

class RenewedCredentialsTest : public ::testing::Test {
 protected:
  RenewedCredentialsTest() { limits_.first_backoff = limits_.max_backoff = milliseconds(1); }

  // Credentials that end so long after the clock's time.
  Result<TemporaryCredentials> Lasting(const std::string& id, seconds life) {
    TemporaryCredentials fresh;
    fresh.credentials = {id, platform::Secret("hunter2"), platform::Secret("session")};
    fresh.expires = clock_.WallNow() + life;
    return fresh;
  }
  static Result<TemporaryCredentials> Failing(Code code) { return Fail(code, "out: mend it"); }

  void Answers(std::deque<Result<TemporaryCredentials>> answers) {
    script_.With([&](ScriptedSource::Script& script) { script.answers = std::move(answers); });
  }
  void Hold(bool held) {
    script_.With([&](ScriptedSource::Script& script) { script.held = held; });
    script_.Notify();
  }
  unsigned Asked() {
    return script_.With([](const ScriptedSource::Script& script) { return script.asked; });
  }
  // Whether it comes to so many questions.
  bool IsAsked(unsigned times) {
    return script_.WaitUntil(
        std::chrono::steady_clock::now() + seconds(20),
        [&](const ScriptedSource::Script& script) { return script.asked >= times; });
  }
  void Open() {
    provider_ = std::make_unique<RenewedCredentials>(std::make_unique<ScriptedSource>(script_),
                                                     limits_, clock_, metrics_, log_);
  }
  // What Current() says once it says this, or last.
  template <typename Wanted>
  Result<SharedCredentials> CurrentThat(Wanted&& wanted) {
    const auto deadline = std::chrono::steady_clock::now() + seconds(20);
    auto current = provider_->Current();
    while (!wanted(current) && std::chrono::steady_clock::now() < deadline) {
      std::this_thread::sleep_for(milliseconds(1));
      current = provider_->Current();
    }
    return current;
  }
  Result<SharedCredentials> Settled() {
    return CurrentThat([](const auto& current) { return !current || *current != nullptr; });
  }
  std::string Id(const Result<SharedCredentials>& current) {
    if (!current) return current.error().message;
    return *current == nullptr ? "pending" : (*current)->access_key_id;
  }
  // Waits until the metrics say so.
  bool Counts(const std::string& result, int times) {
    const std::string line = "sluice_origin_credentials_total{result=\"" + result +
                             "\",source=\"scripted\"} " + std::to_string(times) + "\n";
    const auto deadline = std::chrono::steady_clock::now() + seconds(20);
    while (metrics_.Render().find(line) == std::string::npos) {
      if (std::chrono::steady_clock::now() > deadline) return false;
      std::this_thread::sleep_for(milliseconds(1));
    }
    return true;
  }

  test::ManualClock clock_;
  platform::Metrics metrics_;
  platform::Log log_{"test", platform::LogLevel::kError};
  RenewalLimits limits_;
  platform::Guarded<ScriptedSource::Script> script_;
  std::unique_ptr<RenewedCredentials> provider_;
};

TEST_F(RenewedCredentialsTest, AsksAtTheFirstUseWithoutBlocking) {
  Answers({Lasting("A", seconds(3600))});
  Hold(true);
  Open();
  for (int i = 0; i < 100; ++i) EXPECT_EQ(Id(provider_->Current()), "pending");
  ASSERT_TRUE(IsAsked(1));
  Hold(false);
  EXPECT_EQ(Id(Settled()), "A");
  EXPECT_EQ(Asked(), 1U) << "one renewal at a time";
  ASSERT_TRUE(Counts("renewed", 1));
  EXPECT_THAT(
      metrics_.Render(),
      HasSubstr(
          "sluice_origin_credentials_expiry_timestamp_seconds{source=\"scripted\"} 1700003600"));
}

TEST_F(RenewedCredentialsTest, AsksNobodyBeforeItIsUsed) {
  Answers({Lasting("A", seconds(3600))});
  Open();
  EXPECT_EQ(Asked(), 0U);
}

TEST_F(RenewedCredentialsTest, RenewsBeforeTheEndAndGivesOutTheOldOnesMeanwhile) {
  Answers({Lasting("A", seconds(3600)), Lasting("B", seconds(7200))});
  Open();
  ASSERT_EQ(Id(Settled()), "A");
  Hold(true);
  clock_.Advance(seconds(3149));  // 451 s before the end; the margin is 300 to 450
  EXPECT_EQ(Id(provider_->Current()), "A");
  EXPECT_EQ(Asked(), 1U);
  clock_.Advance(seconds(152));
  for (int i = 0; i < 100; ++i) EXPECT_EQ(Id(provider_->Current()), "A");
  ASSERT_TRUE(IsAsked(2));
  for (int i = 0; i < 100; ++i) EXPECT_EQ(Id(provider_->Current()), "A");
  EXPECT_EQ(Asked(), 2U) << "one renewal at a time";
  Hold(false);
  EXPECT_EQ(Id(CurrentThat([&](const auto& c) { return Id(c) == "B"; })), "B");
  EXPECT_EQ(Asked(), 2U);
}

TEST_F(RenewedCredentialsTest, RenewsShortLivedOnesAtTheirLastThird) {
  Answers({Lasting("A", seconds(90)), Lasting("B", seconds(900))});
  Open();
  ASSERT_EQ(Id(Settled()), "A");
  clock_.Advance(seconds(44));
  EXPECT_EQ(Id(provider_->Current()), "A");
  EXPECT_EQ(Asked(), 1U);
  clock_.Advance(seconds(17));
  EXPECT_EQ(Id(CurrentThat([&](const auto& c) { return Id(c) == "B"; })), "B");
}

TEST_F(RenewedCredentialsTest, UsesTheOldOnesUntilTheirEndWhenRenewalFails) {
  Answers({Lasting("A", seconds(3600)), Failing(Code::kUnavailable)});
  Open();
  ASSERT_EQ(Id(Settled()), "A");
  clock_.Advance(seconds(3301));
  EXPECT_EQ(Id(provider_->Current()), "A");
  ASSERT_TRUE(Counts("failed", 1));
  EXPECT_EQ(Asked(), 4U) << "a renewal has three attempts";
  for (int i = 0; i < 100; ++i) EXPECT_EQ(Id(provider_->Current()), "A");
  EXPECT_EQ(Asked(), 4U) << "after a failure it waits";

  clock_.Advance(seconds(299) - milliseconds(1));
  Hold(true);  // so that nothing settles meanwhile
  EXPECT_EQ(Id(provider_->Current()), "A") << "to the very end";
  clock_.Advance(milliseconds(1));
  EXPECT_EQ(Id(provider_->Current()), "pending");
  Hold(false);
  const auto ended = Settled();
  ASSERT_FALSE(ended);
  EXPECT_EQ(ended.error().code, Code::kUnavailable);
  EXPECT_THAT(ended.error().message,
              AllOf(HasSubstr("credentials (scripted) from http://who.gives: out: mend it"),
                    HasSubstr("(tried 3 times)")));

  Answers({Lasting("B", seconds(3600))});
  clock_.Advance(seconds(5));
  EXPECT_EQ(Id(CurrentThat([&](const auto& c) { return Id(c) == "B"; })), "B");
}

TEST_F(RenewedCredentialsTest, ARefusalForGoodIsNotRepeatedAtOnce) {
  Answers({Failing(Code::kPermissionDenied)});
  Open();
  const auto refused = Settled();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kPermissionDenied);
  EXPECT_EQ(Asked(), 1U);
  for (int i = 0; i < 100; ++i) EXPECT_FALSE(provider_->Current());
  EXPECT_EQ(Asked(), 1U);
  clock_.Advance(seconds(2));
  Hold(true);
  EXPECT_EQ(Id(provider_->Current()), "pending") << "asked again later";
  EXPECT_TRUE(IsAsked(2));
}

TEST_F(RenewedCredentialsTest, RefusedOnesAreRenewedOnceAndNotGivenOutAgain) {
  Answers({Lasting("A", seconds(3600)), Lasting("B", seconds(3600))});
  Open();
  const auto first = Settled();
  ASSERT_EQ(Id(first), "A");
  EXPECT_EQ(provider_->Renew(*first), Renewal::kUnchanged) << "they are fresh";
  EXPECT_EQ(Asked(), 1U);
  clock_.Advance(seconds(31));
  Hold(true);
  EXPECT_EQ(provider_->Renew(*first), Renewal::kUnderWay);
  EXPECT_EQ(provider_->Renew(*first), Renewal::kUnderWay);
  EXPECT_EQ(Id(provider_->Current()), "pending");
  Hold(false);
  EXPECT_EQ(Id(Settled()), "B");
  EXPECT_EQ(Asked(), 2U);
  EXPECT_EQ(provider_->Renew(*first), Renewal::kRenewed);
  EXPECT_EQ(Asked(), 2U);
}

TEST_F(RenewedCredentialsTest, RefusedOnesThatCannotBeRenewedAreAnError) {
  Answers({Lasting("A", seconds(3600)), Failing(Code::kPermissionDenied)});
  Open();
  const auto first = Settled();
  ASSERT_EQ(Id(first), "A");
  clock_.Advance(seconds(31));
  EXPECT_EQ(provider_->Renew(*first), Renewal::kUnderWay);
  EXPECT_FALSE(Settled());
  EXPECT_EQ(provider_->Renew(*first), Renewal::kUnderWay) << "too early for the next one";
  EXPECT_FALSE(provider_->Current());
}

TEST_F(RenewedCredentialsTest, AnAnswerThatHasEndedIsNoAnswer) {
  Answers({Lasting("A", seconds(0))});
  Open();
  const auto ended = Settled();
  ASSERT_FALSE(ended);
  EXPECT_THAT(ended.error().message, AllOf(HasSubstr("ended at 2023-11-14T22:13:20Z"),
                                           HasSubstr("check the node's clock")));
}

TEST_F(RenewedCredentialsTest, LivesThatCannotBeTrueAreRenewedEveryTwelveHours) {
  Answers({Lasting("A", seconds(3'000'000'000)), Lasting("B", seconds(90'000))});
  Open();
  ASSERT_EQ(Id(Settled()), "A");
  clock_.Advance(std::chrono::hours(12));
  EXPECT_EQ(Id(CurrentThat([&](const auto& c) { return Id(c) == "B"; })), "B");
}

TEST_F(RenewedCredentialsTest, EndsWhileARenewalIsUnderWay) {
  Answers({Lasting("A", seconds(3600))});
  Hold(true);
  Open();
  EXPECT_EQ(Id(provider_->Current()), "pending");
  ASSERT_TRUE(IsAsked(1));
  provider_.reset();
}

}  // namespace
}  // namespace sluice::origin
