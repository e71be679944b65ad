#include "connection.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <future>

#include <gtest/gtest.h>

#include "pool_calls.h"
#include "scripted_worker.h"

namespace sluice::pool {
namespace {

class LoneOwner final : public Connection::Owner {
 public:
  explicit LoneOwner(EventLoop& loop) : loop_(loop) {}

  void Open(std::vector<SocketAddress> addresses) {
    connection_ = std::make_unique<Connection>(loop_, *this, options_, "w-0");
    if (!connection_->Open(std::move(addresses))) greeted.set_value(false);
  }
  void Close() { connection_->Close({Code::kUnavailable, "the end"}, {}); }

  void OnGreeted() override { greeted.set_value(true); }
  void OnSettled(std::unique_ptr<Operation> /*operation*/, Ending /*ending*/) override {}
  void OnClosed(Connection& /*connection*/, const Connection::Closing& closing) override {
    loop_.Retire(std::move(connection_));
    if (!closing.greeted) greeted.set_value(false);
    closed.set_value();
  }

  bool MayRefresh() override { return false; }

  std::promise<bool> greeted;
  std::promise<void> closed;

 private:
  EventLoop& loop_;
  const PoolOptions options_ = test::Patient();
  std::unique_ptr<Connection> connection_;
};

// Bound, but nobody listens.
SocketAddress Refusing(const platform::UniqueFd& fd) {
  SocketAddress address = NumericAddress("127.0.0.1:1")->front();
  auto& loopback = reinterpret_cast<sockaddr_in&>(address.storage);
  loopback.sin_port = 0;
  ::bind(fd.Get(), reinterpret_cast<sockaddr*>(&loopback), sizeof(loopback));
  ::getsockname(fd.Get(), reinterpret_cast<sockaddr*>(&loopback), &address.length);
  return address;
}

TEST(ConnectionTest, TriesTheNextAddressOfAName) {
  const test::ScriptedWorker worker([](std::string_view) -> test::ScriptedWorker::Reply {
    return {test::ScriptedWorker::Settings()};
  });
  const SocketAddress right = NumericAddress(worker.Member("w-0").address)->front();
  const platform::UniqueFd bound(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const SocketAddress wrong = Refusing(bound);
  struct Case {
    std::vector<SocketAddress> addresses;
    bool greeted;
  };
  const std::vector<Case> cases = {
      {{wrong, right}, true}, {{wrong, wrong, right}, true}, {{wrong, wrong}, false}};
  for (const Case& c : cases) {
    auto loop = *EventLoop::Start();
    LoneOwner owner(*loop);
    loop->Post([&] { owner.Open(c.addresses); });
    EXPECT_EQ(owner.greeted.get_future().get(), c.greeted);
    if (c.greeted) loop->Post([&] { owner.Close(); });
    owner.closed.get_future().wait();
    loop.reset();  // before its owner, whom it may just be telling
  }
}

TEST(NumericAddressTest, TakesNumbersOnly) {
  EXPECT_EQ(NumericAddress("10.0.0.7:11211")->front().storage.ss_family, AF_INET);
  EXPECT_EQ(NumericAddress("[::1]:11211")->front().storage.ss_family, AF_INET6);
  for (const std::string& other : {std::string("localhost:11211"), std::string("10.0.0.7"),
                                   std::string(":11211"), std::string("10.0.0.7:port")}) {
    EXPECT_FALSE(NumericAddress(other)) << other;
  }
}

}  // namespace
}  // namespace sluice::pool
