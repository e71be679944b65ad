// Sources over one pool and one origin, as so many clients of a cluster.
#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "sluice/cache/pooled_source.h"

#include "chunk_layout.h"
#include "crc32c.h"
#include "eventually.h"
#include "fake_chunk_pool.h"
#include "fake_origin.h"
#include "manual_clock.h"

namespace sluice::cache {

using sluice::test::FakeChunkPool;
using sluice::test::ManualClock;
using sluice::testing::Content;
using sluice::testing::FakeOrigin;
using sluice::testing::MakeContent;

inline constexpr std::uint64_t kOneMiB = 1ULL << 20;
inline constexpr std::uint64_t kOneKiB = 1ULL << 10;
inline constexpr std::uint64_t kPieceBytes = 256 * kOneKiB;

// One FetchAsync and what came of it.
class Fetched {
 public:
  // Gives up when so many bytes have come.
  explicit Fetched(std::uint64_t most = UINT64_MAX) { state_->most = most; }

  void Start(ChunkSource& source, const OriginObject& object, std::uint64_t offset,
             std::uint64_t length, Pattern pattern = Pattern::kRandom) {
    source.FetchAsync(
        object, offset, length, pattern,
        [state = state_](std::span<const std::byte> bytes) {
          std::lock_guard lock(state->mutex);
          if (state->calls > 0 || state->content.size() >= state->most) state->late = true;
          state->content.insert(state->content.end(), bytes.begin(), bytes.end());
          state->changed.notify_all();
          return state->content.size() < state->most;
        },
        [state = state_](const Status& status) {
          std::lock_guard lock(state->mutex);
          ++state->calls;
          if (!status) state->error = status.error();
          state->changed.notify_all();
        });
  }

  // Until it is done, at most a minute.
  [[nodiscard]] bool Wait() const {
    std::unique_lock lock(state_->mutex);
    return state_->changed.wait_for(lock, kPatience, [&] { return state_->calls > 0; });
  }
  [[nodiscard]] bool WaitForBytes(std::uint64_t n) const {
    std::unique_lock lock(state_->mutex);
    return state_->changed.wait_for(lock, kPatience, [&] { return state_->content.size() >= n; });
  }
  // Whether it ended well, once, with these bytes.
  void ExpectBytes(const Content& content, std::uint64_t offset, std::uint64_t length) const {
    ASSERT_TRUE(Wait()) << "no end of " << offset << "+" << length;
    std::lock_guard lock(state_->mutex);
    EXPECT_EQ(state_->calls, 1);
    EXPECT_FALSE(state_->late);
    ASSERT_FALSE(state_->error.has_value()) << state_->error->message;
    ASSERT_EQ(state_->content.size(), length);
    EXPECT_TRUE(std::equal(state_->content.begin(), state_->content.end(),
                           content.begin() + static_cast<std::ptrdiff_t>(offset)))
        << "wrong bytes at " << offset << "+" << length;
  }
  void ExpectError(Code code) const {
    ASSERT_TRUE(Wait());
    std::lock_guard lock(state_->mutex);
    EXPECT_EQ(state_->calls, 1);
    EXPECT_FALSE(state_->late);
    ASSERT_TRUE(state_->error.has_value());
    EXPECT_EQ(state_->error->code, code) << state_->error->message;
  }
  [[nodiscard]] bool Done() const {
    std::lock_guard lock(state_->mutex);
    return state_->calls > 0;
  }
  [[nodiscard]] std::uint64_t Size() const {
    std::lock_guard lock(state_->mutex);
    return state_->content.size();
  }
  // The bytes so far are those of `content` from `offset` on; errors or not.
  [[nodiscard]] bool Agrees(const Content& content, std::uint64_t offset) const {
    std::lock_guard lock(state_->mutex);
    return !state_->late && state_->calls == 1 &&
           std::equal(state_->content.begin(), state_->content.end(),
                      content.begin() + static_cast<std::ptrdiff_t>(offset));
  }
  [[nodiscard]] std::optional<Error> Failure() const {
    std::lock_guard lock(state_->mutex);
    return state_->error;
  }

