#include "sluice/csi/leftover_directories.h"

#include <cstdlib>
#include <filesystem>
#include <optional>

#include <gtest/gtest.h>

#include "fakes.h"

namespace sluice::csi {
namespace {

using std::chrono::hours;
using std::chrono::minutes;

constexpr const char* kRoot = "/runtime-mnt";
const std::string kPod = "/runtime-mnt/sluice/ns/n/job---generate-name";  // NOLINT(cert-err58-cpp)
const std::string kMine = kPod + "/1700000000000000-0123abcd";            // NOLINT(cert-err58-cpp)
const std::string kMount = kMine + "/sluice-fuse";                        // NOLINT(cert-err58-cpp)

class LeftoverDirectoriesTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = std::filesystem::temp_directory_path() / "sluice-leftover-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    state_ = pattern;
    Restart();
  }
  void TearDown() override { std::filesystem::remove_all(state_); }
  // A new plugin with the world as it is.
  void Restart() {
    leftovers_.emplace(
        LeftoverOptions{.mount_root = kRoot, .state_directory = state_ + "/idle"},
        LeftoverDirectories::Parts{
            .mounter = mounter_,
            .clock = clock_,
            .log = platform::Log("test", platform::LogLevel::kError),
            .pod_may_live = [this](std::string_view pod) { return pod == living_; }});
    ASSERT_TRUE(leftovers_->Load());
  }
  void Make(const std::string& path) { ASSERT_TRUE(mounter_.MakeDirectories(kRoot, path, 0755)); }
  bool Exists(const std::string& path) {
    return mounter_.Inspect(kRoot, path)->kind != PathInfo::Kind::kMissing;
  }
  // Passes as often as the plugin makes them, for this long.
  void SweepFor(hours time) {
    for (minutes passed{0}; passed <= time; passed += minutes(30)) {
      leftovers_->Sweep();
      clock_.Advance(minutes(30));
    }
  }

  ManualClock clock_;
  FakeMounter mounter_;
  std::string state_;
  std::string living_;
  std::optional<LeftoverDirectories> leftovers_;
};

TEST_F(LeftoverDirectoriesTest, GoOnceNothingHasBeenMountedThereForADay) {
  Make(kMount);
  SweepFor(hours(23));
  EXPECT_TRUE(Exists(kMount));
  SweepFor(hours(1));
  EXPECT_FALSE(Exists(kMine));
  EXPECT_FALSE(Exists(kPod));
  EXPECT_TRUE(Exists("/runtime-mnt/sluice/ns/n")) << "what others use as well stays";
}

TEST_F(LeftoverDirectoriesTest, StayWhileSomethingIsMountedThere) {
  Make(kMount);
  mounter_.AddMount(kMount, "fuse.sluice");
  SweepFor(hours(30));
  EXPECT_TRUE(Exists(kMount));
  // The sidecar starts again: the time before counts no more.
  ASSERT_TRUE(mounter_.Detach(kMount));
  SweepFor(hours(20));
  mounter_.AddMount(kMount, "fuse.sluice");
  SweepFor(hours(1));
  ASSERT_TRUE(mounter_.Detach(kMount));
  SweepFor(hours(20));
  EXPECT_TRUE(Exists(kMount));
  EXPECT_TRUE(mounter_.world.With([](const auto& w) { return w.aborted; }).empty());
}

TEST_F(LeftoverDirectoriesTest, GoInTheirTimeHoweverOftenThePluginRestarts) {
  Make(kMount);
  for (int i = 0; i < 4; ++i) {
    SweepFor(hours(5));
    Restart();
  }
  EXPECT_TRUE(Exists(kMount));
  SweepFor(hours(5));
  EXPECT_FALSE(Exists(kMine));
}

TEST_F(LeftoverDirectoriesTest, StayWhileTheirPodLives) {
  Make(kMount);
  living_ = "job---generate-name";
  SweepFor(hours(100));
  EXPECT_TRUE(Exists(kMount));
  living_ = "another";
  SweepFor(hours(1));
  EXPECT_FALSE(Exists(kMine));
}

TEST_F(LeftoverDirectoriesTest, OfOnePodGoWithoutThoseOfAnotherOfItsName) {
  const std::string other = kPod + "/1700000000000001-0123abcd/sluice-fuse";
  Make(kMine);
  Make(other);
  mounter_.AddMount(other, "fuse.sluice");
  SweepFor(hours(25));
  EXPECT_FALSE(Exists(kMine));
  EXPECT_TRUE(Exists(other));
}

TEST_F(LeftoverDirectoriesTest, WithAnythingInThemStay) {
  Make(kMount);
  for (const std::string& path : {kMount + "/checkpoint", kMine + "/notes"}) {
    mounter_.world.With([&](auto& w) { w.paths[path].kind = PathInfo::Kind::kOther; });
    SweepFor(hours(30));
    EXPECT_TRUE(Exists(path));
    ASSERT_TRUE(mounter_.Remove(kRoot, path));
  }
  Make(kMount + "/below");
  SweepFor(hours(30));
  EXPECT_TRUE(Exists(kMount + "/below"));
}

TEST_F(LeftoverDirectoriesTest, ThatOnlyLookSimilarStay) {
  for (const char* const path : {
           "/runtime-mnt/sluice/ns/n/sluice-fuse",                    // of the plugin itself
           "/runtime-mnt/sluice/ns/n/pod/1700000000000000-0123abc",   // too short
           "/runtime-mnt/sluice/ns/n/pod/1700000000000000-0123ABCD",  // another alphabet
           "/runtime-mnt/sluice/ns/n/pod/-0123abcd",
           "/runtime-mnt/sluice/ns/n/pod/17x-0123abcd",
           "/runtime-mnt/sluice/ns/1700000000000000-0123abcd",  // elsewhere
           "/runtime-mnt/sluice/ns/n/pod/more/1700000000000000-0123abcd",
       }) {
    Make(path);
    SweepFor(hours(30));
    EXPECT_TRUE(Exists(path)) << path;
  }
}

}  // namespace
}  // namespace sluice::csi
