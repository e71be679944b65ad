// What the pool's client costs: gets of 4 MiB from one memcached on the loopback interface, in the
// clear, by TLS, and of chunks that are encrypted, beside a bare loop of requests over one blocking
// socket.
//   cmake --preset release -DSLUICE_BUILD_BENCH=ON && ninja -C build/release pool_bench
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <future>
#include <latch>
#include <memory>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "sluice/platform/unique_fd.h"
#include "sluice/pool/encrypted_pool.h"
#include "sluice/pool/memcached_pool.h"

#include "memcached_server.h"
#include "tls_files.h"

namespace sluice::pool {
namespace {

constexpr std::size_t kValueBytes = 4U << 20;
constexpr int kValues = 32;

using Buffer = std::vector<std::byte>;

std::string Key(int i) { return "bench:" + std::to_string(i); }

enum class Secrecy { kNone, kTls, kEncryption };

class World {
 public:
  explicit World(Secrecy secrecy = Secrecy::kNone) {
    std::string pattern = std::filesystem::temp_directory_path() / "pool-bench-XXXXXX";
    folder_ = ::mkdtemp(pattern.data());
    PoolOptions options;
    std::vector<std::string> arguments{"-m", "512"};
    if (secrecy == Secrecy::kTls) {
      const test::TlsAuthority authority;
      authority.WriteWorker(folder_ / "worker", {"w-0"});
      authority.WriteClient(folder_ / "client");
      options.tls_directory = folder_ / "client";
      for (const std::string& word : test::TlsArguments(folder_ / "worker")) {
        arguments.push_back(word);
      }
    }
    server_ = test::MemcachedServer::Start(arguments);
    if (!server_) return;
    auto workers = std::make_shared<MemcachedPool>(options, metrics_, log_);
    workers->SetMembers({(*server_)->Member("w-0")});
    pool_ = workers;
    if (secrecy == Secrecy::kEncryption) {
      std::ofstream(folder_ / "key") << std::string(64, 'a');
      pool_ = EncryptedPoolOf(workers, folder_ / "key", metrics_, log_);
    }
    Buffer value(kValueBytes, std::byte{7});
    for (int i = 0; i < kValues; ++i) Fill(Key(i), value);
  }
  ~World() { std::filesystem::remove_all(folder_); }
  World(const World&) = delete;
  World& operator=(const World&) = delete;

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
  [[nodiscard]] std::size_t BufferBytes() const { return kValueBytes + pool_->Room(); }

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
    Buffer into(BufferBytes());
    std::promise<PoolVersion> lease;
    pool_->Get(key, into, ChunkPool::OnMiss::kLease, [&](const Result<PoolAnswer>& answer) {
      lease.set_value(answer ? answer->lease : PoolVersion{});
    });
    std::promise<void> done;
    pool_->Put(key, lease.get_future().get(), value, 0, [&](const Status&) { done.set_value(); });
    done.get_future().wait();
  }

  std::filesystem::path folder_;
  Result<std::unique_ptr<test::MemcachedServer>> server_ = Fail(Code::kUnavailable, "not started");
  platform::Metrics metrics_;
  platform::Log log_{"bench"};
  std::atomic<int> next_{0};
  std::atomic<bool> good_{true};
  std::shared_ptr<ChunkPool> pool_;
};

void BM_Pool(benchmark::State& state, Secrecy secrecy) {
  World world(secrecy);
  if (!world.Ready()) return state.SkipWithError("no memcached");
  std::vector<Buffer> buffers(static_cast<std::size_t>(state.range(0)),
                              Buffer(world.BufferBytes()));
  if (!world.GetAll(buffers)) return state.SkipWithError("a miss");
  for (auto _ : state) {
    if (!world.GetAll(buffers)) return state.SkipWithError("a miss");
  }
  state.SetBytesProcessed(state.iterations() * kValues * static_cast<std::int64_t>(kValueBytes));
}
void Arguments(benchmark::internal::Benchmark* bench) {
  bench->Arg(1)->Arg(4)->Arg(16)->UseRealTime()->MeasureProcessCPUTime();
}
BENCHMARK_CAPTURE(BM_Pool, Plain, Secrecy::kNone)->Apply(Arguments);
BENCHMARK_CAPTURE(BM_Pool, Tls, Secrecy::kTls)->Apply(Arguments);
BENCHMARK_CAPTURE(BM_Pool, Encrypted, Secrecy::kEncryption)->Apply(Arguments);

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
