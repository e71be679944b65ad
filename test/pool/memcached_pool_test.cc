// What no memcached would say, and what the pool makes of it.
#include "sluice/pool/memcached_pool.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <semaphore>
#include <thread>

#include <gtest/gtest.h>

#include "sluice/platform/guarded.h"

#include "no_descriptors.h"
#include "pool_calls.h"
#include "scripted_worker.h"

namespace sluice::pool {
namespace {

using std::chrono::milliseconds;
using test::MakeBytes;
using test::ScriptedWorker;
using OnMiss = ChunkPool::OnMiss;

constexpr std::size_t kSize = 1'000;

std::string AsText(const test::Bytes& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Greets well; everything else is the test's.
ScriptedWorker::Script Greeting(ScriptedWorker::Script script) {
  return [script = std::move(script)](std::string_view request) -> ScriptedWorker::Reply {
    if (request == "stats settings") return {ScriptedWorker::Settings()};
    return script(request);
  };
}

class MemcachedPoolTest : public ::testing::Test {
 protected:
  std::unique_ptr<MemcachedPool> MakePool(const ScriptedWorker& worker,
                                          const test::ChangeOptions& change = {}) {
    PoolOptions options = test::Patient();
    if (change) change(options);
    auto pool = std::make_unique<MemcachedPool>(options, metrics_, log_);
    pool->SetMembers({worker.Member("w-0")});
    return pool;
  }

  platform::Metrics metrics_;
  platform::Log log_{"test", platform::LogLevel::kError};
  test::Bytes into_ = test::Bytes(kSize);
};

TEST_F(MemcachedPoolTest, WhatIsNoReplyEndsTheConnectionAndTheOperation) {
  struct Case {
    std::string name;
    std::function<ScriptedWorker::Reply(std::string_view)> script;
  };
  const auto opaque = [](std::string_view request) { return ScriptedWorker::OpaqueOf(request); };
  const std::string half(kSize / 2, 'x');
  const std::vector<Case> cases = {
      {"garbage", [](auto) { return ScriptedWorker::Reply{"\x16\x03\x01 HTTP/1.1\r\n"}; }},
      {"a line without an end",
       [](auto) { return ScriptedWorker::Reply{std::string(100'000, 'x')}; }},
      {"a huge length",
       [&](auto r) {
         return ScriptedWorker::Reply{"VA 99999999999999999999" + opaque(r) + "\r\n"};
       }},
      {"a length over the bound",
       [&](auto r) { return ScriptedWorker::Reply{"VA 1073741825" + opaque(r) + "\r\n"}; }},
      {"another's value",
       [&](auto) { return ScriptedWorker::Reply{"VA 0 c1 O4000000000 W\r\n\r\n"}; }},
      {"more than was asked for",
       [&](auto r) {
         return ScriptedWorker::Reply{"VA 1000" + opaque(r) + "\r\n" + half + half + "xx\r\n"};
       }},
      {"half a value, then the end",
       [&](auto r) {
         return ScriptedWorker::Reply{.bytes = "VA 1000" + opaque(r) + "\r\n" + half,
                                      .then_close = true};
       }},
      {"nothing, then the end", [](auto) { return ScriptedWorker::Reply{.then_close = true}; }},
  };
  for (const Case& c : cases) {
    const ScriptedWorker worker(Greeting(c.script));
    const auto pool = MakePool(worker);
    const auto answer = test::Get(*pool, "a", into_, OnMiss::kLease);
    ASSERT_FALSE(answer) << c.name;
    EXPECT_EQ(answer.error().code, Code::kUnavailable) << c.name;
  }
}

TEST_F(MemcachedPoolTest, HalfAValueAndThenSilenceIsADeadline) {
  const ScriptedWorker worker(Greeting([](std::string_view request) -> ScriptedWorker::Reply {
    return {"VA 1000" + ScriptedWorker::OpaqueOf(request) + "\r\n" + std::string(500, 'x')};
  }));
  const auto pool =
      MakePool(worker, [](PoolOptions& options) { options.operation_timeout = milliseconds(200); });
  const auto answer = test::Get(*pool, "a", into_, OnMiss::kLease);
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, Code::kDeadlineExceeded);
}

// A value in crumbs: it takes four seconds, and something comes all the time.
ScriptedWorker::Reply Slowly(std::string_view request) {
  return {.bytes = "VA 1000" + ScriptedWorker::OpaqueOf(request) + "\r\n" +
                   std::string(kSize, 'x') + "\r\n",
          .piece = 10,
          .pause = milliseconds(40)};
}

class Answers {
 public:
  ChunkPool::GetDone Next() {
    promises_.push_back(std::make_shared<std::promise<Result<PoolAnswer>>>());
    return [promise = promises_.back()](Result<PoolAnswer> answer) {
      promise->set_value(std::move(answer));
    };
  }
  Result<PoolAnswer> Of(std::size_t call) { return promises_[call]->get_future().get(); }

 private:
  std::vector<std::shared_ptr<std::promise<Result<PoolAnswer>>>> promises_;
};

TEST_F(MemcachedPoolTest, WhoIsSlowButGetsOnFailsNobody) {
  const ScriptedWorker worker(Greeting(Slowly));
  const auto pool = MakePool(worker, [](PoolOptions& options) {
    options.operation_timeout = milliseconds(2'500);
    options.connections = 1;
  });
  Answers answers;
  std::array<test::Bytes, 2> buffers{test::Bytes(kSize), test::Bytes(kSize)};
  for (test::Bytes& buffer : buffers) pool->Get("a", buffer, OnMiss::kReport, answers.Next());
  for (std::size_t i = 0; i < buffers.size(); ++i) {
    const auto answer = answers.Of(i);
    ASSERT_TRUE(answer) << answer.error().message;
    EXPECT_EQ(answer->kind, PoolAnswer::Kind::kHit);
  }
  EXPECT_EQ(worker.Connections(), 1);
}

TEST_F(MemcachedPoolTest, ButNoOperationTakesForEver) {
  const ScriptedWorker worker(Greeting(Slowly));
  const auto pool = MakePool(worker, [](PoolOptions& options) {
    options.operation_timeout = milliseconds(700);
    options.operation_limit = milliseconds(500);
  });
  const auto answer = test::Get(*pool, "a", into_, OnMiss::kReport);
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, Code::kDeadlineExceeded);
}

TEST_F(MemcachedPoolTest, WaitingForAConnectionHasItsOwnBound) {
  const ScriptedWorker worker(Greeting(Slowly));
  const auto pool = MakePool(worker, [](PoolOptions& options) {
    options.queue_timeout = milliseconds(1'500);
    options.connections = 1;
    options.pipelined = 1;
  });
  Answers answers;
  test::Bytes other(kSize);
  pool->Get("a", into_, OnMiss::kReport, answers.Next());
  const auto deadline = std::chrono::steady_clock::now() + test::kNoAnswer;
  while (worker.Requests().size() < 2 && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(milliseconds(1));
  }
  pool->Get("a", other, OnMiss::kReport, answers.Next());
  const auto second = answers.Of(1);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Code::kDeadlineExceeded);
  EXPECT_TRUE(answers.Of(0)) << "it was sent in time";
}

TEST_F(MemcachedPoolTest, ClosesConnectionsThatABurstOpened) {
  const ScriptedWorker worker(Greeting([](std::string_view request) -> ScriptedWorker::Reply {
    std::this_thread::sleep_for(milliseconds(100));
    return {"EN" + ScriptedWorker::OpaqueOf(request) + "\r\n"};
  }));
  const auto pool = MakePool(worker, [](PoolOptions& options) {
    options.connections = 3;
    options.pipelined = 1;
    options.idle_timeout = milliseconds(300);
  });
  Answers answers;
  std::vector<test::Bytes> buffers(12, test::Bytes(10));
  for (test::Bytes& buffer : buffers) pool->Get("a", buffer, OnMiss::kReport, answers.Next());
  for (std::size_t i = 0; i < buffers.size(); ++i) EXPECT_TRUE(answers.Of(i));
  EXPECT_EQ(worker.Connections(), 3);
  const auto deadline = std::chrono::steady_clock::now() + test::kNoAnswer;
  while (worker.Open() > 1 && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(milliseconds(10));
  }
  std::this_thread::sleep_for(milliseconds(700));
  EXPECT_EQ(worker.Open(), 1) << "one stays";
  EXPECT_TRUE(test::Get(*pool, "a", into_, OnMiss::kReport));
  EXPECT_EQ(worker.Connections(), 3) << "and serves";
  EXPECT_EQ(metrics_.Render().find("result=\"unavailable\""), std::string::npos);
}

TEST_F(MemcachedPoolTest, NobodyIsRefusedWhileTheListChanges) {
  const auto script =
      Greeting([](std::string_view) -> ScriptedWorker::Reply { return {"EN\r\n"}; });
  const ScriptedWorker first(script);
  const ScriptedWorker second(script);
  const auto pool = MakePool(first, [](PoolOptions& options) { options.max_pending = 1'000'000; });
  std::atomic<bool> changing = true;
  std::jthread change([&] {
    for (int i = 0; i < 300; ++i) pool->SetMembers({(i % 2 == 0 ? second : first).Member("w-0")});
    changing = false;
  });
  constexpr int kAtOnce = 200;
  std::counting_semaphore<kAtOnce> free(kAtOnce);
  platform::Guarded<std::string> failure;
  while (changing) {
    free.acquire();
    pool->Get("a", into_, OnMiss::kReport, [&](const Result<PoolAnswer>& answer) {
      if (!answer) failure.With([&](std::string& text) { text = answer.error().message; });
      free.release();
    });
  }
  for (int i = 0; i < kAtOnce; ++i) free.acquire();
  EXPECT_EQ(failure.With([](const std::string& text) { return text; }), "");
}

TEST_F(MemcachedPoolTest, WithoutDescriptorsItIsUnavailableUntilThereAreSome) {
  const ScriptedWorker worker(
      Greeting([](std::string_view) -> ScriptedWorker::Reply { return {"EN\r\n"}; }));
  std::unique_ptr<MemcachedPool> pool;
  {
    const test::NoDescriptors none;
    pool = MakePool(worker);
    EXPECT_EQ(test::Get(*pool, "a", into_, OnMiss::kReport).error().code, Code::kUnavailable);
  }
  pool->SetMembers({worker.Member("w-0")});
  EXPECT_TRUE(test::Get(*pool, "a", into_, OnMiss::kReport));
}

TEST_F(MemcachedPoolTest, ReadsRepliesThatComeByteByByte) {
  const test::Bytes value = MakeBytes(100, 1);
  const ScriptedWorker worker([&](std::string_view request) -> ScriptedWorker::Reply {
    if (request == "stats settings") return {.bytes = ScriptedWorker::Settings(), .piece = 1};
    return {
        .bytes = "VA 100 f7" + ScriptedWorker::OpaqueOf(request) + "\r\n" + AsText(value) + "\r\n",
        .piece = 1};
  });
  const auto pool = MakePool(worker);
  for (int i = 0; i < 3; ++i) {
    test::Bytes into(value.size());
    const auto answer = test::Get(*pool, "a", into, OnMiss::kLease);
    ASSERT_TRUE(answer) << answer.error().message;
    EXPECT_EQ(answer->kind, PoolAnswer::Kind::kHit);
    EXPECT_EQ(answer->checksum, 7U);
    EXPECT_EQ(into, value);
  }
}

TEST_F(MemcachedPoolTest, AValueOfAnotherSizeIsDroppedThere) {
  const ScriptedWorker worker(Greeting([](std::string_view request) -> ScriptedWorker::Reply {
    const std::string opaque = ScriptedWorker::OpaqueOf(request);
    if (request.starts_with("md")) return {"HD" + opaque + "\r\n"};
    return {"VA 200000 c5" + opaque + "\r\n" + std::string(200'000, 'x') + "\r\n"};
  }));
  const auto pool = MakePool(worker);
  for (int i = 0; i < 2; ++i) {
    const auto answer = test::Get(*pool, "a", into_, OnMiss::kLease);
    ASSERT_TRUE(answer) << answer.error().message;
    EXPECT_EQ(answer->kind, PoolAnswer::Kind::kMiss);
  }
  const auto requests = worker.Requests();
  EXPECT_GE(
      std::count_if(requests.begin(), requests.end(),
                    [](const std::string& request) { return request.starts_with("md a C5 "); }),
      1);
  EXPECT_EQ(metrics_.Render().find("unavailable"), std::string::npos) << "not all was drained";
}

TEST_F(MemcachedPoolTest, APutThatIsRefusedEarlyKeepsItsBufferUntilItIsSent) {
  const ScriptedWorker worker([](std::string_view request) -> ScriptedWorker::Reply {
    if (request == "stats settings") return {ScriptedWorker::Settings("1073741824")};
    if (request.starts_with("mg")) return {"EN\r\n"};
    return {.bytes = "SERVER_ERROR out of memory storing object\r\n", .early = true};
  });
  const auto pool = MakePool(worker);
  // More than the sockets' buffers hold, and read only a while after the answer.
  const test::Bytes value = MakeBytes(32U << 20, 1);
  const auto start = std::chrono::steady_clock::now();
  EXPECT_TRUE(test::Put(*pool, "a", {1}, value, 1));
  EXPECT_GE(std::chrono::steady_clock::now() - start, ScriptedWorker::kPauseOfEarly);
  EXPECT_EQ(test::KindOf(test::Get(*pool, "a", into_, OnMiss::kReport)), PoolAnswer::Kind::kMiss);
  EXPECT_EQ(worker.Connections(), 1);
}

TEST_F(MemcachedPoolTest, AValueLargerThanTheWorkerTakesIsNotSent) {
  const ScriptedWorker worker([](std::string_view request) -> ScriptedWorker::Reply {
    if (request == "stats settings") return {ScriptedWorker::Settings("1048576")};
    return {"HD" + ScriptedWorker::OpaqueOf(request) + "\r\n"};
  });
  const auto pool = MakePool(worker);
  EXPECT_TRUE(test::Put(*pool, "small", {1}, MakeBytes(1'000'000, 1), 1));
  EXPECT_TRUE(test::Put(*pool, "large", {1}, MakeBytes(1'048'576, 1), 1));
  for (const std::string& request : worker.Requests()) {
    EXPECT_FALSE(request.starts_with("ms large")) << request;
  }
  EXPECT_NE(metrics_.Render().find("{operation=\"put\",result=\"too_large\"} 1"),
            std::string::npos);
}

TEST_F(MemcachedPoolTest, AGreetingThatIsNoneLeavesTheWorkerOut) {
  for (const std::string& greeting :
       {std::string("ERROR\r\n"), std::string("VA 5\r\nabcde\r\n"), std::string("STORED\r\n"),
        std::string("CLIENT_ERROR unauthenticated\r\n"), std::string()}) {
    const ScriptedWorker worker(
        [&](std::string_view) -> ScriptedWorker::Reply { return {.bytes = greeting}; });
    const auto pool = MakePool(
        worker, [](PoolOptions& options) { options.greeting_timeout = milliseconds(300); });
    const auto answer = test::Get(*pool, "a", into_, OnMiss::kReport);
    ASSERT_FALSE(answer) << greeting;
    EXPECT_EQ(answer.error().code, Code::kUnavailable) << greeting;
    const auto next = test::Get(*pool, "a", into_, OnMiss::kReport);
    EXPECT_EQ(next.error().message, "no worker of the pool answers") << "left out by now";
  }
}

TEST_F(MemcachedPoolTest, AnAnswerToNothingEndsTheConnection) {
  const ScriptedWorker worker(
      Greeting([](std::string_view) -> ScriptedWorker::Reply { return {"EN\r\nEN\r\n"}; }));
  const auto pool = MakePool(worker);
  EXPECT_TRUE(test::Get(*pool, "a", into_, OnMiss::kReport));
  const auto deadline = std::chrono::steady_clock::now() + test::kNoAnswer;
  while (worker.Connections() < 2 && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(milliseconds(10));
  }
  EXPECT_GE(worker.Connections(), 2) << "the connection out of step was kept";
}

TEST_F(MemcachedPoolTest, AWorkerThatGreetsAndClosesIsNotConnectedWithoutPause) {
  const ScriptedWorker worker([](std::string_view) -> ScriptedWorker::Reply {
    return {.bytes = ScriptedWorker::Settings(), .then_close = true};
  });
  const auto pool = MakePool(worker);
  std::this_thread::sleep_for(milliseconds(900));
  EXPECT_GE(worker.Connections(), 1);
  EXPECT_LE(worker.Connections(), 4);
}

TEST_F(MemcachedPoolTest, CallsThatCannotBeMadeAreRefusedByName) {
  const ScriptedWorker worker(
      Greeting([](std::string_view) -> ScriptedWorker::Reply { return {"EN\r\n"}; }));
  const auto pool = MakePool(worker);
  for (const std::string& key :
       {std::string(), std::string("a b"), std::string("a\r\nflush_all"), std::string(251, 'k')}) {
    const auto answer = test::Get(*pool, key, into_, OnMiss::kReport);
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().code, Code::kInvalidArgument);
    EXPECT_EQ(test::Renew(*pool, key, {1}).error().code, Code::kInvalidArgument);
    EXPECT_TRUE(test::Drop(*pool, key, {1}));
  }
  EXPECT_EQ(test::Get(*pool, "a", {}, OnMiss::kReport).error().code, Code::kInvalidArgument);
  EXPECT_EQ(test::Put(*pool, "a", {1}, {}, 0).error().code, Code::kInvalidArgument);
  EXPECT_TRUE(test::Put(*pool, "a", {}, into_, 0)) << "nobody's lease stores nothing";
  EXPECT_EQ(test::Renew(*pool, "a", {}).error().code, Code::kNotFound);
  EXPECT_TRUE(test::Drop(*pool, "a", {}));
  for (const std::string& request : worker.Requests()) EXPECT_EQ(request, "stats settings");
}

TEST_F(MemcachedPoolTest, ACallbackMayCallThePoolAgain) {
  const ScriptedWorker worker(
      Greeting([](std::string_view) -> ScriptedWorker::Reply { return {"EN\r\n"}; }));
  const auto pool = MakePool(worker);
  std::atomic<int> left = 100;
  std::promise<void> all;
  std::function<void(Result<PoolAnswer>)> again = [&](const Result<PoolAnswer>&) {
    if (--left == 0) return all.set_value();
    pool->Get("a", into_, OnMiss::kReport, again);
  };
  pool->Get("a", into_, OnMiss::kReport, again);
  EXPECT_EQ(all.get_future().wait_for(test::kNoAnswer), std::future_status::ready);
}

}  // namespace
}  // namespace sluice::pool
