#include "sluice/pool/member_follower.h"

#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include "sluice/platform/guarded.h"

namespace sluice::pool {
namespace {

namespace fs = std::filesystem;
using Lists = std::vector<std::vector<PoolMember>>;

constexpr std::chrono::seconds kPatience{10};
constexpr std::chrono::hours kNever{1};

std::string Listing(const std::vector<PoolMember>& members) {
  return RenderPoolMembers(members).dump();
}

class MemberFollowerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = ::testing::TempDir() + "members-XXXXXX";
    ASSERT_NE(::mkdtemp(folder_.data()), nullptr);
  }
  void TearDown() override { fs::remove_all(folder_); }

  [[nodiscard]] std::string Path() const { return folder_ + "/workers.json"; }
  void Write(const std::string& text) const { std::ofstream(Path()) << text; }

  // As kubelet does it: a new folder of the files, then one rename over the link `..data`.
  void SwapConfigMap(const std::string& text, int generation) const {
    const std::string version = "..2026_11_26_" + std::to_string(generation);
    fs::create_directory(folder_ + "/" + version);
    std::ofstream(folder_ + "/" + version + "/workers.json") << text;
    fs::create_directory_symlink(version, folder_ + "/..data_tmp");
    fs::rename(folder_ + "/..data_tmp", folder_ + "/..data");
    if (generation == 0) fs::create_symlink("..data/workers.json", Path());
  }

  [[nodiscard]] MemberFollower Follow(std::chrono::milliseconds poll) {
    return MemberFollower(
        Path(),
        [this](const std::vector<PoolMember>& members) {
          lists_.With([&](Lists& lists) { lists.push_back(members); });
          lists_.Notify();
        },
        metrics_, log_, poll);
  }
  bool WaitForLists(std::size_t count) {
    return lists_.WaitUntil(std::chrono::steady_clock::now() + kPatience,
                            [&](const Lists& lists) { return lists.size() >= count; });
  }
  [[nodiscard]] std::vector<PoolMember> Last() const {
    return lists_.With([](const Lists& lists) { return lists.back(); });
  }
  bool WaitForMetric(const std::string& line) {
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (std::chrono::steady_clock::now() < deadline) {
      if (metrics_.Render().find(line) != std::string::npos) return true;
      ::usleep(1'000);
    }
    return false;
  }

  const std::vector<PoolMember> one_{{"w-0", "10.0.0.1:11211"}};
  const std::vector<PoolMember> two_{{"w-0", "10.0.0.1:11211"}, {"w-1", "10.0.0.2:11211"}};
  std::string folder_;
  platform::Metrics metrics_;
  platform::Log log_{"test", platform::LogLevel::kError};
  platform::Guarded<Lists> lists_;
};

TEST_F(MemberFollowerTest, ReadsTheFileAtOnceAndWhenItIsWritten) {
  Write(Listing(one_));
  const MemberFollower follower = Follow(kNever);
  ASSERT_TRUE(WaitForLists(1));
  EXPECT_EQ(Last(), one_);
  Write(Listing(two_));
  ASSERT_TRUE(WaitForLists(2));
  EXPECT_EQ(Last(), two_);
}

TEST_F(MemberFollowerTest, SeesKubeletSwapAConfigMap) {
  SwapConfigMap(Listing(one_), 0);
  const MemberFollower follower = Follow(kNever);
  ASSERT_TRUE(WaitForLists(1));
  EXPECT_EQ(Last(), one_);
  SwapConfigMap(Listing(two_), 1);
  ASSERT_TRUE(WaitForLists(2));
  EXPECT_EQ(Last(), two_);
  SwapConfigMap(Listing({}), 2);
  ASSERT_TRUE(WaitForLists(3));
  EXPECT_TRUE(Last().empty());
}

TEST_F(MemberFollowerTest, KeepsTheLastGoodListOverABadFile) {
  Write(Listing(one_));
  const MemberFollower follower = Follow(kNever);
  ASSERT_TRUE(WaitForLists(1));
  const std::string failed = "sluice_pool_member_reloads_total{result=\"failed\"} ";
  Write("{\"workers\": [");
  ASSERT_TRUE(WaitForMetric(failed + "1"));
  Write("{\"workers\": [{\"name\": \"w-0\"}]}");
  ASSERT_TRUE(WaitForMetric(failed + "2"));
  fs::remove(Path());
  ASSERT_TRUE(WaitForMetric(failed + "3"));
  EXPECT_EQ(lists_.With([](const Lists& lists) { return lists.size(); }), 1U);
  Write(Listing(one_));  // as before: nothing to tell
  Write(Listing(two_));
  ASSERT_TRUE(WaitForLists(2));
  EXPECT_EQ(Last(), two_);
}

TEST_F(MemberFollowerTest, FindsAFolderThatComesLater) {
  fs::remove_all(folder_);
  const MemberFollower follower = Follow(std::chrono::milliseconds(20));
  ASSERT_TRUE(WaitForMetric("result=\"failed\"} 1"));
  fs::create_directory(folder_);
  Write(Listing(one_));
  ASSERT_TRUE(WaitForLists(1));
  EXPECT_EQ(Last(), one_);
}

TEST_F(MemberFollowerTest, EndsAtOnceWhileItWaits) {
  Write(Listing(one_));
  const auto start = std::chrono::steady_clock::now();
  {
    const MemberFollower follower = Follow(kNever);
    ASSERT_TRUE(WaitForLists(1));
  }
  EXPECT_LT(std::chrono::steady_clock::now() - start, kPatience);
}

}  // namespace
}  // namespace sluice::pool
