#include "sluice/pool/encrypted_pool.h"

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "chunk_cipher.h"
#include "eventually.h"
#include "fake_chunk_pool.h"
#include "manual_clock.h"
#include "pool_calls.h"

namespace sluice::pool {
namespace {

using test::Bytes;
using test::FakeChunkPool;
using test::Get;
using test::KindOf;
using test::MakeBytes;
using testing::HasSubstr;
using OnMiss = ChunkPool::OnMiss;

class EncryptedPoolTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "encrypted-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
    WriteKey("key", '1');
    WriteKey("other", '2');
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  void WriteKey(const std::string& name, char digit) const {
    std::ofstream(folder_ / name) << std::string(64, digit) << '\n';
  }
  std::shared_ptr<ChunkPool> MakePool(const std::string& key = "key") {
    return EncryptedPoolOf(workers_, folder_ / key, metrics_, log_);
  }
  // Buffers have room behind the value.
  Result<PoolAnswer> GetInto(ChunkPool& pool, const std::string& key, Bytes& into,
                             OnMiss on_miss = OnMiss::kReport) {
    into.resize(into.size() + pool.Room());
    auto answer = Get(pool, key, into, on_miss);
    into.resize(into.size() - pool.Room());
    return answer;
  }
  void Store(ChunkPool& pool, const std::string& key, const Bytes& value, std::uint32_t checksum) {
    Bytes into(value.size());
    const auto fill = GetInto(pool, key, into, OnMiss::kLease);
    ASSERT_EQ(KindOf(fill), PoolAnswer::Kind::kFill);
    ASSERT_TRUE(test::Put(pool, key, fill->lease, value, checksum));
  }
  // As the workers know it.
  std::string NameOf(const std::string& key, char digit = '1') const {
    ChunkCipher::Key bytes{};
    bytes.fill(static_cast<unsigned char>((digit - '0') * 17));
    return ChunkCipher(bytes).KeyId() + "." + key;
  }

