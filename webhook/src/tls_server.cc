#include "sluice/webhook/tls_server.h"

#include <fcntl.h>
#include <malloc.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <functional>
#include <optional>
#include <semaphore>
#include <thread>
#include <utility>

#include <fmt/format.h>
#include <httplib.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include "sluice/platform/guarded.h"
#include "sluice/platform/openssl.h"
#include "sluice/platform/unique_fd.h"

#include "connection_threads.h"
#include "idle_connections.h"
#include "tls_stream.h"

namespace sluice::webhook {
namespace {

using Context = std::shared_ptr<SSL_CTX>;

// Long requests that are being received or answered; API servers send few of them.
constexpr std::size_t kMostLongRequestBytes = 64U << 20;

// So many long bodies are copied, parsed and answered at a time: each takes many times its size.
constexpr std::size_t kLongBody = 256U << 10;
constexpr int kMostLongBodies = 2;

// What has arrived too late to be read is thrown away for so long.
constexpr std::chrono::seconds kLeavingTime{1};

constexpr std::chrono::seconds kBetweenWarnings{60};

constexpr std::string_view kMalformed =
    "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
constexpr std::string_view kNoMemory =
    "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

// Where the request's Content-Type goes before httplib sees it: the library would take a form
// apart, while every body must come through as it is.
constexpr const char* kContentType = "Sluice-Content-Type";

// Hides what httplib would act on, and says what it would not assume: that a request without a
// length has no body.
void MendHeaders(httplib::Request& request) {
  request.headers.erase("Expect");  // done as asked when the request was received
  const std::string type = request.get_header_value("Content-Type");
  request.headers.erase("Content-Type");
  request.headers.erase(kContentType);
  request.headers.emplace(kContentType, type);
  if (!request.has_header("Transfer-Encoding") && !request.has_header("Content-Length")) {
    request.headers.emplace("Content-Length", "0");
  }
}

bool HasLongBody(const httplib::Request& request) {
  return request.has_header("Transfer-Encoding") ||
         request.get_header_value<std::uint64_t>("Content-Length") > kLongBody;
}

// One of so many, waited for; given back at the end of the scope, with what memory it took.
class Turn {
 public:
  explicit Turn(std::counting_semaphore<>& turns) : turns_(turns) { turns_.acquire(); }
  ~Turn() {
    ::malloc_trim(0);  // else each thread's arena keeps the most that it ever held
    turns_.release();
  }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

 private:
  std::counting_semaphore<>& turns_;
};

// The first certificate of the file is the server's, further ones are its chain.
bool LoadCertificates(SSL_CTX* context, const std::string& pem) {
  const auto certificates = platform::ParseCertificates(pem);
  if (certificates.empty()) return false;
  if (SSL_CTX_use_certificate(context, certificates.front().get()) != 1) return false;
  return std::all_of(certificates.begin() + 1, certificates.end(), [&](const auto& certificate) {
    return SSL_CTX_add1_chain_cert(context, certificate.get()) == 1;
  });
}

bool LoadKey(SSL_CTX* context, const std::string& pem) {
  const platform::PrivateKeyPtr key = platform::ParsePrivateKey(pem);
  return key && SSL_CTX_use_PrivateKey(context, key.get()) == 1 &&
         SSL_CTX_check_private_key(context) == 1;
}

Result<Context> MakeContext(const std::string& certificate, const std::string& key) {
  Context context(SSL_CTX_new(TLS_server_method()), SSL_CTX_free);
  if (!context) return Fail(Code::kInternal, "create a TLS context");
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  SSL_CTX_set_options(context.get(), SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                         SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_mode(context.get(), SSL_MODE_ENABLE_PARTIAL_WRITE |
                                      SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                      SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_read_ahead(context.get(), 1);  // a record's head and body with one call
  SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_OFF);
  const bool loaded = LoadCertificates(context.get(), certificate) && LoadKey(context.get(), key);
  ERR_clear_error();
  if (!loaded) {
    return Fail(Code::kInvalidArgument,
                "serving certificate: certificate or key is no PEM, or "
                "they do not belong together");
  }
  return context;
}

// httplib deletes its queue when its loop ends; the threads outlive it.
class AcceptedSockets final : public httplib::TaskQueue {
 public:
  explicit AcceptedSockets(ConnectionThreads& threads) : threads_(threads) {}
  // NOLINTNEXTLINE(readability-identifier-naming)
  void enqueue(std::function<void()> task) override { threads_.Run(std::move(task)); }
  void shutdown() override {}  // NOLINT(readability-identifier-naming)

 private:
  ConnectionThreads& threads_;
};

}  // namespace

struct TlsServer::Impl final : private httplib::Server {
 public:
  using Clock = std::chrono::steady_clock;

