// The real server on a real socket: bad input, TLS, exchange of the certificate, end.
#include <arpa/inet.h>
#include <sys/socket.h>

#include <atomic>
#include <random>
#include <thread>

#include <gtest/gtest.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "sluice/core/json_access.h"
#include "sluice/platform/unique_fd.h"

#include "golden_case.h"
#include "https_client.h"
#include "test_server.h"

namespace sluice::test {
namespace {

using namespace std::chrono_literals;

const ObjectSource& State() {
  static const auto kState = *yaml::FileObjects::Load(GoldenRoot() + "/cluster.json");
  return *kState;
}

std::string SidecarReview() { return ReadFile(GoldenRoot() + "/fluid-less-jfs/review.json"); }

int CodeOf(const httplib::Result& result) {
  if (!result) return -1;
  const Json review = Json::parse(result->body, nullptr, false);
  return ValueAt(review, "/response/status/code").is_number()
             ? ValueAt(review, "/response/status/code").get<int>()
             : -2;
}

class ServerTest : public testing::Test {
 protected:
  TestServer server_{State(), injection::DefaultSettings()};

  // The process lives and answers properly.
  void ExpectAlive() {
    auto client = ConnectTo(server_.Port());
    EXPECT_EQ(CodeOf(client->Post(kWebhookPath, SidecarReview(), "application/json")), 200);
  }
};

TEST_F(ServerTest, IgnoresTheQuery) {
  auto client = ConnectTo(server_.Port());
  EXPECT_EQ(CodeOf(client->Post(std::string(kWebhookPath) + "?timeout=15s", SidecarReview(),
                                "application/json")),
            200);
}

TEST_F(ServerTest, KnowsNoOtherPath) {
  auto client = ConnectTo(server_.Port());
  for (const char* path : {"/", "/mutate", "/mutate-fluid-io-v1alpha1-schedulepod/x"}) {
    auto result = client->Post(path, SidecarReview(), "application/json");
    ASSERT_TRUE(result) << path;
    EXPECT_EQ(result->status, 404) << path;
  }
  ExpectAlive();
}

TEST_F(ServerTest, AnswersBadInputAndLives) {
  struct Case {
    std::string body;
    const char* type;
    int code;
  };
  const std::vector<Case> cases{
      {"", "application/json", 400},
      {"{", "application/json", 400},
      {std::string(300000, '['), "application/json", 400},
      {"\xff\xfe\x00garbage", "application/json", 400},
      {SidecarReview(), "text/yaml", 400},
      {std::string(20000, 'a'), "application/x-www-form-urlencoded", 400},
      {"--x\r\n\r\n--x--", "multipart/form-data; boundary=x", 400},
      {R"({"request": {"object": {"spec": 7}}})", "application/json", 400},
  };
  auto client = ConnectTo(server_.Port());
  for (const Case& c : cases) {
    auto result = client->Post(kWebhookPath, c.body, c.type);
    ASSERT_TRUE(result) << c.type;
    EXPECT_EQ(result->status, 200);
    EXPECT_EQ(CodeOf(result), c.code) << result->body;
  }
  ExpectAlive();
}

TEST_F(ServerTest, RefusesOversizedBodies) {
  for (const std::size_t size : {std::size_t{7} << 20, (std::size_t{7} << 20) + 1,
                                 std::size_t{9} << 20, std::size_t{40} << 20}) {
    auto client = ConnectTo(server_.Port());
    auto result = client->Post(kWebhookPath, std::string(size, ' '), "application/json");
    // Far over the limit the server may close before the client has sent everything.
    if (!result) {
      EXPECT_GT(size, std::size_t{15} << 20);
      continue;
    }
    EXPECT_EQ(result->status, 200) << size;
    EXPECT_EQ(CodeOf(result), 413) << size;
  }
  ExpectAlive();
}

TEST_F(ServerTest, ReadsChunkedBodies) {
  auto client = ConnectTo(server_.Port());
  const std::string review = SidecarReview();
  auto result = client->Post(
      kWebhookPath,
      [&](std::size_t offset, httplib::DataSink& sink) {
        const std::size_t part = std::min<std::size_t>(1000, review.size() - offset);
        sink.write(review.data() + offset, part);
        if (offset + part == review.size()) sink.done();
        return true;
      },
      "application/json");
  EXPECT_EQ(CodeOf(result), 200);
}

TEST_F(ServerTest, CountsWhatItDoes) {
  auto client = ConnectTo(server_.Port());
  client->Post(kWebhookPath, SidecarReview(), "application/json");
  client->Post(kWebhookPath, "{", "application/json");
  const std::string text = server_.Metrics().Render();
  EXPECT_NE(text.find("sluice_webhook_admissions_total{mode=\"sidecar\",outcome=\"patched\","
                      "reason=\"dataset_sidecar\"} 1"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("outcome=\"malformed\",reason=\"bad_review\"} 1"), std::string::npos);
  EXPECT_NE(text.find("sluice_webhook_admission_seconds_count 1"), std::string::npos);
}

platform::UniqueFd Dial(int port) {
  platform::UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const timeval limit{.tv_sec = 20, .tv_usec = 0};
  ::setsockopt(fd.Get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
  if (::connect(fd.Get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) fd.Reset();
  return fd;
}

bool HandshakeWith(int port, int version) {
  const platform::UniqueFd fd = Dial(port);
  const std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context(SSL_CTX_new(TLS_client_method()),
                                                                  SSL_CTX_free);
  SSL_CTX_set_security_level(context.get(), 0);
  SSL_CTX_set_min_proto_version(context.get(), version);
  SSL_CTX_set_max_proto_version(context.get(), version);
  const std::unique_ptr<SSL, decltype(&SSL_free)> ssl(SSL_new(context.get()), SSL_free);
  SSL_set_fd(ssl.get(), fd.Get());
  return SSL_connect(ssl.get()) == 1;
}

TEST_F(ServerTest, SpeaksTls12AndLaterOnly) {
  EXPECT_FALSE(HandshakeWith(server_.Port(), TLS1_VERSION));
  EXPECT_FALSE(HandshakeWith(server_.Port(), TLS1_1_VERSION));
  EXPECT_TRUE(HandshakeWith(server_.Port(), TLS1_2_VERSION));
  EXPECT_TRUE(HandshakeWith(server_.Port(), TLS1_3_VERSION));
}

TEST_F(ServerTest, HangsUpOnWhatIsNotTls) {
  const platform::UniqueFd fd = Dial(server_.Port());
  const std::string text = "POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n";
  ASSERT_EQ(::send(fd.Get(), text.data(), text.size(), 0), static_cast<ssize_t>(text.size()));
  char byte = 0;
  while (::recv(fd.Get(), &byte, 1, 0) > 0) {
  }
  ExpectAlive();
}

TEST_F(ServerTest, RefusesACertificateThatDoesNotFitItsKey) {
  const certs::KeyPair& serving = TestIdentity().serving;
  EXPECT_FALSE(server_.Tls().UseCertificate(serving.certificate, TestIdentity().ca.key));
  EXPECT_FALSE(server_.Tls().UseCertificate("", serving.key));
  ExpectAlive();  // with the old one
}

// The serial number of the certificate that a new connection sees.
std::string SerialAt(int port) {
  const platform::UniqueFd fd = Dial(port);
  const std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context(SSL_CTX_new(TLS_client_method()),
                                                                  SSL_CTX_free);
  const std::unique_ptr<SSL, decltype(&SSL_free)> ssl(SSL_new(context.get()), SSL_free);
  SSL_set_fd(ssl.get(), fd.Get());
  if (SSL_connect(ssl.get()) != 1) return "";
  const std::unique_ptr<X509, decltype(&X509_free)> peer(SSL_get1_peer_certificate(ssl.get()),
                                                         X509_free);
  const ASN1_INTEGER* serial = X509_get0_serialNumber(peer.get());
  return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(serial)),
          static_cast<std::size_t>(ASN1_STRING_length(serial))};
}

TEST_F(ServerTest, ChangesItsCertificateUnderLoadWithoutAFailedRequest) {
  certs::ServingNames names = certs::ServiceNames("fluid-system");
  auto other = certs::IssueServing(TestIdentity().ca, names, std::chrono::system_clock::now());
  ASSERT_TRUE(other);
  const std::string before = SerialAt(server_.Port());

  std::atomic<bool> done{false};
  std::atomic<int> answered{0};
  std::atomic<int> failed{0};
  std::vector<std::jthread> clients;
  for (int i = 0; i < 4; ++i) {
    clients.emplace_back([&, i] {
      const std::string review = SidecarReview();
      auto client = ConnectTo(server_.Port());
      while (!done) {
        // Some keep their connection over the change, some come anew.
        if (i % 2 == 0) client = ConnectTo(server_.Port());
        (CodeOf(client->Post(kWebhookPath, review, "application/json")) == 200 ? answered : failed)
            .fetch_add(1);
      }
    });
  }
  const auto wait_for = [&](int more) {
    const int target = answered + more;
    const auto deadline = std::chrono::steady_clock::now() + 30s;
    while (answered < target && std::chrono::steady_clock::now() < deadline) {
      std::this_thread::yield();
    }
  };
  for (int change = 0; change < 6; ++change) {
    wait_for(20);
    const certs::KeyPair& pair = change % 2 == 0 ? *other : TestIdentity().serving;
    ASSERT_TRUE(server_.Tls().UseCertificate(pair.certificate, pair.key));
    wait_for(20);
  }
  done = true;
  clients.clear();
  EXPECT_EQ(failed, 0);
  EXPECT_GE(answered, 240);
  EXPECT_EQ(SerialAt(server_.Port()), before);  // an even number of changes
  ASSERT_TRUE(server_.Tls().UseCertificate(other->certificate, other->key));
  EXPECT_NE(SerialAt(server_.Port()), before);
}

TEST(ServerStopTest, EndsIdleConnectionsAtOnce) {
  auto server = std::make_unique<TestServer>(State(), injection::DefaultSettings());
  auto client = ConnectTo(server->Port());
  ASSERT_EQ(CodeOf(client->Post(kWebhookPath, SidecarReview(), "application/json")), 200);
  const auto begin = std::chrono::steady_clock::now();
  server.reset();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 5s);
}

TEST(ServerStartTest, SharesItsPortWithNobody) {
  TestServer first(State(), injection::DefaultSettings());
  platform::Metrics metrics;
  webhook::TlsServer second(
      {.path = "/"}, [](auto, auto) { return std::string(); }, platform::Log("test"), metrics);
  auto port = second.Start("127.0.0.1", first.Port());
  ASSERT_FALSE(port);
  EXPECT_NE(port.error().message.find(std::to_string(first.Port())), std::string::npos);
}

TEST(ServerStopTest, CanStopBeforeItStarted) {
  platform::Metrics metrics;
  webhook::TlsServer server(
      {.path = "/"}, [](auto, auto) { return std::string(); }, platform::Log("test"), metrics);
  server.Stop();
}

TEST(ServerLimitTest, CutsOffARequestThatTakesTooLong) {
  TestServer server(State(), injection::DefaultSettings(),
                    {.path = kWebhookPath, .request_time = 1s});
  const platform::UniqueFd fd = Dial(server.Port());
  const std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context(SSL_CTX_new(TLS_client_method()),
                                                                  SSL_CTX_free);
  const std::unique_ptr<SSL, decltype(&SSL_free)> ssl(SSL_new(context.get()), SSL_free);
  SSL_set_fd(ssl.get(), fd.Get());
  ASSERT_EQ(SSL_connect(ssl.get()), 1);
  const std::string half = std::string("POST ") + kWebhookPath + " HTTP/1.1\r\nContent-Le";
  ASSERT_GT(SSL_write(ssl.get(), half.data(), static_cast<int>(half.size())), 0);
  const auto begin = std::chrono::steady_clock::now();
  char byte = 0;
  while (SSL_read(ssl.get(), &byte, 1) > 0) {
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 10s);
}

// One connection that stays open, request after request.
class KeptConnection {
 public:
  explicit KeptConnection(int port) : fd_(Dial(port)) {
    SSL_set_fd(ssl_.get(), fd_.Get());
    if (SSL_connect(ssl_.get()) != 1) ssl_.reset();
  }
  // The answer to a request for nothing; empty when the connection is closed.
  std::string Ask() {
    const std::string request =
        std::string("GET ") + kWebhookPath + " HTTP/1.1\r\nHost: localhost\r\n\r\n";
    return Send(request) ? Read() : "";
  }
  bool Send(const std::string& text) {
    return ssl_ && SSL_write(ssl_.get(), text.data(), static_cast<int>(text.size())) > 0;
  }
  std::string Read() {
    std::string answer;
    char byte = 0;
    while (!IsWhole(answer) && SSL_read(ssl_.get(), &byte, 1) == 1) answer += byte;
    return answer;
  }
  // Whether the server has said goodbye; waits for it.
  bool IsClosed() {
    char byte = 0;
    ERR_clear_error();  // what an earlier failure left would be taken for this one's
    return SSL_read(ssl_.get(), &byte, 1) == 0 &&
           SSL_get_error(ssl_.get(), 0) == SSL_ERROR_ZERO_RETURN;
  }

