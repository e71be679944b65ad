// The client against servers that misbehave.
#include "sluice/kube/client.h"

#include <thread>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "raw_server.h"

namespace sluice::kube {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
using test::HttpAnswer;
using test::RawServer;
using testing::HasSubstr;

constexpr const char* kPod = R"({"metadata":{"name":"web","namespace":"default"}})";
const ObjectKey kKey{"default", "web"};

class ClientTest : public testing::Test {
 protected:
  std::unique_ptr<Cluster> Connected(const RawServer& server, ClientOptions options = {}) {
    Config config;
    config.server = server.Url();
    if (options.retry_base == ClientOptions{}.retry_base) options.retry_base = milliseconds(1);
    auto cluster = Connect(config, options, metrics_);
    EXPECT_TRUE(cluster);
    return std::move(*cluster);
  }
  platform::Metrics metrics_;
};

TEST_F(ClientTest, SafeVerbsAreRepeatedAndOthersAreNot) {
  RawServer server([](int n, const std::string&) {
    return n < 3 ? HttpAnswer(503, "busy") : HttpAnswer(200, kPod);
  });
  auto cluster = Connected(server);
  EXPECT_TRUE(cluster->Get(resources::kPod, kKey));
  EXPECT_EQ(server.Requests(), 3);

  RawServer failing([](int, const std::string&) { return HttpAnswer(503, "busy"); });
  cluster = Connected(failing);
  auto got = cluster->Get(resources::kPod, kKey);
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, Code::kUnavailable);
  EXPECT_EQ(failing.Requests(), 4) << "attempts are bounded";
  EXPECT_FALSE(cluster->Apply(resources::kPod, Json::parse(kPod)));
  EXPECT_FALSE(cluster->Create(resources::kPod, Json::parse(kPod)));
  EXPECT_FALSE(cluster->Delete(resources::kPod, kKey));
  EXPECT_EQ(failing.Requests(), 7);
}

TEST_F(ClientTest, RetryAfterAllowsAnyVerbToBeRepeated) {
  RawServer server([](int n, const std::string&) {
    return n == 1 ? HttpAnswer(429, "slow down", "Retry-After: 0\r\n") : HttpAnswer(200, kPod);
  });
  auto cluster = Connected(server);
  EXPECT_TRUE(cluster->Apply(resources::kPod, Json::parse(kPod)));
  EXPECT_EQ(server.Requests(), 2);
}

TEST_F(ClientTest, ARefusalIsNotRepeated) {
  RawServer server([](int, const std::string&) {
    return HttpAnswer(403, R"({"kind":"Status","message":"no rights"})");
  });
  auto cluster = Connected(server);
  auto got = cluster->Get(resources::kPod, kKey);
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, Code::kPermissionDenied);
  EXPECT_THAT(got.error().message, HasSubstr("get pods default/web: no rights"));
  EXPECT_EQ(server.Requests(), 1);
}

TEST_F(ClientTest, NonsenseIsAnError) {
  for (const std::string& reply :
       {std::string("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"a\":"),
        std::string("\x16\x03\x01 not http at all"), std::string(),
        HttpAnswer(200, "<html>login</html>"), HttpAnswer(200, "[]"), HttpAnswer(200, "")}) {
    RawServer server([&](int, const std::string&) { return reply; });
    auto cluster = Connected(server, {.max_attempts = 1});
    auto got = cluster->Get(resources::kPod, kKey);
    ASSERT_FALSE(got) << reply;
    EXPECT_EQ(got.error().code, Code::kUnavailable) << reply;
  }
}