  Impl(TlsServerOptions given, ReviewHandler review_handler, platform::Log server_log,
       platform::Metrics& metrics)
      : options(std::move(given)),
        handler(std::move(review_handler)),
        log(std::move(server_log)),
        connections(metrics.AddGauge("sluice_webhook_connections", "Open TLS connections.")),
        handshake_failures(metrics.AddCounter("sluice_webhook_tls_handshake_failures_total",
                                              "Connections that did not become TLS.")),
        requests_without_memory(
            metrics.AddCounter("sluice_webhook_requests_without_memory_total",
                               "Requests refused because long ones held all their memory.")) {
    new_task_queue = [this] { return new AcceptedSockets(threads); };
    set_payload_max_length(options.max_body_bytes + 1);
    set_keep_alive_max_count(SIZE_MAX);
    set_tcp_nodelay(true);
    // Not SO_REUSEPORT, the library's choice: two servers on one port would share its requests.
    set_socket_options([](socket_t socket) {
      const int yes = 1;
      ::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    });
    AddRoutes();
  }

  void AddRoutes() {
    const auto with_body = [this](const httplib::Request& request, httplib::Response& response,
                                  const httplib::ContentReader& read) {
      std::optional<Turn> turn;
      if (HasLongBody(request)) turn.emplace(long_bodies);
      std::string body;
      const bool whole = read([&](const char* data, std::size_t size) {
        // What is over the limit is read and forgotten, so that the client can read the answer.
        if (body.size() < options.max_body_bytes) body.append(data, size);
        return true;
      });
      // The reader fails for a body over the limit, and for a broken connection, where any answer
      // is good.
      if (!whole || body.size() > options.max_body_bytes) body.resize(options.max_body_bytes);
      Answer(request, body, response);
    };
    Post(options.path, with_body);
    Put(options.path, with_body);
    Patch(options.path, with_body);
    Get(options.path, [this](const httplib::Request& request, httplib::Response& response) {
      Answer(request, "", response);
    });
    // Anything that went wrong before or in a route.
    set_error_handler([](const httplib::Request&, httplib::Response& response) {
      if (response.body.empty() && response.status == 404) {
        response.set_content("404 page not found\n", "text/plain");
      }
    });
  }

  void Answer(const httplib::Request& request, const std::string& body,
              httplib::Response& response) {
    response.status = 200;
    response.set_content(handler(request.get_header_value(kContentType), body), "application/json");
  }

  // A new connection, on a thread.
  bool process_and_close_socket(socket_t socket) override {  // NOLINT
    platform::UniqueFd owner(socket);
    ::fcntl(socket, F_SETFL, ::fcntl(socket, F_GETFL) | O_NONBLOCK);
    const Context context = current.With([](const Context& value) { return value; });
    const auto connection =
        std::make_shared<Connection>(std::move(owner), context.get(), memory, connections);
    Enter(Connection::Phase::kHandshake, options.handshake_time, *connection);
    GoOn(connection);
    return true;
  }

  // A connection whose peer has sent something, on a thread: goes as far as that takes it.
  void GoOn(const ConnectionPtr& connection) {
    using Progress = TlsStream::Progress;
    TlsStream& stream = connection->Stream();
    if (connection->phase == Connection::Phase::kLeaving) {
      if (stream.Discard()) WaitFor(EPOLLIN, connection);
      return;
    }
    while (true) {
      const bool shaking = connection->phase == Connection::Phase::kHandshake;
      const Progress progress = shaking ? stream.Shake() : stream.Fill(MaxBytes());
      if (progress != Progress::kDone) {
        PutAside(progress, connection);
        return;
      }
      if (!shaking && !Serve(*connection)) {
        Leave(connection);
        return;
      }
      Enter(Connection::Phase::kBetweenRequests, options.idle_time, *connection);
      if (!shaking && !stream.HasMore()) {
        WaitFor(EPOLLIN, connection);
        return;
      }
    }
  }

  // One that cannot go on, now or at all.
  void PutAside(TlsStream::Progress progress, const ConnectionPtr& connection) {
    using Progress = TlsStream::Progress;
    TlsStream& stream = connection->Stream();
    switch (progress) {
      case Progress::kWantsRead:
      case Progress::kWantsWrite:
        if (connection->phase == Connection::Phase::kBetweenRequests && stream.HasBegun()) {
          Enter(Connection::Phase::kRequest, options.request_time, *connection);
        }
        WaitFor(progress == Progress::kWantsRead ? EPOLLIN : EPOLLOUT, connection);
        return;
      case Progress::kMalformed:
        stream.Refuse(kMalformed);
        Leave(connection);
        return;
      case Progress::kNoMemory:
        TellOfNoMemory();
        stream.Refuse(kNoMemory);
        Leave(connection);
        return;
      case Progress::kDone:
      case Progress::kFailed:
        Close(*connection);
        return;
    }
  }

