// sluice-prefetch as its container runs it.
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <map>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "sluice/prefetcher/progress.h"

#include "scratch.h"

namespace sluice::prefetcher {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using test::Scratch;
using Clock = std::chrono::steady_clock;

constexpr seconds kLong{30};
constexpr uid_t kNobody = 65534;

class ProgramTest : public testing::Test {
 protected:
  ProgramTest() {
    std::ofstream(scratch_.Path("message"));
    environment_["FILE_PREFETCHER_FILE_LIST"] = scratch_.Data() + "/v/**";
    // It ends without waiting for its readers: to TSan a leak of threads.
    environment_["TSAN_OPTIONS"] = "report_thread_leaks=0";
  }
  ~ProgramTest() override {
    for (const pid_t child : running_) {
      ::kill(child, SIGKILL);
      ::waitpid(child, nullptr, 0);
    }
  }

  pid_t Start(std::vector<std::string> arguments) {
    arguments.insert(
        arguments.begin(),
        {SLUICE_BIN_DIR "/sluice-prefetch", "--status-dir=" + scratch_.StatusDirectory(),
         "--data-root=" + scratch_.Data(), "--termination-log=" + scratch_.Path("message")});
    std::vector<std::string> environment;
    for (const auto& [name, value] : environment_) environment.push_back(name + "=" + value);
    const auto pointers = [](std::vector<std::string>& texts) {
      std::vector<char*> made;
      for (std::string& text : texts) made.push_back(text.data());
      made.push_back(nullptr);
      return made;
    };
    const auto argv = pointers(arguments);
    const auto envp = pointers(environment);
    const pid_t child = ::fork();
    if (child == 0) {
      const int out = ::open(scratch_.Path("out").c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
      ::dup2(out, STDOUT_FILENO);
      if (as_nobody_ && ::setresuid(kNobody, kNobody, kNobody) != 0) ::_exit(126);
      ::execve(argv[0], argv.data(), envp.data());
      ::_exit(127);
    }
    running_.push_back(child);
    return child;
  }

  // The exit status; -1 when it runs still after `limit`.
  int Await(pid_t child, milliseconds limit = kLong) {
    const auto deadline = Clock::now() + limit;
    int status = 0;
    while (::waitpid(child, &status, WNOHANG) == 0) {
      if (Clock::now() > deadline) return -1;
      std::this_thread::sleep_for(milliseconds(10));
    }
    std::erase(running_, child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

  struct Said {
    int status;
    std::string line;
  };
  Said Ask(const std::vector<std::string>& arguments) {
    const int status = Await(Start(arguments));
    return {status, Scratch::Read(scratch_.Path("out"))};
  }

  bool Finishes() {
    const auto deadline = Clock::now() + kLong;
    while (!StatusFiles(scratch_.StatusDirectory()).IsFinished()) {
      if (Clock::now() > deadline) return false;
      std::this_thread::sleep_for(milliseconds(10));
    }
    return true;
  }

  // Takes longer than any test to read, but no space.
  void PutEndless() {
    scratch_.Put("endless", 0);
    ASSERT_EQ(::truncate(scratch_.InVolume("endless").c_str(), off_t{1} << 40), 0);
    scratch_.Put("small", 3);
  }

  std::string Result() { return Scratch::Read(scratch_.StatusDirectory() + "/prefetcher.status"); }
  std::string Message() { return Scratch::Read(scratch_.Path("message")); }

  // Root reads every file; nobody does not.
  void BecomeNobody() {
    if (::geteuid() != 0) return;
    as_nobody_ = true;
    std::filesystem::permissions(scratch_.Path(""), std::filesystem::perms(0755));
    for (const std::string& path : {scratch_.StatusDirectory(), scratch_.Path("message")}) {
      ASSERT_EQ(::chown(path.c_str(), kNobody, kNobody), 0);
    }
  }

  bool as_nobody_ = false;
  Scratch scratch_;
  std::map<std::string, std::string> environment_;
  std::vector<pid_t> running_;
};

TEST_F(ProgramTest, StaysAfterItsWorkUntilItIsTold) {
  scratch_.Put("a", 3000);
  const pid_t program = Start({});
  ASSERT_TRUE(Finishes());
  EXPECT_EQ(Result(), "prefetch_result=success\n");
  EXPECT_EQ(Message(), "prefetched 1 files, 3.0 kB in 0 s\n");
  EXPECT_EQ(Await(program, milliseconds(300)), -1);
  const Said said = Ask({"--status"});
  EXPECT_EQ(said.status, 0);
  EXPECT_EQ(said.line, "prefetched 1 files, 3.0 kB in 0 s\n");
  EXPECT_EQ(Ask({"--wait"}).status, 0);
  ::kill(program, SIGTERM);
  EXPECT_EQ(Await(program), 0);
}

TEST_F(ProgramTest, ExitsWhenThePodIsNotStartedAgain) {
  scratch_.Put("a", 3000);
  const auto begin = Clock::now();
  EXPECT_EQ(Await(Start({"--when-done=exit"})), 0);
  // A hook in the container that waits for the end must be able to see it.
  EXPECT_GE(Clock::now() - begin, seconds(4));
  EXPECT_EQ(Result(), "prefetch_result=success\n");
  environment_["FILE_PREFETCHER_FILE_LIST"] = scratch_.Data() + "/v/none";
  std::filesystem::remove(scratch_.StatusDirectory() + "/prefetcher.status");
  EXPECT_EQ(Await(Start({"--when-done=exit"})), 0);
  EXPECT_EQ(Result(), "prefetch_result=fail\n");
}

TEST_F(ProgramTest, TellsOfAFailureOnce) {
  scratch_.Put("a", 3000);
  environment_["FILE_PREFETCHER_FILE_LIST"] += ";" + scratch_.Data() + "/v/*.none";
  EXPECT_EQ(Await(Start({"--when-done=tell"})), 1);
  EXPECT_EQ(Result(), "prefetch_result=fail\n");
  EXPECT_EQ(Message(),
            "prefetch failed: prefetched 1 of 1 files, 3.0 of 3.0 kB; 1 failed, first: " +
                scratch_.Data() + "/v/*.none: no such file\n");
  EXPECT_EQ(Ask({"--status"}).status, 0);
  const Said untold = Ask({"--status", "--probe"});
  EXPECT_EQ(untold.status, 1);  // this makes an event
  EXPECT_EQ(untold.line, Message());
  // The next life stays, and lets the application go on.
  const pid_t next = Start({"--when-done=tell"});
  EXPECT_EQ(Await(next, milliseconds(300)), -1);
  const Said told = Ask({"--status", "--probe"});
  EXPECT_EQ(told.status, 0);
  EXPECT_NE(told.line.find("1 failed"), std::string::npos);
  ::kill(next, SIGTERM);
  EXPECT_EQ(Await(next), 0);
}

TEST_F(ProgramTest, StaysUntilAProbeHasToldOfTheFailure) {
  environment_["FILE_PREFETCHER_FILE_LIST"] = scratch_.Data() + "/v/*.none";
  const pid_t program = Start({"--when-done=tell"});
  ASSERT_TRUE(Finishes());
  EXPECT_EQ(Await(program, seconds(3)), -1);
  EXPECT_EQ(Ask({"--status", "--probe"}).status, 1);
  const auto begin = Clock::now();
  EXPECT_EQ(Await(program), 1);
  EXPECT_GT(Clock::now() - begin, milliseconds(500)) << "the kubelet is given the answer first";
  EXPECT_LT(Clock::now() - begin, seconds(5)) << "it would have stayed longer for a probe";
}

TEST_F(ProgramTest, ReadsTheRestOfWhatItMayNotRead) {
  scratch_.Put("a", 1000);
  scratch_.Put("secret", 1000);
  scratch_.Put("d/x", 1000);
  std::filesystem::permissions(scratch_.InVolume("secret"), std::filesystem::perms::none);
  std::filesystem::permissions(scratch_.InVolume("d"), std::filesystem::perms::none);
  BecomeNobody();
  Start({"--when-done=tell"});
  ASSERT_TRUE(Finishes());
  std::filesystem::permissions(scratch_.InVolume("d"), std::filesystem::perms::owner_all);
  EXPECT_EQ(Result(), "prefetch_result=fail\n");
  const auto progress = StatusFiles(scratch_.StatusDirectory()).ReadProgress();
  ASSERT_TRUE(progress);
  EXPECT_EQ(progress->files_done, 1U);
  EXPECT_EQ(progress->failures, 2U);
  EXPECT_NE(progress->cause.find("Permission denied"), std::string::npos) << progress->cause;
}

TEST_F(ProgramTest, DoesNotPrefetchAgain) {
  std::ofstream(scratch_.StatusDirectory() + "/prefetcher.status") << "prefetch_result=fail\n";
  const pid_t program = Start({});
  EXPECT_EQ(Await(program, milliseconds(500)), -1);
  EXPECT_EQ(StatusFiles(scratch_.StatusDirectory()).ReadProgress(), std::nullopt);
  EXPECT_EQ(Result(), "prefetch_result=fail\n");
  EXPECT_EQ(Ask({"--status"}).line, "prefetching has finished\n");
}

TEST_F(ProgramTest, EndsAtOnceWhileItReads) {
  PutEndless();
  const pid_t program = Start({"--when-done=tell"});
  const Said said = Ask({"--status", "--probe"});
  EXPECT_EQ(said.status, 1);
  EXPECT_TRUE(said.line.starts_with("prefetched 1 of 2 files, ")) << said.line;
  EXPECT_TRUE(said.line.ends_with(" of 1.1 TB\n")) << said.line;
  const auto begin = Clock::now();
  ::kill(program, SIGTERM);
  EXPECT_EQ(Await(program), 0);
  EXPECT_LT(Clock::now() - begin, seconds(2));
  EXPECT_TRUE(Message().starts_with("ended early: prefetched 1 of 2 files")) << Message();
  EXPECT_EQ(Result(), "");
}

TEST_F(ProgramTest, TheLimitLetsTheApplicationGoOn) {
  PutEndless();
  environment_["FILE_PREFETCHER_TIMEOUT_SECONDS"] = "1";
  const pid_t program = Start({});
  const auto begin = Clock::now();
  EXPECT_EQ(Ask({"--wait"}).status, 0);
  EXPECT_LT(Clock::now() - begin, seconds(10));
  const Said said = Ask({"--status"});
  EXPECT_EQ(said.status, 0);
  EXPECT_NE(said.line.find("the limit of 1 s is over"), std::string::npos) << said.line;
  EXPECT_EQ(Await(program, milliseconds(100)), -1);  // the reading goes on
}

TEST_F(ProgramTest, WaitingForOneThatNeverBeganEnds) {
  environment_["FILE_PREFETCHER_TIMEOUT_SECONDS"] = "1";
  EXPECT_EQ(Ask({"--wait"}).line, "prefetching has not begun\n");
  EXPECT_EQ(Ask({"--status"}).status, 1);
  environment_["FILE_PREFETCHER_TIMEOUT_SECONDS"] = "-5";
  EXPECT_EQ(Ask({"--wait"}).status, 0);
}

TEST_F(ProgramTest, BadEnvironmentIsLeftOut) {
  scratch_.Put("a", 3000);
  environment_["BUFFER_SIZE_IN_BYTES"] = "lots";
  environment_["FILE_PREFETCHER_TIMEOUT_SECONDS"] = "soon";
  Start({});
  ASSERT_TRUE(Finishes());
  EXPECT_EQ(Result(), "prefetch_result=success\n");
}

TEST_F(ProgramTest, HugeBuffersAreCut) {
  scratch_.Put("a", 3000);
  environment_["BUFFER_SIZE_IN_BYTES"] = "18446744073709551615";
  Start({});
  ASSERT_TRUE(Finishes());
  EXPECT_EQ(Result(), "prefetch_result=success\n");
}

TEST_F(ProgramTest, FlagsThatExcludeEachOtherAreRefused) {
  EXPECT_EQ(Ask({"--status", "--wait"}).status, 2);
  EXPECT_EQ(Ask({"--probe"}).status, 2);
  EXPECT_EQ(Ask({"--when-done=dance"}).status, 2);
}

}  // namespace
}  // namespace sluice::prefetcher
