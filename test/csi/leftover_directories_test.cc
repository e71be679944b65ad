#include "sluice/csi/leftover_directories.h"

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
  void Make(const std::string& path) { ASSERT_TRUE(mounter_.MakeDirectories(kRoot, path, 0755)); }
  bool Exists(const std::string& path) {
    return mounter_.Inspect(kRoot, path)->kind != PathInfo::Kind::kMissing;
  }
  // Passes as often as the plugin makes them, for this long.
  void SweepFor(hours time) {
    for (minutes passed{0}; passed <= time; passed += minutes(30)) {
      leftovers_.Sweep();
      clock_.Advance(minutes(30));
    }
  }

  ManualClock clock_;
  FakeMounter mounter_;
  LeftoverDirectories leftovers_{
      {.mount_root = kRoot}, mounter_, clock_, platform::Log("test", platform::LogLevel::kError)};
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
