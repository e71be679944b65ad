// Commands in containers against servers that misbehave. A real kubelet is in test/e2e.
#include "sluice/kube/exec.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "raw_server.h"
#include "websocket.h"

namespace sluice::kube {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
using test::HttpAnswer;
using test::RawServer;
using testing::HasSubstr;
using testing::StartsWith;

constexpr const char* kSuccess = R"({"metadata":{},"status":"Success"})";
constexpr int kWhole = 0x82;

std::string FrameOf(int first, const std::string& payload) {
  std::string frame(1, static_cast<char>(first));
  if (payload.size() < 126) return frame + static_cast<char>(payload.size()) + payload;
  frame += static_cast<char>(126);
  frame += static_cast<char>(payload.size() >> 8U);
  return frame + static_cast<char>(payload.size() & 0xffU) + payload;
}

std::string Channel(int number, const std::string& text) {
  return FrameOf(kWhole, static_cast<char>(number) + text);
}

std::string ExitStatus(const std::string& code) {
  return fmt::format(
      R"({{"status":"Failure","reason":"NonZeroExitCode","message":"command terminated with non-zero)"
      R"( exit code","details":{{"causes":[{{"reason":"ExitCode","message":"{}"}}]}}}})",
      code);
}

// The answer that takes the upgrade asked for in `head`.
std::string Upgraded(const std::string& head, const std::string& protocol = "v5.channel.k8s.io") {
  constexpr std::string_view kHeader = "Sec-WebSocket-Key: ";
  const auto at = head.find(kHeader) + kHeader.size();
  const std::string key = head.substr(at, head.find("\r\n", at) - at);
  return fmt::format(
      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
      "Sec-WebSocket-Accept: {}\r\nSec-WebSocket-Protocol: {}\r\n\r\n",
      websocket::AcceptFor(key), protocol);
}

class ExecTest : public testing::Test {
 protected:
  Result<ExecOutcome> Run(const RawServer& server, ExecOptions options = {}) {
    Config config;
    config.server = server.Url();
    config.token = platform::Secret("t0ken");
    auto exec = ConnectExec(config, options, metrics_);
    EXPECT_TRUE(exec);
    return (*exec)->Run(
        {.pod = {"default", "web"}, .container = "fluid-fuse-0", .command = {"umount", "/a b&c"}});
  }
  // What comes of the frames after a good opening.
  Result<ExecOutcome> RunFrames(const std::string& frames, ExecOptions options = {}) {
    RawServer server([&](int, const std::string& head) { return Upgraded(head) + frames; });
    return Run(server, options);
  }
  platform::Metrics metrics_;
};

TEST_F(ExecTest, RunsTheCommandAndCollectsWhatItWrites) {
  std::string head;
  RawServer server([&](int, const std::string& asked) {
    head = asked;
    return Upgraded(asked) + Channel(1, "") + Channel(2, "") + Channel(3, "") + Channel(1, "out") +
           Channel(2, "umount: ") + FrameOf(0x89, "still there?") + Channel(2, "done") +
           Channel(9, "what is this") + Channel(3, kSuccess);
  });
  auto outcome = Run(server);
  ASSERT_TRUE(outcome) << outcome.error().message;
  EXPECT_EQ(outcome->exit_code, 0);
  EXPECT_EQ(outcome->output, "out");
  EXPECT_EQ(outcome->errors, "umount: done");
  EXPECT_THAT(head, StartsWith("GET /api/v1/namespaces/default/pods/web/exec?container=fluid-fuse-0"
                               "&stderr=true&stdout=true&command=umount&command=%2Fa%20b%26c "
                               "HTTP/1.1\r\n"));
  EXPECT_THAT(head, HasSubstr("\r\nAuthorization: Bearer t0ken\r\n"));
  EXPECT_THAT(head, HasSubstr("\r\nSec-WebSocket-Protocol: v5.channel.k8s.io, v4.channel.k8s.io"));
}

TEST_F(ExecTest, OlderServersSpeakTheProtocolBefore) {
  RawServer server([](int, const std::string& head) {
    return Upgraded(head, "v4.channel.k8s.io") + Channel(3, ExitStatus("32"));
  });
  auto outcome = Run(server);
  ASSERT_TRUE(outcome) << outcome.error().message;
  EXPECT_EQ(outcome->exit_code, 32);
}

TEST_F(ExecTest, KeepsOnlyTheBeginningOfTheOutput) {
  std::string flood;
  for (int i = 0; i < 500; ++i) flood += Channel(1, std::string(4000, 'x'));
  auto outcome =
      RunFrames(flood + Channel(2, "y") + Channel(3, kSuccess), {.max_output_bytes = 5000});
  ASSERT_TRUE(outcome) << outcome.error().message;
  EXPECT_EQ(outcome->output, std::string(5000, 'x'));
  EXPECT_EQ(outcome->errors, "y");
}

