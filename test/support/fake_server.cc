#include "fake_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <sstream>

#include <fmt/format.h>

namespace sluice::test {
namespace {

std::string Decode(const std::string& text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size()) {
      out += static_cast<char>(std::stoi(text.substr(i + 1, 2), nullptr, 16));
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

FakeRequest Parse(const std::string& head) {
  FakeRequest request;
  std::istringstream lines(head);
  std::string line;
  std::getline(lines, line);
  std::istringstream first(line);
  std::string target;
  first >> request.method >> target;
  const std::size_t mark = target.find('?');
  request.path = target.substr(0, mark);
  if (mark != std::string::npos) request.query = ParseForm(target.substr(mark + 1));
  while (std::getline(lines, line)) {
    while (!line.empty() && line.back() == '\r') line.pop_back();
    const std::size_t colon = line.find(": ");
    if (colon == std::string::npos) continue;
    std::string name = line.substr(0, colon);
    std::transform(name.begin(), name.end(), name.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    request.headers[name] = line.substr(colon + 2);
  }
  return request;
}

// The head of the next request; false when the peer is gone.
bool ReadHead(int fd, std::string& buffer, std::string& head) {
  while (true) {
    if (const std::size_t end = buffer.find("\r\n\r\n"); end != std::string::npos) {
      head = buffer.substr(0, end + 2);
      buffer.erase(0, end + 4);
      return true;
    }
    char block[4096];
    const ssize_t got = ::recv(fd, block, sizeof(block), 0);
    if (got <= 0) return false;
    buffer.append(block, static_cast<std::size_t>(got));
  }
}

// The body that the head announces; false when the peer is gone.
bool ReadBody(int fd, std::string& buffer, FakeRequest& request) {
  const auto length = request.headers.find("content-length");
  if (length == request.headers.end()) return true;
  const std::size_t size = std::stoul(length->second);
  while (buffer.size() < size) {
    char block[4096];
    const ssize_t got = ::recv(fd, block, sizeof(block), 0);
    if (got <= 0) return false;
    buffer.append(block, static_cast<std::size_t>(got));
  }
  request.body = buffer.substr(0, size);
  buffer.erase(0, size);
  return true;
}

bool SendAll(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

}  // namespace

std::map<std::string, std::string> ParseForm(const std::string& text) {
  std::map<std::string, std::string> form;
  std::istringstream pairs(text);
  for (std::string pair; std::getline(pairs, pair, '&');) {
    const std::size_t equals = pair.find('=');
    form[Decode(pair.substr(0, equals))] =
        equals == std::string::npos ? "" : Decode(pair.substr(equals + 1));
  }
  return form;
}

FakeReply Answer(int status, std::string_view body, const std::vector<std::string>& headers) {
  std::string head = fmt::format("HTTP/1.1 {} X\r\n", status);
  bool has_length = false;
  for (const std::string& header : headers) {
    has_length = has_length || header.starts_with("Content-Length:");
    head += header + "\r\n";
  }
  if (!has_length) head += fmt::format("Content-Length: {}\r\n", body.size());
  return {.bytes = head + "\r\n" + std::string(body)};
}

FakeServer::FakeServer(Handler handler) : handler_(std::move(handler)) {
  listener_ = platform::UniqueFd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(address);
  if (::bind(listener_.Get(), reinterpret_cast<sockaddr*>(&address), length) != 0 ||
      ::listen(listener_.Get(), 64) != 0) {
    std::abort();
  }
  ::getsockname(listener_.Get(), reinterpret_cast<sockaddr*>(&address), &length);
  port_ = ntohs(address.sin_port);
  accepting_ = std::jthread([this](const std::stop_token& stop) { Accept(stop); });
}

FakeServer::~FakeServer() {
  accepting_.request_stop();
  ::shutdown(listener_.Get(), SHUT_RDWR);
  accepting_.join();
  state_.With([](State& state) {
    for (const int fd : state.open) ::shutdown(fd, SHUT_RDWR);
  });
  threads_.clear();
}

std::string FakeServer::Endpoint() const { return fmt::format("http://127.0.0.1:{}", port_); }

std::vector<FakeRequest> FakeServer::Requests() const {
  return state_.With([](const State& state) { return state.requests; });
}

std::size_t FakeServer::Connections() const {
  return state_.With([](const State& state) { return state.connections; });
}

void FakeServer::Accept(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    const int fd = ::accept4(listener_.Get(), nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) continue;
    state_.With([&](State& state) {
      state.open.push_back(fd);
      ++state.connections;
    });
    threads_.emplace_back([this, fd] { Serve(fd); });
  }
}

void FakeServer::Serve(int fd) {
  std::string buffer;
  std::string head;
  while (ReadHead(fd, buffer, head)) {
    FakeRequest request = Parse(head);
    if (!ReadBody(fd, buffer, request)) break;
    state_.With([&](State& state) { state.requests.push_back(request); });
    const FakeReply reply = turn_.With([&](int&) { return handler_(request); });
    if (reply.wait) reply.wait();
    if (!SendAll(fd, reply.bytes) || reply.then == FakeReply::Then::kClose) break;
    if (reply.then == FakeReply::Then::kStall) {
      char byte = 0;  // silent until the peer or the test ends it
      while (::recv(fd, &byte, 1, 0) > 0) {
      }
      break;
    }
  }
  state_.With([&](State& state) { std::erase(state.open, fd); });
  ::close(fd);
}

}  // namespace sluice::test
