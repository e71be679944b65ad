// A worker of the pool that says what no memcached would: garbage, too early, in crumbs, half.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <charconv>
#include <chrono>
#include <functional>
#include <list>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "sluice/core/pool_members.h"
#include "sluice/platform/guarded.h"
#include "sluice/platform/unique_fd.h"

namespace sluice::test {

class ScriptedWorker {
 public:
  struct Reply {
    std::string bytes{};
    std::size_t piece = 0;  // bytes sent at a time, with a pause after each; 0: all at once
    std::chrono::microseconds pause{200};
    bool then_close = false;
    // Of a put: answered before its value is read, with a pause between.
    bool early = false;
  };
  // The answer to a request's line (without its end). Called from several threads.
  using Script = std::function<Reply(std::string_view)>;

  static constexpr std::chrono::milliseconds kPauseOfEarly{200};

  explicit ScriptedWorker(Script script) : script_(std::move(script)) {
    listener_ = platform::UniqueFd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof(address);
    ::bind(listener_.Get(), reinterpret_cast<sockaddr*>(&address), length);
    ::listen(listener_.Get(), 64);
    ::getsockname(listener_.Get(), reinterpret_cast<sockaddr*>(&address), &length);
    port_ = ntohs(address.sin_port);
    accepting_ = std::jthread([this](const std::stop_token& stop) { Accept(stop); });
  }
  ~ScriptedWorker() {
    accepting_.request_stop();
    accepting_.join();
    for (std::jthread& thread : threads_) thread.request_stop();
    threads_.clear();
  }
  ScriptedWorker(const ScriptedWorker&) = delete;
  ScriptedWorker& operator=(const ScriptedWorker&) = delete;

  // A greeting as memcached gives it, where the script has nothing else to say about it.
  static std::string Settings(std::string_view item_size_max = "8388608") {
    return "STAT maxbytes 67108864\r\nSTAT item_size_max " + std::string(item_size_max) +
           "\r\nSTAT udpport 0\r\nEND\r\n";
  }
  // The O flag of a request, as it is to come back.
  static std::string OpaqueOf(std::string_view request) {
    const std::size_t at = request.find(" O");
    if (at == std::string_view::npos) return "";
    return std::string(
        request.substr(at, std::min(request.find(' ', at + 1), request.size()) - at));
  }

  [[nodiscard]] PoolMember Member(const std::string& name) const {
    return {name, "127.0.0.1:" + std::to_string(port_)};
  }
  [[nodiscard]] int Connections() const { return connections_; }  // so far
  [[nodiscard]] int Open() const { return open_; }
  [[nodiscard]] std::vector<std::string> Requests() const {
    return requests_.With([](const auto& requests) { return requests; });
  }

 private:
  static constexpr int kTick = 20;  // milliseconds between looks at a stop

  static bool Readable(int fd) {
    pollfd source{fd, POLLIN, 0};
    return ::poll(&source, 1, kTick) > 0;
  }

  void Accept(const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      if (!Readable(listener_.Get())) continue;
      const int fd = ::accept4(listener_.Get(), nullptr, nullptr, SOCK_CLOEXEC);
      if (fd < 0) continue;
      ++connections_;
      ++open_;
      threads_.emplace_back([this, fd](const std::stop_token& end) {
        Serve(end, fd);
        --open_;
      });
    }
  }

  void Serve(const std::stop_token& stop, int fd) {
    const platform::UniqueFd socket(fd);
    std::string input;
    const auto receive_until = [&](const std::function<bool()>& enough) {
      while (!enough()) {
        if (stop.stop_requested()) return false;
        if (!Readable(fd)) continue;
        std::array<char, 4096> some{};
        const ssize_t count = ::recv(fd, some.data(), some.size(), 0);
        if (count <= 0) return false;
        input.append(some.data(), static_cast<std::size_t>(count));
      }
      return true;
    };
    for (;;) {
      if (!receive_until([&] { return input.find("\r\n") != std::string::npos; })) return;
      const std::string line = input.substr(0, input.find("\r\n"));
      input.erase(0, line.size() + 2);
      requests_.With([&](auto& requests) { requests.push_back(line); });
      const Reply reply = script_(line);
      if (reply.early) {
        Send(fd, reply);
        std::this_thread::sleep_for(kPauseOfEarly);
      }
      if (const std::size_t value = ValueOf(line); value > 0) {
        if (!receive_until([&] { return input.size() >= value; })) return;
        input.erase(0, value);
      }
      if (!reply.early) Send(fd, reply);
      if (reply.then_close) return;
    }
  }

  // Bytes that follow the line of a put or of credentials.
  static std::size_t ValueOf(std::string_view line) {
    const bool put = line.starts_with("ms ");
    if (!put && !line.starts_with("set ")) return 0;
    std::size_t at = 0;
    for (int words = put ? 2 : 4; words > 0; --words) at = line.find(' ', at) + 1;
    std::size_t size = 0;
    std::from_chars(line.data() + at, line.data() + line.size(), size);
    return size + 2;
  }

  static void Send(int fd, const Reply& reply) {
    const std::size_t piece = reply.piece == 0 ? reply.bytes.size() : reply.piece;
    for (std::size_t at = 0; at < reply.bytes.size(); at += piece) {
      const std::string_view some = std::string_view(reply.bytes).substr(at, piece);
      if (::send(fd, some.data(), some.size(), MSG_NOSIGNAL) < 0) return;
      if (reply.piece > 0) std::this_thread::sleep_for(reply.pause);
    }
  }

  const Script script_;
  platform::UniqueFd listener_;
  int port_ = 0;
  std::atomic<int> connections_{0};
  std::atomic<int> open_{0};
  platform::Guarded<std::vector<std::string>> requests_;
  std::list<std::jthread> threads_;  // of the accepting thread
  std::jthread accepting_;
};

}  // namespace sluice::test
