// Many clients, threads and faults at once: whatever the pool does, a fetch that ends well has
// given the bytes of the object.
#include <atomic>
#include <random>

#include <gtest/gtest.h>

#include "pooled_fixture.h"

namespace sluice::cache {
namespace {

class PooledSourceModelTest : public PooledFixture {};

// Fails, spoils, evicts, and lets leases end.
FakeChunkPool::Script Faults(FakeChunkPool& pool, ManualClock& clock, std::uint64_t seed) {
  auto state = std::make_shared<std::atomic<std::uint64_t>>(seed);
  return [&pool, &clock, state](const FakeChunkPool::Call& call) -> std::optional<Error> {
    std::mt19937_64 random(state->fetch_add(1));
    switch (random() % 24) {
      case 0:
        return Error{Code::kUnavailable, "the worker is gone"};
      case 1:
        return Error{Code::kDeadlineExceeded, "the worker is slow"};
      case 2:
        pool.Spoil(call.key);
        return std::nullopt;
      case 3:
        pool.Evict(call.key);
        return std::nullopt;
      case 4:
        clock.Advance(std::chrono::seconds(3));
        return std::nullopt;
      default:
        return std::nullopt;
    }
  };
}

void ReadAtRandom(ChunkSource& source, const OriginObject& object, const Content& content,
                  std::uint64_t seed) {
  std::mt19937_64 random(seed);
  for (int round = 0; round < 8; ++round) {
    struct Under {
      std::uint64_t offset;
      std::uint64_t length;
      bool whole;
      Fetched fetched;
    };
    std::vector<Under> fetches;
    for (int i = 0; i < 6; ++i) {
      const std::uint64_t offset = random() % object.size;
      const std::uint64_t most = random() % 2 == 0 ? 64 * kOneKiB : 4 * kOneMiB;
      const std::uint64_t length = std::min(object.size - offset, 1 + random() % most);
      const bool whole = random() % 4 != 0;
      fetches.push_back(
          {offset, length, whole, Fetched(whole ? UINT64_MAX : random() % length + 1)});
      fetches.back().fetched.Start(source, object, offset, length);
    }
    for (const Under& under : fetches) {
      ASSERT_TRUE(under.fetched.Wait()) << under.offset << "+" << under.length;
      EXPECT_TRUE(under.fetched.Agrees(content, under.offset)) << under.offset;
      if (!under.whole) continue;
      EXPECT_FALSE(under.fetched.Failure().has_value()) << under.fetched.Failure()->message;
      EXPECT_EQ(under.fetched.Size(), under.length);
    }
  }
}

TEST_F(PooledSourceModelTest, EveryFetchGivesTheBytesOfTheObject) {
  const std::uint64_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  const OriginObject object = Put(9 * kOneMiB + 12345);
  options_.memory_bytes = 8 * kOneMiB;
  options_.most_wait = std::chrono::milliseconds(100);
  options_.keep = std::chrono::milliseconds(50);
  pool_->SetScript(Faults(*pool_, clock_, seed));
  {
    std::vector<std::shared_ptr<ChunkSource>> clients;
    std::vector<std::jthread> threads;
    for (std::uint64_t client = 0; client < 3; ++client) {
      clients.push_back(Client());
      for (std::uint64_t i = 0; i < 2; ++i) {
        threads.emplace_back([&, source = clients.back(), at = seed + 2 * client + i] {
          ReadAtRandom(*source, object, content_, at);
        });
      }
    }
  }
  EXPECT_GT(Metric("sluice_pooled_corrupt_chunks_total"), 0);
  EXPECT_GT(Metric("sluice_pooled_fills_total"), 0);
}

// The end of a source, whatever is under way.
TEST_F(PooledSourceModelTest, EveryFetchEndsWhenItsSourceDoes) {
  const std::uint64_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random(seed);
  const OriginObject object = Put(9 * kOneMiB + 12345);
  origin_->SetPace(32 * kOneKiB, std::chrono::microseconds(50));
  options_.memory_bytes = 8 * kOneMiB;
  pool_->SetScript(Faults(*pool_, clock_, seed));
  for (int round = 0; round < 30; ++round) {
    auto source = Client();
    std::vector<std::pair<std::uint64_t, Fetched>> fetches;
    for (int i = 0; i < 8; ++i) {
      const std::uint64_t offset = random() % object.size;
      Fetched fetched;
      fetched.Start(*source, object, offset,
                    std::min(object.size - offset, 1 + random() % (4 * kOneMiB)));
      fetches.emplace_back(offset, fetched);
    }
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 5000));
    source.reset();
    for (const auto& [offset, fetched] : fetches) {
      ASSERT_TRUE(fetched.Wait());
      EXPECT_TRUE(fetched.Agrees(content_, offset));
    }
  }
}

}  // namespace
}  // namespace sluice::cache