TEST_F(ExecTest, AStatusInPartsIsPutTogether) {
  const std::string text = std::string(1, '\3') + ExitStatus("137");
  auto outcome = RunFrames(FrameOf(0x02, text.substr(0, 7)) + FrameOf(0x80, text.substr(7)));
  ASSERT_TRUE(outcome) << outcome.error().message;
  EXPECT_EQ(outcome->exit_code, 137);
}

struct BadFrames {
  const char* name;
  std::string frames;
  const char* said;
};

TEST_F(ExecTest, BrokenStreamsAreErrorsThatNameTheContainer) {
  for (const BadFrames& c : std::vector<BadFrames>{
           {"nothing", "", "the connection ended before"},
           {"output only", Channel(1, "x"), "the connection ended before"},
           {"closed", FrameOf(0x88, "\x03\xe8"), "the connection ended before"},
           {"half a frame", Channel(3, kSuccess).substr(0, 9), "the connection ended before"},
           {"masked", std::string("\x82\x81\0\0\0\0\1", 7), "masked"},
           {"huge", std::string("\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff", 10), "a frame over"},
           {"no JSON", Channel(3, "gone"), "does not say how"},
           {"odd JSON", Channel(3, R"([{"status":"Success"}])"), "does not say how"},
           {"exit code is no number", Channel(3, ExitStatus("1x")), "non-zero exit code"},
           {"not started", Channel(3, R"({"status":"Failure","message":"container not found"})"),
            "container not found"},
       }) {
    auto outcome = RunFrames(c.frames);
    ASSERT_FALSE(outcome) << c.name;
    EXPECT_EQ(outcome.error().code, Code::kUnavailable) << c.name;
    EXPECT_THAT(outcome.error().message, HasSubstr(c.said)) << c.name;
    EXPECT_THAT(outcome.error().message,
                StartsWith("exec in pods default/web container fluid-fuse-0: "));
  }
}

TEST_F(ExecTest, RefusalsHaveTheServersWordsAndCode) {
  struct Case {
    int status;
    Code code;
  };
  for (const Case& c : {Case{400, Code::kInvalidArgument}, Case{403, Code::kPermissionDenied},
                        Case{404, Code::kNotFound}, Case{500, Code::kUnavailable}}) {
    RawServer server([&](int, const std::string&) {
      return HttpAnswer(c.status, R"({"kind":"Status","message":"because"})");
    });
    auto outcome = Run(server);
    ASSERT_FALSE(outcome) << c.status;
    EXPECT_EQ(outcome.error().code, c.code) << c.status;
    EXPECT_THAT(outcome.error().message, HasSubstr(": because (HTTP "));
  }
}

TEST_F(ExecTest, OpeningsThatDoNotFitAreErrors) {
  const std::vector<std::function<std::string(const std::string&)>> answers = {
      [](const std::string&) { return std::string(); },
      [](const std::string&) { return std::string("SSH-2.0-OpenSSH\r\n\r\n"); },
      [](const std::string&) { return HttpAnswer(200, "hello"); },
      [](const std::string&) { return "HTTP/1.1 101 X\r\n" + std::string(70000, 'x'); },
      [](const std::string& head) { return Upgraded(head, "v9.channel.k8s.io"); },
      [](const std::string&) { return Upgraded("Sec-WebSocket-Key: another\r\n"); },
  };
  for (std::size_t i = 0; i < answers.size(); ++i) {
    RawServer server([&](int, const std::string& head) { return answers[i](head); });
    auto outcome = Run(server);
    ASSERT_FALSE(outcome) << i;
    EXPECT_EQ(outcome.error().code, Code::kUnavailable) << outcome.error().message;
  }
}

TEST_F(ExecTest, ASilentServerEndsByTheDeadline) {
  for (const bool upgraded : {false, true}) {
    RawServer server(
        [&](int, const std::string& head) { return upgraded ? Upgraded(head) : std::string(); },
        /*hold=*/true);
    const auto begun = steady_clock::now();
    auto outcome = Run(server, {.deadline = milliseconds(300)});
    ASSERT_FALSE(outcome);
    EXPECT_EQ(outcome.error().code, Code::kDeadlineExceeded) << outcome.error().message;
    EXPECT_LT(steady_clock::now() - begun, std::chrono::seconds(5));
  }
}

TEST_F(ExecTest, ANobodyAndBadNamesAreErrors) {
  Config config;
  config.server = "http://127.0.0.1:1";
  auto exec = ConnectExec(config, {}, metrics_);
  ASSERT_TRUE(exec);
  auto outcome = (*exec)->Run({.pod = {"default", "web"}, .container = "c", .command = {"true"}});
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, Code::kUnavailable);
  EXPECT_THAT(outcome.error().message, HasSubstr("Connection refused"));
  outcome = (*exec)->Run({.pod = {"default", "../x"}, .container = "c", .command = {"true"}});
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, Code::kInvalidArgument);
  config.server = "ftp://x";
  EXPECT_FALSE(ConnectExec(config, {}, metrics_));
}

}  // namespace
}  // namespace sluice::kube
