// The pool tier over an encrypted pool: what workers hold is of no use to them, and what they make
// up is refused like any wrong chunk.
#include <filesystem>
#include <fstream>

#include "sluice/pool/encrypted_pool.h"

#include "pooled_fixture.h"

namespace sluice::cache {
namespace {

class PooledEncryptedTest : public PooledFixture {
 protected:
  void SetUp() override {
    key_file_ = ::testing::TempDir() + "pooled-key-" + std::to_string(::getpid());
    std::ofstream(key_file_) << std::string(64, 'a') << '\n';
  }
  void TearDown() override { std::filesystem::remove(key_file_); }

  std::shared_ptr<ChunkSource> EncryptingClient() {
    options_.dataset_uid = "uid";
    return PooledSourceOf(SourceOf(origin_),
                          pool::EncryptedPoolOf(pool_, key_file_, metrics_, log_), options_,
                          metrics_, log_);
  }
  // Reads all of it by a client that has put its chunks when it goes.
  void FillPool(const OriginObject& object, std::size_t chunks) {
    const auto client = EncryptingClient();
    ExpectFetch(*client, object, 0, object.size);
    ASSERT_TRUE(Soon([&] { return pool_->Count(Call::Kind::kPut) == chunks; }));
  }
  // The first key that the workers were asked for.
  std::string WorkersKey() { return pool_->Calls().front().key; }

  std::string key_file_;
};

TEST_F(PooledEncryptedTest, ClientsShareWhatWorkersCannotRead) {
  const OriginObject object = Put(3 * kOneMiB + 5);
  FillPool(object, 4);
  EXPECT_EQ(Metric("sluice_pooled_fills_total"), 4);
  const auto reads = origin_->Reads();
  ExpectFetch(*EncryptingClient(), object, 0, object.size);
  EXPECT_EQ(origin_->Reads(), reads) << "all of it was in the pool";
  EXPECT_EQ(Metric("sluice_pooled_corrupt_chunks_total"), 0);
  const auto kept = pool_->ValueOf(WorkersKey());
  ASSERT_TRUE(kept);
  const Content plain = Chunk(object, 0);
  EXPECT_EQ(std::search(kept->begin(), kept->end(), plain.begin(), plain.begin() + 8), kept->end());
  EXPECT_EQ(pool_->ValueOf(Key(object, 0)), std::nullopt) << "nothing is kept in the clear";
}

TEST_F(PooledEncryptedTest, AForgedChunkIsDroppedCountedAndReadAnew) {
  const OriginObject object = Put(kOneMiB);
  FillPool(object, 1);
  const auto kept = pool_->ValueOf(WorkersKey());
  ASSERT_TRUE(kept);
  pool_->Store(WorkersKey(), Content(kept->size(), std::byte{7}), 0);
  FillPool(object, 2);
  EXPECT_EQ(Metric("sluice_pooled_corrupt_chunks_total"), 1);
  EXPECT_EQ(Metric("sluice_pool_forged_values_total"), 1);
  // The good one is back.
  const auto reads = origin_->Reads();
  ExpectFetch(*EncryptingClient(), object, 0, object.size);
  EXPECT_EQ(origin_->Reads(), reads);
}

TEST_F(PooledEncryptedTest, AChunkThatMovesIsEncryptedAnew) {
  const OriginObject object = Put(kOneMiB);
  FillPool(object, 1);
  const auto kept = pool_->ValueOf(WorkersKey());
  ASSERT_TRUE(kept);
  pool_->Evict(WorkersKey());
  pool_->StoreAtFormerPlace(WorkersKey(), *kept, 0);
  FillPool(object, 2);
  EXPECT_EQ(Metric("sluice_pooled_moved_total"), 1);
  ASSERT_TRUE(pool_->ValueOf(WorkersKey()));
  EXPECT_NE(pool_->ValueOf(WorkersKey()), kept) << "another nonce";
  ExpectFetch(*EncryptingClient(), object, 0, object.size);
  EXPECT_EQ(Metric("sluice_pooled_corrupt_chunks_total"), 0);
}

TEST_F(PooledEncryptedTest, WithoutItsKeyAClientReadsTheOrigin) {
  std::filesystem::remove(key_file_);
  const OriginObject object = Put(kOneMiB);
  ExpectFetch(*EncryptingClient(), object, 0, object.size);
  EXPECT_EQ(pool_->Calls().size(), 0U);
}

}  // namespace
}  // namespace sluice::cache