  test::ManualClock clock_;
  platform::Metrics metrics_;
  platform::Log log_{"test", platform::LogLevel::kError};
  std::shared_ptr<FakeChunkPool> workers_ = std::make_shared<FakeChunkPool>(clock_);
  std::filesystem::path folder_;
};

TEST_F(EncryptedPoolTest, ClientsWithTheKeyShareChunksThatWorkersDoNotSee) {
  const auto one = MakePool();
  const auto other = MakePool();
  const Bytes value(10'000, std::byte{'x'});
  Store(*one, "a", value, 0xfffffffeU);
  Bytes into(value.size());
  const auto hit = GetInto(*other, "a", into);
  ASSERT_EQ(KindOf(hit), PoolAnswer::Kind::kHit);
  EXPECT_FALSE(hit->forged);
  EXPECT_EQ(hit->checksum, 0xfffffffeU);
  EXPECT_EQ(into, value);
  const auto kept = workers_->ValueOf(NameOf("a"));
  ASSERT_TRUE(kept);
  EXPECT_EQ(kept->size(), value.size() + one->Room());
  const Bytes part(8, std::byte{'x'});
  EXPECT_EQ(std::search(kept->begin(), kept->end(), part.begin(), part.end()), kept->end());
}

TEST_F(EncryptedPoolTest, AnotherKeyMisses) {
  const auto mine = MakePool();
  const auto theirs = MakePool("other");
  const Bytes value = MakeBytes(100, 1);
  Store(*mine, "a", value, 7);
  Bytes into(value.size());
  EXPECT_EQ(KindOf(GetInto(*theirs, "a", into)), PoolAnswer::Kind::kMiss);
  Store(*theirs, "a", value, 7);
  EXPECT_EQ(KindOf(GetInto(*mine, "a", into)), PoolAnswer::Kind::kHit);
}

TEST_F(EncryptedPoolTest, WhatWasNotMadeByTheKeyIsForged) {
  const auto pool = MakePool();
  const Bytes value = MakeBytes(100, 1);
  Store(*pool, "a", value, 7);
  Store(*pool, "b", MakeBytes(100, 2), 7);
  const auto forged = [&](const std::string& key) {
    Bytes into(value.size());
    const auto answer = GetInto(*pool, key, into);
    EXPECT_EQ(KindOf(answer), PoolAnswer::Kind::kHit) << "to be dropped, it has to be named";
    EXPECT_NE(answer->value.number, 0U);
    return answer->forged;
  };
  EXPECT_FALSE(forged("a"));
  workers_->Spoil(NameOf("a"));
  EXPECT_TRUE(forged("a"));
  // Another chunk of the same dataset.
  workers_->Store(NameOf("a"), *workers_->ValueOf(NameOf("b")), 7);
  EXPECT_TRUE(forged("a"));
  workers_->Store(NameOf("a"), MakeBytes(value.size() + pool->Room(), 3), 7);
  EXPECT_TRUE(forged("a"));
  EXPECT_THAT(metrics_.Render(), HasSubstr("sluice_pool_forged_values_total 3"));
  // A plain one is of another size.
  workers_->Store(NameOf("a"), value, 7);
  Bytes into(value.size());
  EXPECT_EQ(KindOf(GetInto(*pool, "a", into)), PoolAnswer::Kind::kMiss);
}

TEST_F(EncryptedPoolTest, LeasesAreRenewedAndDropped) {
  const auto pool = MakePool();
  Bytes into(100);
  const auto fill = GetInto(*pool, "a", into, OnMiss::kLease);
  ASSERT_EQ(KindOf(fill), PoolAnswer::Kind::kFill);
  const auto renewed = test::Renew(*pool, "a", fill->lease);
  ASSERT_TRUE(renewed);
  EXPECT_TRUE(test::Drop(*pool, "a", *renewed));
  EXPECT_EQ(KindOf(GetInto(*pool, "a", into, OnMiss::kLease)), PoolAnswer::Kind::kFill);
}

TEST_F(EncryptedPoolTest, WithoutAKeyNothingIsSentUntilItIsThere) {
  const auto pool = MakePool("late");
  Bytes into(100);
  const auto answer = GetInto(*pool, "a", into, OnMiss::kLease);
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, Code::kUnavailable);
  EXPECT_THAT(answer.error().message, HasSubstr("late"));
  EXPECT_FALSE(test::Put(*pool, "a", {1}, into, 7));
  EXPECT_FALSE(test::Renew(*pool, "a", {1}));
  EXPECT_TRUE(test::Drop(*pool, "a", {1}));
  EXPECT_THAT(workers_->Calls(), testing::IsEmpty());
  WriteKey("late", '1');
  EXPECT_TRUE(test::Eventually(
      [&] { return KindOf(GetInto(*pool, "a", into, OnMiss::kLease)) == PoolAnswer::Kind::kFill; },
      std::chrono::minutes(1)));
  // One key for a life: who reads it anew would not find what it is filling.
  WriteKey("late", '2');
  EXPECT_EQ(KindOf(GetInto(*pool, "a", into, OnMiss::kLease)), PoolAnswer::Kind::kWait);
}

TEST_F(EncryptedPoolTest, CallsThatCannotBeMadeAreRefused) {
  const auto pool = MakePool();
  Bytes into(pool->Room());
  EXPECT_EQ(Get(*pool, "a", into, OnMiss::kReport).error().code, Code::kInvalidArgument);
  EXPECT_EQ(test::Put(*pool, "a", {1}, {}, 7).error().code, Code::kInvalidArgument);
}

TEST_F(EncryptedPoolTest, OnlySoManyBytesOfPutsAreUnderWay) {
  const auto pool = MakePool();
  const Bytes value = MakeBytes(4U << 20, 1);
  constexpr int kPuts = 12;
  std::vector<PoolVersion> leases;
  for (int i = 0; i < kPuts; ++i) {
    Bytes into(value.size());
    leases.push_back(GetInto(*pool, "v:" + std::to_string(i), into, OnMiss::kLease)
                         .value_or(PoolAnswer{})
                         .lease);
  }
  workers_->Hold();
  std::atomic<int> answered = 0;
  for (int i = 0; i < kPuts; ++i) {
    pool->Put("v:" + std::to_string(i), leases[static_cast<std::size_t>(i)], value, 7,
              [&](const Status& status) {
                EXPECT_TRUE(status);
                ++answered;
              });
  }
  EXPECT_EQ(workers_->Held(), 4U);
  EXPECT_TRUE(workers_->ReleaseOne());
  EXPECT_EQ(answered, 1);
  EXPECT_EQ(workers_->Held(), 4U);
  workers_->Release();
  EXPECT_EQ(answered, kPuts);
  EXPECT_TRUE(workers_->ValueOf(NameOf("v:11")));
}

TEST_F(EncryptedPoolTest, PutsThatWaitAreAnsweredWhenThePoolEnds) {
  auto pool = MakePool();
  const Bytes value = MakeBytes(4U << 20, 1);
  workers_->Hold();
  std::atomic<int> answered = 0;
  for (int i = 0; i < 12; ++i) {
    pool->Put("a", {1}, value, 7, [&](const Status&) { ++answered; });
  }
  pool.reset();
  EXPECT_EQ(answered, 0);
  workers_.reset();
  EXPECT_EQ(answered, 12);
}

}  // namespace
}  // namespace sluice::pool
