// Micro benchmarks of the read path: what the code itself costs, without kernel mount or network.
//   cmake --preset release -DSLUICE_BUILD_BENCH=ON && ninja -C build/release reader_bench
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <future>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include <benchmark/benchmark.h>

#include "sluice/cache/reader.h"

#include "fake_origin.h"

namespace sluice::cache {
namespace {

using sluice::testing::FakeOrigin;
using sluice::testing::MakeContent;

constexpr std::uint64_t kMiB = 1ULL << 20;
constexpr std::uint64_t kObjectBytes = 256 * kMiB;
constexpr std::uint64_t kRequestBytes = kMiB;  // as a FUSE client asks

// One reader over an origin in memory; with a directory the object is read to its end first.
class World {
 public:
  World(std::uint64_t fetch_bytes, std::uint64_t budget, bool disk) {
    ReaderOptions options;
    options.fetch_bytes = fetch_bytes;
    options.memory_budget_bytes = budget;
    if (disk) {
      std::string pattern =
          (std::filesystem::temp_directory_path() / "sluice-bench-XXXXXX").string();
      directory_ = mkdtemp(pattern.data());
      options.cache_directory = directory_;
    }
    origin_->SetPace(512U << 10, std::chrono::microseconds(0));
    reader_ = Reader::Start(options, metrics_, log_);
    object_ = origin_->Put("object", MakeContent(kObjectBytes, 1));
    file_ = reader_->Open(source_, object_);
  }
  ~World() {
    file_.reset();
    reader_.reset();
    std::error_code ignored;
    if (!directory_.empty()) std::filesystem::remove_all(directory_, ignored);
  }
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  // Until the node cache holds the whole object.
  bool Warm() {
    for (int tries = 0; tries < 200; ++tries) {
      for (std::uint64_t at = 0; at < kObjectBytes; at += kRequestBytes) Read(at, kRequestBytes);
      if (file_->OpenComplete()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    return false;
  }
  void Read(std::uint64_t offset, std::uint64_t size) {
    buffer_.resize(size);
    if (!file_->Read(offset, buffer_)) std::abort();
    benchmark::DoNotOptimize(buffer_.data());
  }

  void SlowDown(std::chrono::microseconds each) { origin_->SetPace(512U << 10, each); }
  // Of the origin itself.
  void Fetch(std::uint64_t offset, std::uint64_t size) {
    std::promise<void> done;
    source_->FetchAsync(
        object_, offset, size, Pattern::kSequential,
        [](std::span<const std::byte> bytes) {
          benchmark::DoNotOptimize(bytes.data());
          return true;
        },
        [&](const Status& status) {
          if (!status) std::abort();
          done.set_value();
        });
    done.get_future().wait();
  }

 private:
  std::filesystem::path directory_;
  platform::Metrics metrics_;
  platform::Log log_{"bench", platform::LogLevel::kError};
  std::shared_ptr<FakeOrigin> origin_ = std::make_shared<FakeOrigin>(4);
  std::shared_ptr<ChunkSource> source_ = SourceOf(origin_);
  std::unique_ptr<Reader> reader_;
  OriginObject object_;
  std::shared_ptr<File> file_;
  std::vector<std::byte> buffer_;
};

void SetBytes(benchmark::State& state, std::uint64_t per_iteration) {
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations()) *
                          static_cast<std::int64_t>(per_iteration));
}

// Every byte fetched from an origin that answers at once: copies, locks and hand-overs.
void SequentialFromOrigin(benchmark::State& state) {
  World world(static_cast<std::uint64_t>(state.range(0)) * kMiB, 128 * kMiB, /*disk=*/false);
  for (auto _ : state) {
    for (std::uint64_t at = 0; at < kObjectBytes; at += kRequestBytes) {
      world.Read(at, kRequestBytes);
    }
  }
  SetBytes(state, kObjectBytes);
}
BENCHMARK(SequentialFromOrigin)
    ->ArgName("range_MiB")
    ->Arg(1)
    ->Arg(2)
    ->Arg(4)
    ->Arg(8)
    ->UseRealTime();

// A read at a random place, of an object that is not cached, from an origin that takes 2 ms; and
// the fetch of its block alone, as if there were neither read-ahead nor buffers. The first must not
// be slower.
constexpr std::chrono::milliseconds kOriginTakes{2};

void RandomFromOrigin(benchmark::State& state) {
  World world(4 * kMiB, 64 * kMiB, /*disk=*/false);
  world.SlowDown(kOriginTakes);
  std::minstd_rand random(1);
  constexpr std::uint64_t kSmall = 64U << 10;
  for (auto _ : state) world.Read(random() % (kObjectBytes / kSmall) * kSmall, kSmall);
  SetBytes(state, kSmall);
}
BENCHMARK(RandomFromOrigin)->UseRealTime();

void RandomWithoutReader(benchmark::State& state) {
  World world(4 * kMiB, 64 * kMiB, /*disk=*/false);
  world.SlowDown(kOriginTakes);
  std::minstd_rand random(1);
  constexpr std::uint64_t kBlock = 256U << 10;
  for (auto _ : state) world.Fetch(random() % (kObjectBytes / kBlock) * kBlock, kBlock);
  SetBytes(state, 64U << 10);
}
BENCHMARK(RandomWithoutReader)->UseRealTime();

// All of it in the buffers already.
void SequentialFromMemory(benchmark::State& state) {
  World world(4 * kMiB, 512 * kMiB, /*disk=*/false);
  for (std::uint64_t at = 0; at < kObjectBytes; at += kRequestBytes) world.Read(at, kRequestBytes);
  for (auto _ : state) {
    for (std::uint64_t at = 0; at < kObjectBytes; at += kRequestBytes) {
      world.Read(at, kRequestBytes);
    }
  }
  SetBytes(state, kObjectBytes);
}
BENCHMARK(SequentialFromMemory)->UseRealTime();

void RandomFromMemory(benchmark::State& state) {
  World world(4 * kMiB, 512 * kMiB, /*disk=*/false);
  for (std::uint64_t at = 0; at < kObjectBytes; at += kRequestBytes) world.Read(at, kRequestBytes);
  std::minstd_rand random(1);
  constexpr std::uint64_t kSmall = 64U << 10;
  for (auto _ : state) world.Read(random() % (kObjectBytes / kSmall) * kSmall, kSmall);
  SetBytes(state, kSmall);
}
BENCHMARK(RandomFromMemory)->UseRealTime();

// Through the daemon path from a warm node cache: read, verify, copy.
void SequentialFromDisk(benchmark::State& state) {
  World world(4 * kMiB, 64 * kMiB, /*disk=*/true);
  if (!world.Warm()) state.SkipWithError("the node cache did not become whole");
  for (auto _ : state) {
    for (std::uint64_t at = 0; at < kObjectBytes; at += kRequestBytes) {
      world.Read(at, kRequestBytes);
    }
  }
  SetBytes(state, kObjectBytes);
}
BENCHMARK(SequentialFromDisk)->UseRealTime();

void RandomFromDisk(benchmark::State& state) {
  World world(4 * kMiB, 64 * kMiB, /*disk=*/true);
  if (!world.Warm()) state.SkipWithError("the node cache did not become whole");
  std::minstd_rand random(1);
  constexpr std::uint64_t kSmall = 64U << 10;
  for (auto _ : state) world.Read(random() % (kObjectBytes / kSmall) * kSmall, kSmall);
  SetBytes(state, kSmall);
}
BENCHMARK(RandomFromDisk)->UseRealTime();

}  // namespace
}  // namespace sluice::cache

BENCHMARK_MAIN();