 private:
  // The body is a JSON object, or there is none.
  static bool IsWhole(const std::string& answer) {
    if (answer.ends_with("\r\n\r\n") && answer.find("Content-Length: 0\r\n") != std::string::npos) {
      return true;
    }
    const std::size_t body = answer.find("\r\n\r\n{");
    return body != std::string::npos &&
           !Json::parse(answer.substr(body), nullptr, false).is_discarded();
  }

  platform::UniqueFd fd_;
  std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context_{SSL_CTX_new(TLS_client_method()),
                                                             SSL_CTX_free};
  std::unique_ptr<SSL, decltype(&SSL_free)> ssl_{SSL_new(context_.get()), SSL_free};
};

TEST(ServerLimitTest, KeepsMoreClientsThanThreadsWithoutALostRequest) {
  TestServer server(State(), injection::DefaultSettings(),
                    {.path = kWebhookPath, .max_threads = 2});
  constexpr unsigned kClients = 12;
  constexpr int kRequests = 60;
  std::atomic<int> answered{0};
  std::vector<std::jthread> clients;
  for (unsigned i = 0; i < kClients; ++i) {
    clients.emplace_back([&, i] {
      KeptConnection connection(server.Port());
      std::minstd_rand random(i + 1);
      for (int request = 0; request < kRequests; ++request) {
        if (!connection.Ask().empty()) ++answered;
        // Requests come at every moment of what the server does between two of them.
        const auto end =
            std::chrono::steady_clock::now() + std::chrono::microseconds(random() % 2000);
        while (std::chrono::steady_clock::now() < end) std::this_thread::yield();
      }
    });
  }
  clients.clear();
  EXPECT_EQ(answered, kClients * kRequests);
}

TEST(ServerLimitTest, SlowClientsHoldNoThread) {
  TestServer server(State(), injection::DefaultSettings(),
                    {.path = kWebhookPath, .max_threads = 1});
  // One that never speaks, one in the middle of its handshake, one in the middle of its request.
  const platform::UniqueFd silent = Dial(server.Port());
  const platform::UniqueFd shaking = Dial(server.Port());
  const std::string hello_part("\x16\x03\x01\x02\x00\x01", 6);
  ASSERT_EQ(::send(shaking.Get(), hello_part.data(), hello_part.size(), 0), 6);
  KeptConnection asking(server.Port());
  ASSERT_TRUE(asking.Send(std::string("POST ") + kWebhookPath + " HTTP/1.1\r\nContent-Length: 5"));
  KeptConnection other(server.Port());
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < 20; ++i) EXPECT_NE(other.Ask(), "");
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 3s) << "less than any deadline";
  // The slow one is served when it has said all.
  ASSERT_TRUE(asking.Send("\r\n\r\nab"));
  EXPECT_NE(other.Ask(), "");
  ASSERT_TRUE(asking.Send("cde"));
  EXPECT_NE(asking.Read().find("contentType="), std::string::npos);
}

