// Second requests for reads that are late, against a server that is slow on purpose.
#include <atomic>
#include <thread>
#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sluice/origin/make_origin.h"

#include "eventually.h"
#include "fake_server.h"
#include "ranged_server.h"
#include "read_all.h"

namespace sluice::origin {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using test::Answer;
using test::FakeReply;
using test::FakeRequest;
using test::FakeServer;
using test::Object;
using test::Partial;
using test::Pattern;
using test::Range;
using test::RangeOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr int kWarm = 16;  // answers after which the origin is known

std::function<void()> For(milliseconds time) {
  return [time] { std::this_thread::sleep_for(time); };
}

// Nothing but a second request can help within the time of a test.
OriginLimits PatientLimits() {
  OriginLimits limits;
  limits.max_connections = 8;
  limits.stall_timeout = limits.connect_timeout = seconds(50);
  limits.first_backoff = limits.max_backoff = milliseconds(1);
  return limits;
}

class HedgingTest : public ::testing::Test {
 protected:
  // An origin at a server with this behaviour after `kWarm` quick answers.
  void Open(std::function<FakeReply(const FakeRequest&, int call)> handler,
            const OriginLimits& limits = PatientLimits(),
            std::map<std::string, std::string> options = {}) {
    server_ = std::make_unique<FakeServer>([this, handler = std::move(handler)](const auto& r) {
      const int call = calls_++ - kWarm;
      return call < 0 ? Partial(object_, RangeOf(r)) : handler(r, call);
    });
    MountConfig mount;
    mount.mount_point = "s3://bkt";
    mount.options = std::move(options);
    mount.options["endpoint"] = server_->Endpoint();
    auto origin = MakeOrigin(mount, limits, metrics_, log_);
    ASSERT_TRUE(origin) << origin.error().message;
    origin_ = std::move(*origin);
    for (int i = 0; i < kWarm; ++i) ASSERT_EQ(Read(0, 10), object_.substr(0, 10));
  }
  std::string Read(std::uint64_t offset, std::uint64_t length) {
    const ReadResult read = ReadRange(*origin_, Object("a", object_.size()), offset, length);
    EXPECT_TRUE(read.status) << read.status.error().message;
    return read.bytes;
  }
  [[nodiscard]] auto Counts(const char* name, int value) const {
    return HasSubstr(fmt::format("\nsluice_origin_{}_total {}\n", name, value));
  }

