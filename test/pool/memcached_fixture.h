// Pools over real memcached processes, and what their metrics say.
#pragma once

#include <chrono>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "sluice/pool/memcached_pool.h"

#include "memcached_server.h"
#include "pool_calls.h"

namespace sluice::pool {

using test::MemcachedServer;
using Steady = std::chrono::steady_clock;

inline constexpr std::chrono::seconds kPatience{30};

inline std::unique_ptr<MemcachedServer> StartServer(std::vector<std::string> arguments = {}) {
  auto server = MemcachedServer::Start(std::move(arguments));
  if (server) return *std::move(server);
  ADD_FAILURE() << server.error().message;
  return nullptr;
}

class MemcachedTest : public ::testing::Test {
 protected:
  std::unique_ptr<MemcachedPool> MakePool(const std::vector<PoolMember>& members,
                                          const test::ChangeOptions& change = {}) {
    PoolOptions options = test::Patient();
    if (change) change(options);
    auto pool = std::make_unique<MemcachedPool>(options, metrics_, log_);
    pool->SetMembers(members);
    return pool;
  }
  // The value of a series, 0 when there is none.
  [[nodiscard]] double Metric(const std::string& series) const {
    const std::string text = metrics_.Render();
    const std::size_t at = text.find("\n" + series + " ");
    return at == std::string::npos ? 0 : std::atof(text.c_str() + at + series.size() + 2);
  }
  [[nodiscard]] double Operations(const std::string& operation, const std::string& result) const {
    return Metric(fmt::format("sluice_pool_operations_total{{operation=\"{}\",result=\"{}\"}}",
                              operation, result));
  }
  template <typename F>
  bool Eventually(F&& holds) {
    const auto deadline = Steady::now() + kPatience;
    while (Steady::now() < deadline) {
      if (holds()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    return false;
  }
  bool Up(const std::string& name) {
    return Eventually(
        [&] { return Metric("sluice_pool_worker_up{worker=\"" + name + "\"}") == 1; });
  }

  platform::Metrics metrics_;
  platform::Log log_{"test", platform::LogLevel::kError};
};

}  // namespace sluice::pool
