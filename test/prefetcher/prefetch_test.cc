// The engine on real directories.
#include "sluice/prefetcher/prefetch.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <vector>

#include <gtest/gtest.h>

#include "scratch.h"

namespace sluice::prefetcher {
namespace {

namespace fs = std::filesystem;
using test::Scratch;

class PrefetchTest : public testing::Test {
 protected:
  Progress Run(const std::string& patterns, std::size_t block = 1000) {
    PrefetchRequest request;
    // "@" is the volume.
    for (const char c : patterns) {
      if (c == '@') {
        request.file_list += scratch_.Data() + "/v";
      } else {
        request.file_list += c;
      }
    }
    request.data_root = scratch_.Data();
    request.block_bytes = block;
    return Prefetch(
        request, [this](const Progress& progress) { reports_.push_back(progress); }, log_);
  }

  Scratch scratch_;
  std::vector<Progress> reports_;
  platform::Log log_{"prefetch-test", platform::LogLevel::kError};
};

TEST_F(PrefetchTest, ReadsEveryFileOnce) {
  scratch_.Put("a.bin", 2500);
  scratch_.Put("d/e/b.bin", 1000);
  scratch_.Put("d/empty", 0);
  scratch_.Put(".hidden/c", 1);
  const Progress end = Run("@/**;@/d;@/a.bin");
  EXPECT_EQ(end.failures, 0U) << end.cause;
  EXPECT_EQ(end.files_done, 4U);
  EXPECT_EQ(end.files_total, 4U);
  EXPECT_EQ(end.bytes_done, 3501U);
  EXPECT_EQ(end.bytes_total, 3501U);
  EXPECT_EQ(end.phase, Progress::Phase::kFinished);
  ASSERT_FALSE(reports_.empty());
  EXPECT_EQ(reports_.back(), end);
}

TEST_F(PrefetchTest, ReadsWhatPatternsMean) {
  scratch_.Put("a.bin", 1);
  scratch_.Put("a.txt", 10);
  scratch_.Put("m/x.bin", 100);
  scratch_.Put("m/n/y.bin", 1000);
  scratch_.Put("m/n/z.txt", 10000);
  EXPECT_EQ(Run("@/*.bin").bytes_done, 1U);
  EXPECT_EQ(Run("@/**/*.bin").bytes_done, 1101U);
  EXPECT_EQ(Run("@/m/n").bytes_done, 11000U);
  EXPECT_EQ(Run("@/m/").bytes_done, 11100U);
  EXPECT_EQ(Run("@").bytes_done, 11111U);
  EXPECT_EQ(Run("@/m/[xy].bin;@/a.t?t").bytes_done, 110U);
  EXPECT_EQ(Run(scratch_.Data() + "/*/a.bin").bytes_done, 1U);
  EXPECT_EQ(Run("@/../v/m/../a.bin").bytes_done, 1U);
}

TEST_F(PrefetchTest, AnEmptyVolumeIsRead) {
  const Progress end = Run("@/**");
  EXPECT_EQ(end.failures, 0U);
  EXPECT_EQ(end.files_done, 0U);
}

TEST_F(PrefetchTest, FailsForWhatIsNotThereAndReadsTheRest) {
  scratch_.Put("a", 7);
  const Progress end = Run("@/a;@/missing/*.bin;relative;" + scratch_.Data() + "/w/**");
  EXPECT_EQ(end.bytes_done, 7U);
  EXPECT_EQ(end.failures, 3U);
  EXPECT_EQ(Run("@/*.none").cause, scratch_.Data() + "/v/*.none: no such file");
  EXPECT_EQ(Run("").cause, "FILE_PREFETCHER_FILE_LIST: names no file");
  EXPECT_EQ(Run(";;").failures, 1U);
}

TEST_F(PrefetchTest, FollowsLinksInsideOfTheVolumeOnly) {
  scratch_.Put("blobs/1", 100);
  scratch_.Put("snapshots/x", 10);
  std::ofstream(scratch_.Path("outside")) << std::string(5000, 'x');
  fs::create_symlink("../blobs/1", scratch_.InVolume("snapshots/model.bin"));
  fs::create_symlink(scratch_.Path("outside"), scratch_.InVolume("snapshots/out"));
  fs::create_symlink("../../../outside", scratch_.InVolume("snapshots/up"));
  fs::create_symlink("nowhere", scratch_.InVolume("snapshots/dangling"));
  fs::create_symlink("self", scratch_.InVolume("snapshots/self"));
  const Progress end = Run("@/snapshots/**");
  EXPECT_EQ(end.failures, 0U) << end.cause;
  EXPECT_EQ(end.files_done, 2U);
  EXPECT_EQ(end.bytes_done, 110U);
  EXPECT_EQ(Run("@/snapshots/out").failures, 1U);
  EXPECT_EQ(Run("@/snapshots/up").bytes_done, 0U);
}

TEST_F(PrefetchTest, LinksToDirectoriesLeadNoWhereInCircles) {
  scratch_.Put("v3/a.bin", 100);
  scratch_.Put("v3/d/b.bin", 10);
  fs::create_symlink("v3", scratch_.InVolume("current"));
  fs::create_symlink(".", scratch_.InVolume("loop"));
  fs::create_symlink("..", scratch_.InVolume("v3/up"));
  fs::create_symlink("/etc", scratch_.InVolume("etc"));
  EXPECT_EQ(Run("@/**").bytes_done, 110U);
  EXPECT_EQ(Run("@/current/*.bin").bytes_done, 100U);
  EXPECT_EQ(Run("@/current").bytes_done, 110U);
  EXPECT_EQ(Run("@/loop/loop/v3/up/current/a.bin").bytes_done, 100U);
  EXPECT_EQ(Run("@/etc/passwd").bytes_done, 0U);
  EXPECT_EQ(Run("@/**/current/**").bytes_done, 110U);
}

TEST_F(PrefetchTest, HostileNamesAndThingsThatAreNoFilesSurvive) {
  scratch_.Put("new\nline;semi", 1);
  scratch_.Put("\xff\xfe\x1b[2J", 10);
  scratch_.Put("*", 100);
  scratch_.Put(std::string(255, 'n'), 1000);
  ASSERT_EQ(::mkfifo(scratch_.InVolume("fifo").c_str(), 0600), 0);
  const Progress end = Run("@/**");
  EXPECT_EQ(end.failures, 0U) << end.cause;
  EXPECT_EQ(end.bytes_done, 1111U);
  EXPECT_EQ(Run("@/[*]").bytes_done, 100U);
  EXPECT_EQ(Run("@/fifo").failures, 1U);
}

TEST_F(PrefetchTest, DeepTreesEndAtABound) {
  // Longer than PATH_MAX as well, so it is made and removed step by step.
  int directory = ::open(scratch_.InVolume("").c_str(), O_PATH);
  const std::string name(40, 'd');
  for (int i = 0; i < 200; ++i) {
    ASSERT_EQ(::mkdirat(directory, name.c_str(), 0700), 0);
    const int next = ::openat(directory, name.c_str(), O_PATH);
    ::close(directory);
    directory = next;
  }
  ::close(directory);
  scratch_.Put("a", 5);
  const Progress end = Run("@/**");
  EXPECT_EQ(end.bytes_done, 5U);
  EXPECT_EQ(end.failures, 1U);
  EXPECT_NE(end.cause.find("deeper than 128 directories"), std::string::npos) << end.cause;
}

TEST_F(PrefetchTest, ManyFilesMakeNoOpenDescriptors) {
  for (int i = 0; i < 3000; ++i)
    scratch_.Put("d" + std::to_string(i % 7) + "/" + std::to_string(i), 3);
  const Progress end = Run("@/**");
  EXPECT_EQ(end.files_done, 3000U);
  EXPECT_EQ(end.bytes_done, 9000U);
}

TEST_F(PrefetchTest, TheTimeOfTheFirstTryIsKept) {
  PrefetchRequest request{.file_list = scratch_.Data() + "/v/**", .data_root = scratch_.Data()};
  request.started = std::chrono::milliseconds(1);
  EXPECT_EQ(Prefetch(
                request, [](const Progress&) {}, log_)
                .started.count(),
            1);
  // The node was started anew meanwhile: its clock as well.
  request.started = SinceBoot() + std::chrono::hours(1);
  EXPECT_LE(Prefetch(
                request, [](const Progress&) {}, log_)
                .started,
            SinceBoot());
}

}  // namespace
}  // namespace sluice::prefetcher