  const std::string object_ = Pattern(100'000);
  std::atomic<int> calls_ = 0;
  std::size_t last_slow_ = 0;  // the range whose answer waited latest; by the server
  platform::Metrics metrics_;
  platform::Log log_{"test", platform::LogLevel::kError};
  std::unique_ptr<FakeServer> server_;
  std::unique_ptr<Origin> origin_;
};

TEST_F(HedgingTest, ASecondRequestAnswersForOneThatStalls) {
  Open([&](const FakeRequest& r, int call) {
    return call == 0 ? FakeReply{"", FakeReply::Then::kStall} : Partial(object_, RangeOf(r));
  });
  EXPECT_EQ(Read(100, 5000), object_.substr(100, 5000));
  const auto requests = server_->Requests();
  ASSERT_EQ(requests.size(), kWarm + 2U);
  EXPECT_EQ(requests[kWarm].headers, requests[kWarm + 1].headers)
      << "version and range are the same";
  EXPECT_THAT(metrics_.Render(), Counts("hedged_requests", 1));
  EXPECT_THAT(metrics_.Render(), Counts("hedged_requests_won", 1));
  EXPECT_THAT(metrics_.Render(), Not(HasSubstr("sluice_origin_retries_total")));
  EXPECT_EQ(Read(0, 10), object_.substr(0, 10));
}

TEST_F(HedgingTest, TheFirstAnswerMayStillCome) {
  Open([&](const FakeRequest& r, int call) {
    FakeReply reply = Partial(object_, RangeOf(r));
    if (call == 0) reply.wait = For(milliseconds(400));
    if (call == 1) reply = {"", FakeReply::Then::kStall};
    return reply;
  });
  EXPECT_EQ(Read(100, 5000), object_.substr(100, 5000));
  EXPECT_THAT(metrics_.Render(), Counts("hedged_requests_won", 0));
}

TEST_F(HedgingTest, OneOfTwoMayFail) {
  Open([&](const FakeRequest& r, int call) {
    FakeReply reply = Partial(object_, RangeOf(r));
    if (call == 0) reply = {"", FakeReply::Then::kClose, For(milliseconds(300))};
    if (call == 1) reply.wait = For(milliseconds(600));
    return reply;
  });
  EXPECT_EQ(Read(100, 5000), object_.substr(100, 5000));
}

TEST_F(HedgingTest, SecondRequestsAreFewWhenTheServerIsSlowForAll) {
  Open([&](const FakeRequest& r, int /*call*/) {
    FakeReply reply = Partial(object_, RangeOf(r));
    reply.wait = For(milliseconds(150));
    return reply;
  });
  constexpr int kReads = 60;
  for (int done = 0; done < kReads; done += 4) {  // half of the connections
    std::vector<std::future<ReadResult>> reads;
    for (int i = 0; i < 4; ++i) reads.push_back(StartRead(*origin_, Object("a", 100'000), 7, 100));
    for (auto& read : reads) EXPECT_EQ(read.get().bytes, object_.substr(7, 100));
  }
  EXPECT_LE(server_->Requests().size(), kWarm + kReads + (kWarm + kReads) / 20 + 2U);
}

TEST_F(HedgingTest, AnOverloadedServerGetsNoSecondRequests) {
  OriginLimits limits = PatientLimits();
  limits.stall_timeout = limits.connect_timeout = milliseconds(1'000);
  limits.hedge_floor = milliseconds(500);  // an answer on a busy machine is not late
  Open(
      [&](const FakeRequest& r, int call) {
        if (call == 0) return Answer(503, "<Error><Code>SlowDown</Code></Error>");
        if (call == 2) return FakeReply{"", FakeReply::Then::kStall};
        return Partial(object_, RangeOf(r));
      },
      limits);
  EXPECT_EQ(Read(0, 100), object_.substr(0, 100));
  EXPECT_EQ(Read(0, 100), object_.substr(0, 100)) << "by a retry";
  EXPECT_THAT(metrics_.Render(), Counts("hedged_requests", 0));
}

TEST_F(HedgingTest, ARefusalOfTheSecondDoesNotEndTheFirst) {
  OriginLimits limits = PatientLimits();
  limits.max_attempts = 1;
  Open(
      [&](const FakeRequest& r, int call) {
        if (call == 1) return Answer(503, "<Error><Code>SlowDown</Code></Error>");
        FakeReply reply = Partial(object_, RangeOf(r));
        reply.wait = For(milliseconds(500));
        return reply;
      },
      limits);
  EXPECT_EQ(Read(0, 100), object_.substr(0, 100));
}

// The first answer waits for the second request: both come at the same time, again and again.
TEST_F(HedgingTest, NoByteComesTwiceWhenBothAreAnswered) {
  OriginLimits limits = PatientLimits();
  limits.hedge_floor = milliseconds(1);
  Open(
      [&](const FakeRequest& r, int /*call*/) {
        const Range range = RangeOf(r);
        FakeReply reply = Partial(object_, range);
        if (range.first % 25 != 0) return reply;
        if (std::exchange(last_slow_, range.first) == range.first) return reply;
        reply.wait = [this, calls = calls_.load()] {
          (void)test::Eventually([&] { return calls_ > calls; }, seconds(2));
        };
        return reply;
      },
      limits);
  constexpr std::uint64_t kReads = 200;
  std::uint64_t bytes = kWarm * 10;
  for (std::uint64_t i = 1; i <= kReads; ++i) {
    const std::uint64_t length = 20'000 + i;
    EXPECT_TRUE(Read(i, length) == object_.substr(i, length)) << i;
    bytes += length;
  }
  EXPECT_THAT(metrics_.Render(),
              HasSubstr(fmt::format("sluice_origin_read_bytes_total {}\n", bytes)));
  EXPECT_THAT(metrics_.Render(), Not(Counts("hedged_requests", 0)));
}

TEST_F(HedgingTest, CanBeTurnedOff) {
  OriginLimits limits = PatientLimits();
  limits.stall_timeout = limits.connect_timeout = milliseconds(300);
  Open(
      [&](const FakeRequest& r, int call) {
        return call == 0 ? FakeReply{"", FakeReply::Then::kStall} : Partial(object_, RangeOf(r));
      },
      limits, {{"hedge", "false"}});
  EXPECT_EQ(Read(0, 100), object_.substr(0, 100));
  EXPECT_THAT(metrics_.Render(), Counts("hedged_requests", 0));
}

TEST_F(HedgingTest, TheEndOfTheOriginEndsBoth) {
  Open([&](const FakeRequest&, int /*call*/) { return FakeReply{"", FakeReply::Then::kStall}; });
  auto read = StartRead(*origin_, Object("a", 100'000), 0, 10);
  ASSERT_TRUE(test::Eventually([&] { return server_->Requests().size() == kWarm + 2U; }));
  origin_.reset();
  EXPECT_EQ(read.get().status.error().code, Code::kUnavailable);
}

}  // namespace
}  // namespace sluice::origin
