#include "sluice/prefetcher/progress.h"

#include <sys/stat.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "scratch.h"

namespace sluice::prefetcher {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using test::Scratch;

Progress Half() {
  return {.phase = Progress::Phase::kReading,
          .files_total = 14,
          .bytes_total = 2'210'000'000,
          .files_done = 3,
          .bytes_done = 1'190'000'000,
          .cause = "",
          .started = seconds(100)};
}

TEST(ProgressTest, IsDescribedInOneLine) {
  EXPECT_EQ(Describe(Half()), "prefetched 3 of 14 files, 1.2 of 2.2 GB");
  Progress counting;
  counting.files_total = 2;
  counting.bytes_total = 999;
  EXPECT_EQ(Describe(counting), "counting files: 2 so far, 999 bytes");
  Progress end = Half();
  end.phase = Progress::Phase::kFinished;
  end.files_done = 14;
  end.bytes_done = end.bytes_total;
  end.ended = seconds(112);
  EXPECT_EQ(Describe(end), "prefetched 14 files, 2.2 GB in 12 s");
  end.failures = 1;
  end.files_done = 13;
  end.bytes_done = 5;
  end.cause = "/data/v/x: Permission denied";
  EXPECT_EQ(Describe(end),
            "prefetched 13 of 14 files, 0.0 of 2.2 GB; 1 failed, first: /data/v/x: Permission "
            "denied");
}

TEST(ProgressTest, IsReadBackAsItWasWritten) {
  Progress progress = Half();
  progress.failures = 2;
  progress.cause = "/data/v/a\\x0ab: Input/output error";
  progress.ended = milliseconds(123456);
  const auto parsed = ParseProgress(FormatProgress(progress));
  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_EQ(*parsed, progress);
}

TEST(ProgressTest, ForeignContentsAreRefused) {
  for (
      const char* text :
      {"", "x", "[]", "{}", R"({"phase": "reading"})",
       R"({"phase":"reading","filesTotal":-1,"bytesTotal":0,"filesDone":0,"bytesDone":0,"failures":0,"startedMs":0,"endedMs":0})",
       R"({"phase":"over","filesTotal":1,"bytesTotal":0,"filesDone":0,"bytesDone":0,"failures":0,"startedMs":0,"endedMs":0})",
       R"({"phase":"reading","filesTotal":18446744073709551615,"bytesTotal":0,"filesDone":0,"bytesDone":0,"failures":0,"startedMs":0,"endedMs":0})"}) {
    EXPECT_FALSE(ParseProgress(text).has_value()) << text;
  }
}

TEST(ProgressTest, HostileNamesBecomePrintable) {
  EXPECT_EQ(Printable("a\nb\xff\x1b[2J"), "a\\x0ab\\xff\\x1b[2J");
  EXPECT_EQ(Printable(std::string(500, 'a')), std::string(300, 'a') + "...");
}

TEST(ProgressTest, TheApplicationGoesOnAtTheEndOrTheLimit) {
  const seconds limit(60);
  EXPECT_FALSE(Judge(std::nullopt, seconds(1000), limit).go_on);
  EXPECT_FALSE(Judge(Half(), seconds(159), limit).go_on);
  const Verdict late = Judge(Half(), seconds(160), limit);
  EXPECT_TRUE(late.go_on);
  EXPECT_EQ(late.line,
            "prefetched 3 of 14 files, 1.2 of 2.2 GB; the limit of 60 s is over, so the "
            "application starts meanwhile");
  Progress end = Half();
  end.phase = Progress::Phase::kFinished;
  EXPECT_TRUE(Judge(end, seconds(101), limit).go_on);
  EXPECT_TRUE(Judge(Half(), seconds(100), seconds(-1)).go_on);
}

TEST(ProgressTest, AProbeTellsOfAFailureBeforeTheApplicationGoesOn) {
  Progress end = Half();
  end.phase = Progress::Phase::kFinished;
  end.failures = 1;
  end.cause = "x: no such file";
  EXPECT_TRUE(Judge(end, seconds(101), seconds(60)).go_on);
  const Verdict verdict = Judge(end, seconds(101), seconds(60), Asker::kProbe);
  EXPECT_FALSE(verdict.go_on);
  EXPECT_TRUE(verdict.line.starts_with("prefetch failed: ")) << verdict.line;
  EXPECT_TRUE(Judge(end, seconds(160), seconds(60), Asker::kProbe).go_on);
  end.told = true;
  EXPECT_TRUE(Judge(end, seconds(101), seconds(60), Asker::kProbe).go_on);
}

TEST(StatusFilesTest, SayWhatTheContractSays) {
  const Scratch scratch;
  const StatusFiles files(scratch.StatusDirectory());
  EXPECT_FALSE(files.IsFinished());
  EXPECT_EQ(files.ReadProgress(), std::nullopt);
  ASSERT_TRUE(files.WriteProgress(Half()));
  EXPECT_EQ(files.ReadProgress(), Half());
  ASSERT_TRUE(files.WriteResult(false));
  EXPECT_TRUE(files.IsFinished());
  const std::string path = scratch.StatusDirectory() + "/prefetcher.status";
  EXPECT_EQ(Scratch::Read(path), "prefetch_result=fail\n");
  ASSERT_TRUE(files.WriteResult(true));
  EXPECT_EQ(Scratch::Read(path), "prefetch_result=success\n");
}

// The volume of Fluid's asynchronous form is the application's, too.
TEST(StatusFilesTest, LinksAreNotWrittenThrough) {
  const Scratch scratch;
  const std::string victim = scratch.Path("victim");
  std::ofstream(victim) << "keep";
  for (const char* name : {"prefetcher.status", "prefetcher.status.part", "prefetcher.progress"}) {
    std::filesystem::create_symlink(victim, scratch.StatusDirectory() + "/" + name);
  }
  const StatusFiles files(scratch.StatusDirectory());
  ASSERT_TRUE(files.WriteResult(true));
  ASSERT_TRUE(files.WriteProgress(Half()));
  EXPECT_EQ(Scratch::Read(victim), "keep");
  EXPECT_EQ(files.ReadProgress(), Half());
}

TEST(StatusFilesTest, FailuresNameThePath) {
  const StatusFiles files("/no/such/directory");
  const auto status = files.WriteResult(true);
  ASSERT_FALSE(status);
  EXPECT_NE(status.error().message.find("/no/such/directory"), std::string::npos);
}

}  // namespace
}  // namespace sluice::prefetcher
