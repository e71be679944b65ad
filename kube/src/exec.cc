#include "sluice/kube/exec.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include "sluice/core/json_access.h"

#include "byte_stream.h"
#include "request_path.h"
#include "response.h"
#include "server_access.h"
#include "websocket.h"

namespace sluice::kube {
namespace {

using std::chrono::steady_clock;
using websocket::Message;
using websocket::Opcode;

// Newest first. Both carry the command's end as a Status on a channel of its own.
const std::vector<std::string>& ExecProtocols() {
  static const std::vector<std::string> kProtocols = {"v5.channel.k8s.io", "v4.channel.k8s.io"};
  return kProtocols;
}

constexpr std::size_t kMaxHead = 64U << 10;
constexpr std::size_t kMaxErrorBody = 64U << 10;
constexpr std::size_t kMaxExecMessage = 1U << 20;
// What the first byte of a message says.
constexpr char kOutput = 1;
constexpr char kErrors = 2;
constexpr char kStatus = 3;

std::string RandomKey() {
  std::array<unsigned char, 16> bytes{};
  RAND_bytes(bytes.data(), static_cast<int>(bytes.size()));
  std::array<unsigned char, 32> base64{};
  const int length = EVP_EncodeBlock(base64.data(), bytes.data(), static_cast<int>(bytes.size()));
  return {reinterpret_cast<const char*>(base64.data()), static_cast<std::size_t>(length)};
}

// Of no use against the server; proxies between must not be able to guess it.
std::array<std::uint8_t, 4> RandomMask() {
  std::array<std::uint8_t, 4> mask{};
  RAND_bytes(mask.data(), static_cast<int>(mask.size()));
  return mask;
}

// The exit code that the server's Status tells; the error when the command did not run.
Result<int> ExitCodeOf(const std::string& text) {
  const Json status = Json::parse(text, nullptr, false);
  if (StringOf(status, "status") == "Success") return 0;
  if (StringOf(status, "reason") == "NonZeroExitCode") {
    for (const Json& cause : ItemsOf(ChildOf(status, "details"), "causes")) {
      if (StringOf(cause, "reason") != "ExitCode") continue;
      const std::string number = StringOf(cause, "message");
      int code = 0;
      const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), code);
      if (error == std::errc() && end == number.data() + number.size()) return code;
    }
  }
  const std::string message = StringOf(status, "message");
  return Fail(Code::kUnavailable,
              message.empty() ? "the server does not say how the command ended" : message);
}

// One command over one connection.
class ExecSession {
 public:
  ExecSession(ByteStream& stream, const ExecOptions& options)
      : stream_(stream), options_(options), decoder_(kMaxExecMessage) {}

  // Ok once the protocol is spoken. `what` names the request in errors of the server.
  Status Upgrade(const std::string& request_head, const std::string& what) {
    const std::string key = RandomKey();
    SLUICE_CHECK(
        stream_.Write(request_head + websocket::UpgradeHeaders(key, ExecProtocols()) + "\r\n"),
        what);
    std::string received;
    std::size_t end = std::string::npos;
    while ((end = received.find("\r\n\r\n")) == std::string::npos) {
      if (received.size() > kMaxHead) {
        return Fail(Code::kUnavailable, what + ": the answer's head does not end");
      }
      SLUICE_TRY(more, stream_.Read(), what);
      if (more.empty()) return Fail(Code::kUnavailable, what + ": no whole answer");
      received += more;
    }
    SLUICE_TRY(head, websocket::ParseAnswerHead(received.substr(0, end + 2)), what);
    received.erase(0, end + 4);
    if (head.status >= 300) {
      const std::string body = ReadBody(std::move(received), head);
      return Fail(ErrorFromResponse(Verb::kGet, head.status, body, what));
    }
    const auto protocol = websocket::AcceptedProtocol(head, key, ExecProtocols());
    if (!protocol) return Fail(protocol.error().Wrap(what));
    decoder_.Append(received);
    return Ok();
  }

  // Until the server has told how the command ended.
  Result<ExecOutcome> Collect() {
    while (true) {
      auto message = decoder_.Next();
      if (!message) return Fail(message.error());
      if (!*message) {
        auto more = stream_.Read();
        if (!more) return Fail(more.error());
        if (more->empty()) return Fail(NoEnd());
        decoder_.Append(*more);
        continue;
      }
      if (Status taken = Take(**message); !taken) return Fail(taken.error());
      if (!end_) continue;
      // A courtesy; what matters is known.
      (void)stream_.Write(websocket::EncodeFrame(Opcode::kClose, "", RandomMask()));
      auto code = ExitCodeOf(*end_);
      if (!code) return Fail(code.error());
      outcome_.exit_code = *code;
      return std::move(outcome_);
    }
  }