  // One that is waited for at every moment is not found overdue among those that wait.
  void WaitFor(std::uint32_t events, const ConnectionPtr& connection) {
    if (Clock::now() >= connection->until) {
      Close(*connection);
      return;
    }
    connection->events = events;
    idle.Keep(connection);
  }

  // After its last answer.
  void Leave(const ConnectionPtr& connection) {
    connection->Stream().Goodbye();
    if (!connection->Stream().IsBroken()) return;
    Enter(Connection::Phase::kLeaving, kLeavingTime, *connection);
    WaitFor(EPOLLIN, connection);
  }

  void TellOfNoMemory() {
    requests_without_memory.Add();
    const auto now = Clock::now();
    const bool tell = warns_again.With([&](Clock::time_point& again) {
      if (now < again) return false;
      again = now + kBetweenWarnings;
      return true;
    });
    if (tell) log.Warn("refused a request: long ones hold all their memory");
  }

  // Of a request. What is longer is cut off there, and answered for what it is.
  [[nodiscard]] std::size_t MaxBytes() const { return options.max_body_bytes + kMaxHeadBytes; }

  static void Enter(Connection::Phase phase, std::chrono::seconds time, Connection& connection) {
    connection.phase = phase;
    connection.since = Clock::now();
    connection.until = connection.since + time;
  }

  void Close(Connection& connection) {
    if (connection.phase == Connection::Phase::kLeaving) return;
    if (connection.phase == Connection::Phase::kHandshake) handshake_failures.Add();
    connection.Stream().Goodbye();
  }

  // One request; false when it was the connection's last.
  bool Serve(Connection& connection) {
    TlsStream& stream = connection.Stream();
    const auto deadline = connection.phase == Connection::Phase::kRequest
                              ? connection.until
                              : Clock::now() + options.request_time;
    stream.BeginRequest(deadline);
    const bool last = stopping;
    bool closed = false;
    const bool served = process_request(stream, last, closed, MendHeaders);
    return stream.EndRequest() && served && !last && !closed && !stream.IsBroken();
  }

  Result<int> Listen(const std::string& host, int port) {
    const int bound = port == 0 ? bind_to_any_port(host) : bind_to_port(host, port) ? port : -1;
    if (bound <= 0) {
      return Fail(Code::kUnavailable,
                  fmt::format("listen on {}:{}: {}", host, port, std::strerror(errno)));
    }
    idle.Start();
    acceptor = std::jthread([this] { listen_after_bind(); });
    // stop() does nothing on a server whose loop has not begun.
    while (!is_running()) std::this_thread::yield();
    return bound;
  }

  void StopAll() {
    if (stopping.exchange(true)) return;
    threads.StopWaiting();
    if (acceptor.joinable()) {
      stop();
      acceptor.join();
    }
    idle.Stop();
    threads.Stop();
  }

  const TlsServerOptions options;
  const ReviewHandler handler;
  const platform::Log log;
  platform::Gauge& connections;
  platform::Counter& handshake_failures;
  platform::Counter& requests_without_memory;
  platform::Guarded<Clock::time_point> warns_again;
  platform::Guarded<Context> current;
  RequestMemory memory{kMostLongRequestBytes};
  std::counting_semaphore<> long_bodies{kMostLongBodies};
  ConnectionThreads threads{options.max_threads};
  IdleConnections idle{
      options.max_idle,
      {.resume =
           [this](ConnectionPtr connection) {
             threads.Run([this, connection = std::move(connection)] { GoOn(connection); });
           },
       .close = [this](Connection& connection) { Close(connection); },
       .expects_more = [this] { return threads.AreBusy(); }}};
  std::atomic<bool> stopping{false};
  std::jthread acceptor;
};

TlsServer::TlsServer(TlsServerOptions options, ReviewHandler handler, platform::Log log,
                     platform::Metrics& metrics)
    : impl_(std::make_unique<Impl>(std::move(options), std::move(handler), std::move(log),
                                   metrics)) {}

TlsServer::~TlsServer() { impl_->StopAll(); }

Status TlsServer::UseCertificate(const std::string& certificate, const std::string& key) {
  auto context = MakeContext(certificate, key);
  if (!context) return Fail(context.error());
  impl_->current.With([&](Context& current) { current = std::move(*context); });
  return Ok();
}

Result<int> TlsServer::Start(const std::string& host, int port) {
  return impl_->Listen(host, port);
}

void TlsServer::Stop() { impl_->StopAll(); }

}  // namespace sluice::webhook
