#include "dataset.h"

#include <unistd.h>

#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sluice/cache/pooled_source.h"
#include "sluice/pool/memcached_pool.h"

#include "pool_memory.h"

namespace sluice::fuse_client {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class DatasetTest : public ::testing::Test {
 protected:
  DatasetTest() {
    std::string pattern = (fs::temp_directory_path() / "sluice-dataset-XXXXXX").string();
    root_ = ::mkdtemp(pattern.data());
  }
  ~DatasetTest() override { fs::remove_all(root_); }

  void Mount(const std::string& name, int files) {
    fs::create_directory(root_ / name);
    for (int i = 0; i < files; ++i) {
      std::ofstream(root_ / name / ("a-file-with-a-name-of-usual-length-" + std::to_string(i)));
    }
    MountConfig mount;
    mount.mount_point = "file://" + (root_ / name).string();
    mount.name = name;
    mount.path = "/" + name;
    config_.mounts.push_back(mount);
  }

  fs::path root_;
  FuseConfig config_;
  platform::Metrics metrics_;
  platform::Log log_{"test", platform::LogLevel::kError};
};

TEST_F(DatasetTest, ListingLimitIsOfAllMountsTogether) {
  Mount("a", 100);
  Mount("b", 100);
  const auto dataset = Dataset::Make(config_, metrics_, log_);
  ASSERT_TRUE(dataset.has_value()) << dataset.error().message;
  const auto both = (*dataset)->List(1 << 20);
  ASSERT_TRUE(both.has_value()) << both.error().message;
  const std::uint64_t bytes = both->memory();
  const auto refused = (*dataset)->List(bytes / 4 * 3);
  ASSERT_FALSE(refused.has_value()) << "each of them would fit";
  EXPECT_EQ(refused.error().code, Code::kInvalidArgument);
  EXPECT_THAT(refused.error().message, HasSubstr((root_ / "b").string()));
  EXPECT_TRUE((*dataset)->List(bytes * 2).has_value()) << "the limit is of one listing";
}

// Else a client that dies while it fills a chunk makes all others read it from the origin.
TEST(PoolDefaultsTest, WaitingIsLongerThanALease) {
  EXPECT_GT(cache::PooledOptions{}.most_wait, pool::PoolOptions{}.lease);
}

// A worker's clock may take a second of a lease.
TEST(PoolDefaultsTest, ALeaseIsRenewedInTime) {
  EXPECT_LE(cache::PooledOptions{}.renew_every * 2,
            pool::PoolOptions{}.lease - std::chrono::seconds(1));
}

TEST(PoolMemoryTest, IsNothingWhereItWouldNotHoldTwoChunksOfEachMount) {
  FuseConfig config;
  config.mounts.resize(1);
  EXPECT_EQ(PoolMemory(config), 0U) << "without a pool";
  config.pool.members_file = "/workers.json";
  config.cache.memory_budget_bytes = 192U << 20;
  EXPECT_EQ(PoolMemory(config), 64U << 20);
  config.mounts.resize(8);
  EXPECT_EQ(PoolMemory(config), 64U << 20);
  config.mounts.resize(9);
  EXPECT_EQ(PoolMemory(config), 0U);
  config.mounts.resize(1);
  config.cache.memory_budget_bytes = 23U << 20;
  EXPECT_EQ(PoolMemory(config), 0U);
}

TEST_F(DatasetTest, DirectoriesOfThisMachineAreNotPooled) {
  Mount("a", 1);
  MountConfig bucket;
  bucket.mount_point = "s3://bucket";
  bucket.name = "b";
  bucket.path = "/b";
  config_.mounts.push_back(bucket);
  config_.pool.members_file = root_ / "workers.json";
  const auto dataset = Dataset::Make(config_, metrics_, log_);
  ASSERT_TRUE(dataset.has_value()) << dataset.error().message;
  const auto before = (*dataset)->Sources();
  (*dataset)->UsePool(config_, metrics_, log_);
  const auto after = (*dataset)->Sources();
  EXPECT_EQ(before[0].source, after[0].source);
  EXPECT_NE(before[1].source, after[1].source);
}

}  // namespace
}  // namespace sluice::fuse_client