 private:
  static Error NoEnd() {
    return {Code::kUnavailable, "the connection ended before the command was known to have ended"};
  }

  // What there is of it; an answer that says why is worth a little patience only.
  std::string ReadBody(std::string body, const websocket::AnswerHead& head) {
    std::size_t wanted = kMaxErrorBody;
    const std::string length = head.Header("content-length");
    (void)std::from_chars(length.data(), length.data() + length.size(), wanted);
    wanted = std::min(wanted, kMaxErrorBody);
    while (body.size() < wanted) {
      auto more = stream_.Read();
      if (!more || more->empty()) break;
      body += *more;
    }
    body.resize(std::min(body.size(), wanted));
    return body;
  }

  Status Take(const Message& message) {
    switch (message.opcode) {
      case Opcode::kPing:
        return stream_.Write(websocket::EncodeFrame(Opcode::kPong, message.payload, RandomMask()));
      case Opcode::kPong:
        return Ok();
      case Opcode::kClose:
        return Fail(NoEnd());
      default:
        break;
    }
    if (message.payload.empty()) return Ok();
    const std::string_view data = std::string_view(message.payload).substr(1);
    // An unknown channel is somebody else's.
    if (message.payload.front() == kOutput) Keep(data, outcome_.output);
    if (message.payload.front() == kErrors) Keep(data, outcome_.errors);
    // Empty when the channel is opened.
    if (message.payload.front() == kStatus && !data.empty()) end_ = std::string(data);
    return Ok();
  }

  void Keep(std::string_view data, std::string& kept) const {
    kept += data.substr(0, options_.max_output_bytes - kept.size());
  }

  ByteStream& stream_;
  const ExecOptions& options_;
  websocket::Decoder decoder_;
  ExecOutcome outcome_;
  std::optional<std::string> end_;  // the Status as it came
};

class HttpPodExec final : public PodExec {
 public:
  HttpPodExec(std::unique_ptr<ServerAccess> server, ExecOptions options, platform::Metrics& metrics)
      : server_(std::move(server)), options_(std::move(options)), metrics_(metrics) {}

  Result<ExecOutcome> Run(const ExecRequest& request) override {
    auto outcome = Try(request);
    metrics_
        .AddCounter("sluice_kube_execs_total", "Commands in containers by how they ended",
                    {{"result", outcome ? (outcome->exit_code == 0 ? "ok" : "nonzero")
                                        : std::string(CodeName(outcome.error().code))}})
        .Add();
    return outcome;
  }

 private:
  Result<ExecOutcome> Try(const ExecRequest& request) {
    const std::string what =
        fmt::format("exec in pods {} container {}", request.pod.ToString(), request.container);
    SLUICE_TRY(head, RequestHead(request), what);
    const auto now = steady_clock::now();
    const auto deadline = now + options_.deadline;
    SLUICE_TRY(
        stream,
        ByteStream::Open(*server_, std::min(now + options_.connect_timeout, deadline), deadline),
        what);
    ExecSession session(*stream, options_);
    if (Status upgraded = session.Upgrade(head, what); !upgraded) return Fail(upgraded.error());
    SLUICE_TRY(outcome, session.Collect(), what);
    return outcome;
  }

  Result<std::string> RequestHead(const ExecRequest& request) {
    SLUICE_TRY(path, ObjectPath(resources::kPod, request.pod, "exec"), "path");
    std::string target =
        path + Query({{"container", request.container}, {"stdout", "true"}, {"stderr", "true"}});
    for (const std::string& word : request.command) target += "&command=" + PercentEncode(word);
    const Endpoint& where = server_->Where();
    const bool is_v6 = where.host.find(':') != std::string::npos;
    std::string head = fmt::format("GET {} HTTP/1.1\r\nHost: {}:{}\r\nUser-Agent: {}\r\n", target,
                                   is_v6 ? fmt::format("[{}]", where.host) : where.host, where.port,
                                   options_.user_agent);
    if (const std::string bearer = server_->BearerToken(); !bearer.empty()) {
      head += fmt::format("Authorization: Bearer {}\r\n", bearer);
    }
    return head;
  }

  std::unique_ptr<ServerAccess> server_;
  const ExecOptions options_;
  platform::Metrics& metrics_;
};

}  // namespace

Result<std::unique_ptr<PodExec>> ConnectExec(Config config, ExecOptions options,
                                             platform::Metrics& metrics) {
  SLUICE_TRY(server, ServerAccess::Create(std::move(config)), "Kubernetes API");
  return std::make_unique<HttpPodExec>(std::move(server), std::move(options), metrics);
}

}  // namespace sluice::kube
