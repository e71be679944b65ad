// What the pool's client costs: gets of 4 MiB from one memcached on the loopback interface, beside
// a bare loop of requests over one blocking socket.
//   cmake --preset release -DSLUICE_BUILD_BENCH=ON && ninja -C build/release pool_bench
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <atomic>
#include <future>
#include <latch>
#include <memory>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "sluice/platform/unique_fd.h"
#include "sluice/pool/memcached_pool.h"

#include "memcached_server.h"

namespace sluice::pool {
namespace {

constexpr std::size_t kValueBytes = 4U << 20;
constexpr int kValues = 32;

using Buffer = std::vector<std::byte>;

std::string Key(int i) { return "bench:" + std::to_string(i); }

class World {
 public:
  World() : server_(test::MemcachedServer::Start({"-m", "512"})) {
    if (!server_) return;
    pool_ = std::make_unique<MemcachedPool>(PoolOptions{}, metrics_, log_);
    pool_->SetMembers({(*server_)->Member("w-0")});
    Buffer value(kValueBytes, std::byte{7});
    for (int i = 0; i < kValues; ++i) Fill(Key(i), value);
  }

  // Gets every value once, with one get per buffer at a time; false when one was no hit.
  bool GetAll(std::vector<Buffer>& buffers) {
    next_ = 0;
    good_ = true;
    std::latch ended(static_cast<std::ptrdiff_t>(buffers.size()));
    for (Buffer& buffer : buffers) GetNext(buffer, ended);
    ended.wait();
    return good_;
  }
  [[nodiscard]] int Port() const { return (*server_)->Port(); }
  [[nodiscard]] bool Ready() const { return server_.has_value(); }

 private:
  void GetNext(Buffer& buffer, std::latch& ended) {
    const int i = next_++;
    if (i >= kValues) return ended.count_down();
    pool_->Get(Key(i), buffer, ChunkPool::OnMiss::kReport,
               [this, &buffer, &ended](const Result<PoolAnswer>& answer) {
                 if (!answer || answer->kind != PoolAnswer::Kind::kHit) good_ = false;
                 GetNext(buffer, ended);
               });
  }
  void Fill(const std::string& key, const Buffer& value) {
    Buffer into(kValueBytes);
    std::promise<PoolVersion> lease;
    pool_->Get(key, into, ChunkPool::OnMiss::kLease, [&](const Result<PoolAnswer>& answer) {
      lease.set_value(answer ? answer->lease : PoolVersion{});
    });
    std::promise<void> done;
    pool_->Put(key, lease.get_future().get(), value, 0, [&](const Status&) { done.set_value(); });
    done.get_future().wait();
  }

  Result<std::unique_ptr<test::MemcachedServer>> server_;
  platform::Metrics metrics_;
  platform::Log log_{"bench"};
  std::atomic<int> next_{0};
  std::atomic<bool> good_{true};
  std::unique_ptr<MemcachedPool> pool_;
};

void BM_Pool(benchmark::State& state) {
  World world;
  if (!world.Ready()) return state.SkipWithError("no memcached");
  std::vector<Buffer> buffers(static_cast<std::size_t>(state.range(0)), Buffer(kValueBytes));
  if (!world.GetAll(buffers)) return state.SkipWithError("a miss");
  for (auto _ : state) {
    if (!world.GetAll(buffers)) return state.SkipWithError("a miss");
  }
  state.SetBytesProcessed(state.iterations() * kValues * static_cast<std::int64_t>(kValueBytes));
}
BENCHMARK(BM_Pool)->Arg(1)->Arg(4)->Arg(16)->UseRealTime()->MeasureProcessCPUTime();

bool Receive(int fd, std::byte* into, std::size_t size) {
  return ::recv(fd, into, size, MSG_WAITALL) == static_cast<ssize_t>(size);
}

// Asks for one value after the other and reads it to its place.
void BM_BareSocket(benchmark::State& state) {
  World world;
  if (!world.Ready()) return state.SkipWithError("no memcached");
  const platform::UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<std::uint16_t>(world.Port()));
  if (::connect(fd.Get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) {
    return state.SkipWithError("connect");
  }
  constexpr std::size_t kHead = sizeof("VA 4194304\r\n") - 1;
  Buffer head(kHead);
  Buffer value(kValueBytes + 2);
  for (auto _ : state) {
    for (int i = 0; i < kValues; ++i) {
      const std::string request = "mg " + Key(i) + " v\r\n";
      if (::send(fd.Get(), request.data(), request.size(), MSG_NOSIGNAL) < 0 ||
          !Receive(fd.Get(), head.data(), head.size()) ||
          !Receive(fd.Get(), value.data(), value.size())) {
        return state.SkipWithError("lost");
      }
    }
  }
  state.SetBytesProcessed(state.iterations() * kValues * static_cast<std::int64_t>(kValueBytes));
}
BENCHMARK(BM_BareSocket)->UseRealTime()->MeasureProcessCPUTime();

}  // namespace
}  // namespace sluice::pool

BENCHMARK_MAIN();