TEST_F(ClientTest, AHugeAnswerIsCutOff) {
  RawServer server(
      [](int, const std::string&) { return HttpAnswer(200, std::string(200'000, ' ')); });
  auto cluster = Connected(server, {.max_attempts = 1, .max_body_bytes = 100'000});
  auto got = cluster->Get(resources::kPod, kKey);
  ASSERT_FALSE(got);
  EXPECT_THAT(got.error().message, HasSubstr("larger than 100000 bytes"));
}

TEST_F(ClientTest, ASilentServerCostsNoMoreThanTheDeadline) {
  RawServer server([](int, const std::string&) { return std::string(); }, true);
  auto cluster = Connected(server, {.deadline = milliseconds(300)});
  const auto begun = steady_clock::now();
  auto got = cluster->Get(resources::kPod, kKey);
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, Code::kDeadlineExceeded);
  EXPECT_LT(steady_clock::now() - begun, std::chrono::seconds(5));
}

TEST_F(ClientTest, NobodyListening) {
  Config config;
  config.server = "http://127.0.0.1:1";
  auto cluster = Connect(config, {.max_attempts = 1}, metrics_);
  ASSERT_TRUE(cluster);
  auto got = (*cluster)->Get(resources::kPod, kKey);
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, Code::kUnavailable);
  EXPECT_THAT(got.error().message, HasSubstr("127.0.0.1:1"));
}

TEST_F(ClientTest, ListsAllPagesAndStopsWhenAPageRepeats) {
  RawServer pages([](int n, const std::string& line) {
    EXPECT_EQ(line.find("continue") != std::string::npos, n > 1);
    return HttpAnswer(200, n < 3
                               ? R"({"metadata":{"continue":"c)" + std::to_string(n) +
                                     R"("},"items":[{"metadata":{"name":"a"}}]})"
                               : std::string(R"({"metadata":{"resourceVersion":"9"},"items":[]})"));
  });
  auto cluster = Connected(pages);
  auto listed = cluster->List(resources::kPod, {});
  ASSERT_TRUE(listed) << listed.error().message;
  EXPECT_EQ(listed->items.size(), 2U);
  EXPECT_EQ(listed->resource_version, "9");

  RawServer loop([](int, const std::string&) {
    return HttpAnswer(200, R"({"metadata":{"continue":"same"},"items":[]})");
  });
  cluster = Connected(loop);
  EXPECT_FALSE(cluster->List(resources::kPod, {}));
}

TEST_F(ClientTest, WatchesEndWithWhatTheServerSaid) {
  struct Case {
    std::string reply;
    Code code;
  };
  const std::string head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
  const auto chunk = [](const std::string& text) {
    return fmt::format("{:x}\r\n{}\r\n", text.size(), text);
  };
  for (const Case& c :
       {Case{HttpAnswer(410, R"({"message":"gone"})"), Code::kConflict},
        Case{head + chunk(R"({"type":"ERROR","object":{"code":410,"message":"old"}})"
                          "\n"),
             Code::kConflict},
        Case{head + chunk("no json\n"), Code::kUnavailable},
        Case{head + chunk(std::string(5000, 'x')), Code::kInternal},
        Case{head + "5\r\nab", Code::kUnavailable}}) {
    RawServer server([&](int, const std::string&) { return c.reply; });
    auto cluster = Connected(server, {.max_event_bytes = 4000});
    const Status watched = cluster->Watch(resources::kPod, {}, "1", {}, [](const WatchEvent&) {});
    ASSERT_FALSE(watched) << c.reply;
    EXPECT_EQ(watched.error().code, c.code) << watched.error().message;
  }
}

TEST_F(ClientTest, AWatchThatIsStoppedEndsAtOnce) {
  RawServer server(
      [](int, const std::string&) {
        const std::string event = "{\"type\":\"ADDED\",\"object\":" + std::string(kPod) + "}\n";
        return fmt::format("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{}\r\n",
                           event.size(), event);
      },
      true);
  auto cluster = Connected(server);
  std::stop_source stop;
  int events = 0;
  const auto begun = steady_clock::now();
  std::jthread stopper;
  const Status watched =
      cluster->Watch(resources::kPod, {}, "1", stop.get_token(), [&](const WatchEvent&) {
        ++events;
        stopper = std::jthread([&] { stop.request_stop(); });
      });
  EXPECT_TRUE(watched) << watched.error().message;
  EXPECT_EQ(events, 1);
  EXPECT_LT(steady_clock::now() - begun, std::chrono::seconds(10));
}

}  // namespace
}  // namespace sluice::kube
