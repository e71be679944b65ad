// A server that answers every connection with given bytes, as no proper server would.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <functional>
#include <string>
#include <thread>

namespace sluice::test {

class RawServer {
 public:
  // `answer` gets the number of the request, from 1, and the request's head.
  using Answer = std::function<std::string(int, const std::string&)>;
  // With `hold`, connections stay open and silent after the answer, until the client leaves.
  explicit RawServer(Answer answer, bool hold = false)
      : answer_(std::move(answer)), hold_(hold), fd_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    (void)bind(fd_, reinterpret_cast<sockaddr*>(&address), size);
    (void)listen(fd_, 16);
    (void)getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    thread_ = std::jthread([this](const std::stop_token& stop) { Serve(stop); });
  }
  ~RawServer() {
    thread_.request_stop();
    shutdown(fd_, SHUT_RDWR);
    thread_.join();
    close(fd_);
  }
  [[nodiscard]] std::string Url() const { return "http://127.0.0.1:" + std::to_string(port_); }
  [[nodiscard]] int Requests() const { return requests_; }

 private:
  void Serve(const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      const int peer = accept(fd_, nullptr, nullptr);
      if (peer < 0) return;
      std::string request;
      std::array<char, 4096> buffer{};
      while (request.find("\r\n\r\n") == std::string::npos) {
        const ssize_t got = recv(peer, buffer.data(), buffer.size(), 0);
        if (got <= 0) break;
        request.append(buffer.data(), static_cast<std::size_t>(got));
      }
      if (!request.empty()) {
        const std::string reply = answer_(++requests_, request.substr(0, request.find("\r\n\r\n")));
        std::size_t sent = 0;
        while (sent < reply.size()) {
          const ssize_t n = send(peer, reply.data() + sent, reply.size() - sent, MSG_NOSIGNAL);
          if (n <= 0) break;
          sent += static_cast<std::size_t>(n);
        }
        pollfd wait{.fd = peer, .events = POLLIN, .revents = 0};
        while (hold_ && !stop.stop_requested() && poll(&wait, 1, 50) == 0) {
        }
      }
      close(peer);
    }
  }

  Answer answer_;
  bool hold_;
  int fd_;
  int port_ = 0;
  std::atomic<int> requests_{0};
  std::jthread thread_;
};

inline std::string HttpAnswer(int status, const std::string& body,
                              const std::string& headers = "") {
  return "HTTP/1.1 " + std::to_string(status) +
         " X\r\nConnection: close\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" +
         headers + "\r\n" + body;
}

}  // namespace sluice::test