 private:
  static constexpr std::chrono::seconds kPatience{60};
  struct State {
    std::mutex mutex;
    std::condition_variable changed;
    std::uint64_t most = 0;
    Content content;
    int calls = 0;
    bool late = false;  // called when it must not be
    std::optional<Error> error;
  };
  std::shared_ptr<State> state_ = std::make_shared<State>();
};

// Waits for a condition of another thread, at most a minute.
inline bool Soon(const std::function<bool()>& condition) {
  return test::Eventually(condition, std::chrono::minutes(1));
}

class PooledFixture : public ::testing::Test {
 protected:
  using Call = FakeChunkPool::Call;

  // On a slow machine, too, who waits for another client is not to give up.
  PooledFixture() {
    options_.most_wait = std::chrono::minutes(1);
    options_.most_wait_at_end = std::chrono::seconds(10);
  }

  std::shared_ptr<ChunkSource> Client() {
    options_.dataset_uid = "uid";
    return PooledSourceOf(SourceOf(origin_), pool_, options_, metrics_, log_);
  }
  OriginObject Put(std::uint64_t size) {
    content_ = MakeContent(size, ++seed_);
    return origin_->Put("a.bin", content_);
  }
  // An object that is cut into chunks of 4 MiB.
  OriginObject PutLarge() {
    static const Content kLarge = MakeContent(64 * kOneMiB, 99);
    content_ = kLarge;
    return origin_->Put("a.bin", content_);
  }
  [[nodiscard]] std::string Key(const OriginObject& object, std::uint64_t chunk) const {
    return ChunkKey(
        ChunkKeyBase({"uid", origin_->Identity(), object.path, object.version, object.size}),
        chunk);
  }
  [[nodiscard]] std::string Piece(const OriginObject& object, std::uint64_t piece) const {
    return PieceKey(
        ChunkKeyBase({"uid", origin_->Identity(), object.path, object.version, object.size}),
        piece);
  }
  [[nodiscard]] Content Chunk(const OriginObject& object, std::uint64_t chunk) const {
    const Range range = ChunkRange(object.size, chunk);
    return {content_.begin() + static_cast<std::ptrdiff_t>(range.begin),
            content_.begin() + static_cast<std::ptrdiff_t>(range.end)};
  }
  // As if another client had filled it.
  void Store(const OriginObject& object, std::uint64_t chunk) {
    const Content value = Chunk(object, chunk);
    pool_->Store(Key(object, chunk), value, Crc32c(value));
  }
  // As another client that is going to fill it, and perhaps dies.
  void Lease(const OriginObject& object, std::uint64_t chunk) {
    ASSERT_EQ(AskForLease(object, chunk), PoolAnswer::Kind::kFill);
  }
  std::optional<PoolAnswer::Kind> AskForLease(const OriginObject& object, std::uint64_t chunk) {
    std::vector<std::byte> into(ChunkRange(object.size, chunk).Size());
    std::optional<PoolAnswer::Kind> kind;
    pool_->Get(Key(object, chunk), into, ChunkPool::OnMiss::kLease,
               [&](const Result<PoolAnswer>& answer) { kind = answer->kind; });
    return kind;
  }
  [[nodiscard]] bool Stored(const OriginObject& object, std::uint64_t chunk) const {
    const auto value = pool_->ValueOf(Key(object, chunk));
    return value && *value == Chunk(object, chunk);
  }
  // A chunk is stored after its last bytes were delivered.
  [[nodiscard]] bool SoonStored(const OriginObject& object, std::uint64_t chunk) const {
    return Soon([&] { return Stored(object, chunk); });
  }
  void ExpectFetch(ChunkSource& source, const OriginObject& object, std::uint64_t offset,
                   std::uint64_t length, Pattern pattern = Pattern::kRandom) {
    Fetched fetched;
    fetched.Start(source, object, offset, length, pattern);
    fetched.ExpectBytes(content_, offset, length);
  }
  // The value of a series in the exposition.
  [[nodiscard]] double Metric(const std::string& series) const {
    const std::string text = metrics_.Render();
    const auto at = text.find("\n" + series + " ");
    return at == std::string::npos ? -1 : std::stod(text.substr(at + series.size() + 2));
  }

  ManualClock clock_;  // of the pool's leases
  platform::Metrics metrics_;
  platform::Log log_{"test", platform::LogLevel::kError};
  PooledOptions options_;
  std::shared_ptr<FakeOrigin> origin_ = std::make_shared<FakeOrigin>();
  std::shared_ptr<FakeChunkPool> pool_ = std::make_shared<FakeChunkPool>(clock_);
  Content content_;
  std::uint64_t seed_ = 0;
};

}  // namespace sluice::cache