TEST(ServerLimitTest, SlowClientsOfLongRequestsHoldNoThread) {
  TestServer server(State(), injection::DefaultSettings(),
                    {.path = kWebhookPath, .max_threads = 1});
  KeptConnection slow(server.Port());
  const std::string post = std::string("POST ") + kWebhookPath + " HTTP/1.1\r\n";
  ASSERT_TRUE(slow.Send(post + "Content-Length: 200001\r\n\r\n" + std::string(200'000, 'a')));
  KeptConnection told(server.Port());
  ASSERT_TRUE(told.Send(post + "Content-Length: 1\r\nExpect: 100-continue\r\n\r\n"));
  KeptConnection other(server.Port());
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < 20; ++i) EXPECT_NE(other.Ask(), "");
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 3s) << "less than any deadline";
  ASSERT_TRUE(slow.Send("a"));
  EXPECT_NE(slow.Read().find("contentType="), std::string::npos);
  ASSERT_TRUE(told.Send("a"));
  const std::string answers = told.Read();
  EXPECT_TRUE(answers.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200")) << answers;
}

// What only looks like a whole request, and what has no end.
TEST(ServerLimitTest, ClientsOfRequestsWithoutAnEndHoldNoThread) {
  const std::string post = std::string("POST ") + kWebhookPath + " HTTP/1.1\r\n";
  const std::string chunked = post + "Transfer-Encoding: chunked\r\n\r\n";
  for (const std::string& text : {
           post + "Host: a\r\n\r\n",
           post + "Content-Length: 10 \r\n\r\na",
           post + "Content-Length: +10\r\n\r\na",
           post + "Content-Length: x\r\n\r\na",
           post + "Content-Length\t: 10\r\n\r\na",
           chunked + "5\r\n0\r\n\r\n",
           chunked + "0x5\r\na",
           std::string("POST ") + kWebhookPath + " HTTP/1.1\nContent-Length: 10\n\n",
           post + "X: " + std::string(70'000, 'a'),
       }) {
    SCOPED_TRACE(text.substr(0, 120));
    TestServer server(State(), injection::DefaultSettings(),
                      {.path = kWebhookPath, .max_threads = 1});
    KeptConnection other(server.Port());
    ASSERT_NE(other.Ask(), "");
    KeptConnection slow(server.Port());
    ASSERT_TRUE(slow.Send(text));
    const auto begin = std::chrono::steady_clock::now();
    for (int i = 0; i < 5; ++i) {
      EXPECT_NE(other.Ask(), "");
      std::this_thread::sleep_for(10ms);
    }
    EXPECT_LT(std::chrono::steady_clock::now() - begin, 800ms) << "less than any deadline";
  }
}

TEST(ServerLimitTest, RefusesRequestsWhoseEndNobodyKnows) {
  TestServer server(State(), injection::DefaultSettings());
  KeptConnection client(server.Port());
  ASSERT_TRUE(client.Send(std::string("POST ") + kWebhookPath +
                          " HTTP/1.1\r\nContent-Length: +2\r\n\r\n{}"));
  EXPECT_TRUE(client.Read().starts_with("HTTP/1.1 400 "));
}

TEST(ServerLimitTest, KnowsWhereChunkedRequestsEnd) {
  TestServer server(State(), injection::DefaultSettings());
  KeptConnection client(server.Port());
  const std::string post = std::string("POST ") + kWebhookPath + " HTTP/1.1\r\n";
  const std::string chunked =
      post + "Transfer-Encoding: chunked\r\n\r\n5;a=b\r\n0\r\n\r\n\r\n00;a=b\r\n\r\n";
  ASSERT_TRUE(client.Send(chunked + post + "\r\n" + chunked));
  EXPECT_NE(client.Read().find("contentType="), std::string::npos);
  EXPECT_NE(client.Read().find("request body is empty"), std::string::npos) << "has no length";
  EXPECT_NE(client.Read().find("contentType="), std::string::npos);
  EXPECT_NE(client.Ask(), "");
}

TEST(ServerLimitTest, AnswersFewLongRequestsAtATime) {
  std::atomic<int> running{0};
  std::atomic<int> most{0};
  platform::Metrics metrics;
  webhook::TlsServer server(
      {.path = "/"},
      [&](auto, auto) {
        const int now = ++running;
        for (int seen = most; seen < now && !most.compare_exchange_weak(seen, now);) {
        }
        std::this_thread::sleep_for(100ms);
        --running;
        return std::string("{}");
      },
      platform::Log("test"), metrics);
  ASSERT_TRUE(
      server.UseCertificate(TestIdentity().serving.certificate, TestIdentity().serving.key));
  const auto port = server.Start("127.0.0.1", 0);
  ASSERT_TRUE(port);
  const auto most_of = [&](std::size_t size) {
    most = 0;
    std::vector<std::jthread> clients;
    for (int i = 0; i < 6; ++i) {
      clients.emplace_back([&] {
        EXPECT_TRUE(ConnectTo(*port)->Post("/", std::string(size, 'a'), "application/json"));
      });
    }
    clients.clear();
    return most.load();
  };
  EXPECT_EQ(most_of(300'000), 2);
  EXPECT_GT(most_of(30'000), 2);
}

TEST(ServerLimitTest, LongRequestsHaveSoMuchMemoryAndNoMore) {
  TestServer server(State(), injection::DefaultSettings());
  const std::string head =
      std::string("POST ") + kWebhookPath + " HTTP/1.1\r\nContent-Length: 7000000\r\n\r\n";
  std::vector<std::unique_ptr<KeptConnection>> slow;
  for (int i = 0; i < 12; ++i) {
    slow.push_back(std::make_unique<KeptConnection>(server.Port()));
    (void)slow.back()->Send(head + std::string(6'999'000, 'a'));
  }
  KeptConnection other(server.Port());
  EXPECT_NE(other.Ask(), "") << "usual requests need none of it";
  int answered = 0;
  for (const auto& one : slow) {
    (void)one->Send(std::string(1000, 'a'));
    const std::string answer = one->Read();
    if (answer.starts_with("HTTP/1.1 200")) {
      ++answered;
    } else {
      EXPECT_TRUE(answer.starts_with("HTTP/1.1 503")) << answer;
    }
  }
  EXPECT_GE(answered, 8);
  EXPECT_LT(answered, 12);
  const std::string refused =
      "\nsluice_webhook_requests_without_memory_total " + std::to_string(12 - answered) + "\n";
  EXPECT_NE(server.Metrics().Render().find(refused), std::string::npos);
  slow.clear();
  ASSERT_TRUE(other.Send(head + std::string(7'000'000, 'a')));
  EXPECT_NE(other.Read(), "") << "the memory was given back";
}

TEST(ServerLimitTest, OfTooManyIdleClientsTheLongestGoes) {
  TestServer server(State(), injection::DefaultSettings(),
                    {.path = kWebhookPath, .max_threads = 1, .max_idle = 2});
  KeptConnection first(server.Port());
  ASSERT_NE(first.Ask(), "");
  KeptConnection second(server.Port());
  ASSERT_NE(second.Ask(), "");
  ASSERT_NE(first.Ask(), "");  // now the second has been idle longest
  KeptConnection third(server.Port());
  EXPECT_NE(third.Ask(), "");
  EXPECT_TRUE(second.IsClosed());
  EXPECT_NE(first.Ask(), "") << "there was room for it";
}

TEST(ServerLimitTest, SlowClientsDriveOutNoClientThatIsKept) {
  TestServer server(State(), injection::DefaultSettings(),
                    {.path = kWebhookPath, .max_threads = 1, .max_idle = 4});
  KeptConnection kept(server.Port());
  ASSERT_NE(kept.Ask(), "");
  std::vector<std::unique_ptr<KeptConnection>> slow;
  for (int i = 0; i < 6; ++i) {
    slow.push_back(std::make_unique<KeptConnection>(server.Port()));
    // Every byte would make it the newest of all.
    for (const auto& one : slow) (void)one->Send("P");
    std::this_thread::sleep_for(20ms);
  }
  EXPECT_NE(kept.Ask(), "");
  EXPECT_TRUE(slow.front()->IsClosed()) << "the longest in its request";
}

TEST(ServerStopTest, LetsARequestThatIsArrivingEnd) {
  auto server = std::make_unique<TestServer>(State(), injection::DefaultSettings());
  KeptConnection idle(server->Port());
  ASSERT_NE(idle.Ask(), "");
  KeptConnection slow(server->Port());
  ASSERT_TRUE(
      slow.Send(std::string("POST ") + kWebhookPath + " HTTP/1.1\r\nContent-Length: 3\r\n\r\na"));
  std::this_thread::sleep_for(200ms);  // the server has it
  std::jthread stop([&] { server->Tls().Stop(); });
  EXPECT_TRUE(idle.IsClosed());
  ASSERT_TRUE(slow.Send("b"));
  std::this_thread::sleep_for(50ms);
  ASSERT_TRUE(slow.Send("c"));
  EXPECT_NE(slow.Read().find("contentType="), std::string::npos);
  EXPECT_TRUE(slow.IsClosed());
}

TEST(ServerStopTest, WaitsForNoRequestBehindItsTime) {
  TestServer server(State(), injection::DefaultSettings(),
                    {.path = kWebhookPath, .request_time = 1s});
  KeptConnection slow(server.Port());
  ASSERT_TRUE(slow.Send("POST"));
  std::this_thread::sleep_for(200ms);  // the server has it
  const auto begin = std::chrono::steady_clock::now();
  server.Tls().Stop();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 5s);
}

TEST(ServerLimitTest, AClientThatAsksForNothingGoes) {
  TestServer server(State(), injection::DefaultSettings(), {.path = kWebhookPath, .idle_time = 1s});
  KeptConnection client(server.Port());
  ASSERT_NE(client.Ask(), "");
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_TRUE(client.IsClosed());
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 10s);
}

TEST(ServerLimitTest, OneThreadServesClientsThatStay) {
  TestServer server(State(), injection::DefaultSettings(),
                    {.path = kWebhookPath, .max_threads = 1});
  KeptConnection first(server.Port());
  KeptConnection second(server.Port());
  for (int round = 0; round < 3; ++round) {
    EXPECT_EQ(first.Ask().find("Connection: close"), std::string::npos);
    EXPECT_NE(second.Ask(), "");
  }
}

}  // namespace
}  // namespace sluice::test
