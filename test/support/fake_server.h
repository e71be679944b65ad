// An HTTP server that says exactly what a test tells it to, wrong things included.
#pragma once

#include <functional>
#include <list>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "sluice/platform/guarded.h"
#include "sluice/platform/unique_fd.h"

namespace sluice::test {

struct FakeRequest {
  std::string method;
  std::string path;                            // as sent, encoded
  std::map<std::string, std::string> query;    // decoded
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body{};                          // as long as Content-Length says
};

struct FakeReply {
  enum class Then { kKeep, kClose, kStall };
  std::string bytes;  // head and body, as they go over the wire
  Then then = Then::kKeep;
  std::function<void()> wait{};  // before the first byte; other connections go on meanwhile
};

// "a=1&b=%20" taken apart and decoded.
std::map<std::string, std::string> ParseForm(const std::string& text);

// A well-formed answer. Content-Length is added unless among `headers`.
FakeReply Answer(int status, std::string_view body, const std::vector<std::string>& headers = {});

class FakeServer {
 public:
  using Handler = std::function<FakeReply(const FakeRequest&)>;

  // `handler` is called from several threads, one request at a time.
  explicit FakeServer(Handler handler);
  ~FakeServer();
  FakeServer(const FakeServer&) = delete;
  FakeServer& operator=(const FakeServer&) = delete;

  [[nodiscard]] int Port() const { return port_; }
  [[nodiscard]] std::string Endpoint() const;
  [[nodiscard]] std::vector<FakeRequest> Requests() const;
  [[nodiscard]] std::size_t Connections() const;

 private:
  struct State {
    std::vector<FakeRequest> requests;
    std::vector<int> open;  // sockets, to wake their threads at the end
    std::size_t connections = 0;
  };
  void Accept(const std::stop_token& stop);
  void Serve(int fd);

  Handler handler_;
  platform::Guarded<int> turn_;
  platform::UniqueFd listener_;
  int port_ = 0;
  platform::Guarded<State> state_;
  std::list<std::jthread> threads_;  // of the connections; used by the accepting thread
  std::jthread accepting_;
};

}  // namespace sluice::test
