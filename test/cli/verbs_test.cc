// The command line against a real mount, and with wrong input.
#include "mounted.h"

namespace sluice::test {
namespace {

using testing::AnyOf;
using testing::HasSubstr;
using testing::Not;

using VerbsTest = MountedTest;

TEST_F(VerbsTest, MountStatusUmount) {
  WriteBytes(root_ / "data/f", "hello");
  const Outcome mounted = MountData({"--cache-dir", root_ / "cache", "--cache-size", "1Gi"});
  ASSERT_EQ(mounted.status, 0) << mounted.output;
  EXPECT_THAT(mounted.output, HasSubstr("is mounted at"));
  EXPECT_EQ(ReadBytes(root_ / "mnt/f"), "hello");
  ASSERT_TRUE(Eventually([&] { return OnlyMount().value("cachedBytes", 0) == 5; }))
      << OnlyMount().dump(2);
  const auto mount = OnlyMount();
  EXPECT_EQ(mount["path"], (root_ / "mnt").string());
  EXPECT_EQ(mount["origin"], "file://" + (root_ / "data").string());
  EXPECT_EQ(mount["state"], "ready");
  EXPECT_GT(mount["pid"], 0);
  EXPECT_GT(mount["holderPid"], 0);
  const Outcome table = Sluice({"status"});
  EXPECT_THAT(table.output, HasSubstr("PASSTHROUGH"));
  EXPECT_THAT(table.output, HasSubstr((root_ / "mnt").string()));

  const Outcome again = MountData();
  EXPECT_EQ(again.status, 1);
  EXPECT_THAT(again.output, HasSubstr("mounted already"));

  {
    const platform::UniqueFd busy(::open((root_ / "mnt/f").c_str(), O_RDONLY | O_CLOEXEC));
    const Outcome refused = Sluice({"umount", root_ / "mnt"});
    EXPECT_EQ(refused.status, 1);
    EXPECT_THAT(refused.output, HasSubstr("busy"));
    EXPECT_THAT(refused.output, HasSubstr("--lazy"));
    EXPECT_TRUE(IsMounted());
  }
  // The close of a file reaches the client a moment later.
  const Outcome gone = Sluice({"umount", (root_ / "mnt").string() + "/"});
  EXPECT_EQ(gone.status, 0) << gone.output;
  EXPECT_FALSE(IsMounted());
  EXPECT_TRUE(Mounts().empty());
  EXPECT_TRUE(fs::is_empty(root_ / "run/sluice"));
}

TEST_F(VerbsTest, LazyUmountLetsOpenFilesFinish) {
  const std::string bytes = RandomBytes(8 << 20, 1);
  WriteBytes(root_ / "data/f", bytes);
  ASSERT_EQ(MountData().status, 0);
  platform::UniqueFd file(::open((root_ / "mnt/f").c_str(), O_RDONLY | O_CLOEXEC));
  ASSERT_EQ(Sluice({"umount", "--lazy", root_ / "mnt"}).status, 0);
  EXPECT_FALSE(IsMounted());
  std::string read(bytes.size(), '\0');
  EXPECT_EQ(::pread(file.Get(), read.data(), read.size(), 0), static_cast<ssize_t>(read.size()));
  EXPECT_TRUE(read == bytes);
  file.Reset();
  EXPECT_TRUE(Eventually([&] { return Mounts().empty(); }))
      << "holder and client end by themselves";
}

TEST_F(VerbsTest, EndedHolderLeavesNoMount) {
  WriteBytes(root_ / "data/f", "x");
  ASSERT_EQ(MountData().status, 0);
  ::kill(OnlyMount().value("holderPid", 0), SIGTERM);
  EXPECT_TRUE(Eventually([&] { return !IsMounted() && Mounts().empty(); }));
}

TEST_F(VerbsTest, KilledHolderDoesNotHurtReadersAndUmountStillWorks) {
  WriteBytes(root_ / "data/f", "still here");
  ASSERT_EQ(MountData().status, 0);
  const pid_t holder = OnlyMount().value("holderPid", 0);
  ::kill(holder, SIGKILL);
  ASSERT_TRUE(Eventually([&] { return OnlyMount().value("state", "") == "no holder"; }));
  EXPECT_EQ(ReadBytes(root_ / "mnt/f"), "still here");
  EXPECT_EQ(Sluice({"umount", root_ / "mnt"}).status, 0);
  EXPECT_FALSE(IsMounted());
  EXPECT_TRUE(Mounts().empty());
}

TEST_F(VerbsTest, UnmountsItsOwnMountAndNoneThatLiesOnTop) {
  WriteBytes(root_ / "data/f", "x");
  ASSERT_EQ(MountData().status, 0);
  const auto top = [&] { return platform::FindMount(root_ / "mnt")->fs_type; };
  ASSERT_EQ(RunCommand({"/bin/mount", "-t", "tmpfs", "tmpfs", root_ / "mnt"}).status, 0);
  const Outcome covered = Sluice({"umount", root_ / "mnt"});
  EXPECT_EQ(covered.status, 1);
  EXPECT_THAT(covered.output, HasSubstr("covered by a mount of tmpfs"));
  EXPECT_EQ(top(), "tmpfs");
  EXPECT_EQ(OnlyMount().value("state", ""), "ready");

  ::kill(OnlyMount().value("holderPid", 0), SIGTERM);
  ASSERT_TRUE(Eventually([&] { return Mounts().empty(); }));
  EXPECT_EQ(top(), "tmpfs");
  ASSERT_EQ(RunCommand({"/bin/umount", root_ / "mnt"}).status, 0);
  EXPECT_EQ(top(), "fuse.sluice");
  EXPECT_FALSE(std::ifstream(root_ / "mnt/f").is_open()) << "fails, and does not hang";
  EXPECT_EQ(Sluice({"umount", root_ / "mnt"}).status, 0);
  EXPECT_FALSE(IsMounted());
}

TEST_F(VerbsTest, MountsForACallerThatHasClosedItsStandardDescriptors) {
  WriteBytes(root_ / "data/f", "x");
  for (const char* const closed : {"<&- 3>&-", "<&- >&- 2>&- 3>&-"}) {
    const Outcome mounted =
        RunCommand({"/bin/sh", "-c", std::string("exec \"$0\" \"$@\" ") + closed,
                    std::string(SLUICE_BIN_DIR) + "/sluice", "mount",
                    "file://" + (root_ / "data").string(), root_ / "mnt"},
                   variables_, std::chrono::seconds(40));
    EXPECT_EQ(mounted.status, 0) << closed << ": " << mounted.output;
    EXPECT_EQ(ReadBytes(root_ / "mnt/f"), "x");
    EXPECT_EQ(Sluice({"umount", root_ / "mnt"}).status, 0);
  }
}

TEST_F(VerbsTest, NotesNothingInADirectoryThatEndsWithTheLogin) {
  const bool was_there = fs::exists("/run/sluice");
  variables_.erase("SLUICE_RUN_DIR");
  variables_["XDG_RUNTIME_DIR"] = root_ / "run";
  EXPECT_EQ(Sluice({"status"}).status, 0);
  EXPECT_TRUE(fs::is_empty(root_ / "run"));
  EXPECT_TRUE(fs::exists("/run/sluice"));
  if (!was_there) ::rmdir("/run/sluice");
  variables_["SLUICE_RUN_DIR"] = root_ / "run/sluice";
}

TEST_F(VerbsTest, ForegroundMountEndsWithItsSignal) {
  WriteBytes(root_ / "data/f", "x");
  const platform::UniqueFd output(::open("/dev/null", O_WRONLY | O_CLOEXEC));
  Process process({std::string(SLUICE_BIN_DIR) + "/sluice", "mount",
                   "file://" + (root_ / "data").string(), root_ / "mnt", "--foreground"},
                  variables_, output.Get());
  ASSERT_TRUE(Eventually([&] { return OnlyMount().value("state", "") == "ready"; }));
  EXPECT_EQ(ReadBytes(root_ / "mnt/f"), "x");
  process.Signal(SIGINT);
  EXPECT_EQ(process.Wait(std::chrono::seconds(15)), 0);
  EXPECT_FALSE(IsMounted());
}

TEST_F(VerbsTest, ClientThatKeepsDyingIsGivenUpWithAClearStatus) {
  WriteBytes(root_ / "data/f", "x");
  ASSERT_EQ(MountData().status, 0);
  const bool gave_up = Eventually(
      [&] {
        const auto mount = OnlyMount();
        if (mount.value("state", "") == "gave up") return true;
        if (const pid_t client = mount.value("pid", 0); client > 0) ::kill(client, SIGKILL);
        return false;
      },
      std::chrono::seconds(40));
  ASSERT_TRUE(gave_up) << OnlyMount().dump(2);
  EXPECT_THAT(OnlyMount().value("error", ""), HasSubstr("ended 15 times"));
  EXPECT_FALSE(std::ifstream(root_ / "mnt/f").is_open()) << "fails, and does not hang";
  EXPECT_EQ(Sluice({"umount", root_ / "mnt"}).status, 0);
  EXPECT_FALSE(IsMounted());
}

TEST_F(VerbsTest, WrongInputNamesTheFix) {
  struct Case {
    std::vector<std::string> arguments;
    int status;
    const char* message;
  };
  const std::string mnt = root_ / "mnt";
  const std::string data = "file://" + (root_ / "data").string();
  WriteBytes(root_ / "file", "");
  WriteBytes(root_ / "creds", "[default]\naws_access_key_id = AKID\n");
  fs::create_directory_symlink(root_ / "mnt", root_ / "link");
  for (const Case& c : {
           Case{{}, 2, "subcommand"},
           Case{{"fly"}, 2, "'fly' is no verb"},
           Case{{"mount"}, 2, "required"},
           Case{{"mount", "s3://b"}, 2, "required"},
           Case{{"mount", "ftp://host/x", mnt}, 2, "known schemes"},
           Case{{"mount", "s3://", mnt}, 2, "bucket"},
           Case{{"mount", "file:///../x", mnt}, 2, ".."},
           Case{{"mount", "nonsense", mnt}, 2, "nonsense: must be a URI"},
           Case{{"mount", root_ / "data", mnt}, 2, "is written file:///"},
           Case{{"mount", "pvc://claim", mnt}, 2, "in a cluster"},
           Case{{"mount", "file://" + mnt, mnt}, 2, "inside one another"},
           Case{{"mount", "file://" + mnt + "/below", mnt}, 2, "inside one another"},
           Case{{"mount", "file://" + root_.string(), mnt}, 2, "inside one another"},
           Case{{"mount", "file:///", mnt}, 2, "inside one another"},
           Case{{"mount", data, mnt, "--cache-dir", mnt + "/cache"}, 2, "hidden by the mount"},
           Case{{"mount", data, mnt, "--cache-dir", root_ / "data/c"}, 2, "that is mounted"},
           Case{{"mount", data, mnt, "--cache-dir", root_ / "file"}, 2, "not a directory"},
           Case{{"mount", "file:///data", mnt + "/missing"}, 2, "mkdir -p"},
           Case{{"mount", "file:///data", root_ / "file"}, 2, "not a directory"},
           Case{{"mount", "file:///data", root_ / "link"}, 2, "not a directory"},
           Case{{"mount", "file:///data", "/"}, 2, "no place"},
           Case{{"mount", "file:///data", mnt + "/\xff"}, 2, "the path is not UTF-8"},
           Case{{"mount", "file:///\xff", mnt}, 2, "the origin is not UTF-8"},
           Case{{"mount", "file:///data", mnt, "--cache-size", "10Zz"}, 2, "--cache-size"},
           Case{{"mount", "file:///data", mnt, "--memory", "-1"}, 2, ""},
           Case{{"mount", "file:///data", mnt, "--start-timeout", "0"}, 2, ""},
           Case{{"mount", "s3://bucket", mnt, "--credentials-file", "/no/such"}, 2, "No such file"},
           Case{{"mount", "s3://bucket", mnt, "--credentials-file", root_ / "creds"},
                2,
                "secret access key"},
           Case{{"mount", "s3://bucket", mnt, "--endpoint", "http://u:p@h", "--start-timeout", "5"},
                2,
                "credentials"},
           Case{{"mount", "file:///no/such/directory", mnt}, 1, "No such file"},
           Case{{"umount", mnt}, 2, "not a mount of sluice"},
           Case{{"umount", root_ / "no/such"}, 1, "No such file"},
           Case{{"umount", "/"}, 2, "no place"},
       }) {
    const Outcome outcome = Sluice(c.arguments);
    std::string line;
    for (const std::string& argument : c.arguments) line += argument + " ";
    EXPECT_EQ(outcome.status, c.status) << line << "\n" << outcome.output;
    EXPECT_THAT(outcome.output, HasSubstr(c.message)) << line;
    EXPECT_FALSE(IsMounted()) << line;
  }
  EXPECT_TRUE(Mounts().empty());
  variables_["AWS_SECRET_ACCESS_KEY"] = "only-half-of-it";
  const Outcome half = Sluice({"mount", "s3://bucket", mnt});
  EXPECT_EQ(half.status, 2);
  EXPECT_THAT(half.output, HasSubstr("access key id"));
  EXPECT_THAT(half.output, Not(HasSubstr("only-half-of-it")));
}

TEST_F(VerbsTest, HelpShowsExamples) {
  for (const char* const verb : {"mount", "umount", "status"}) {
    const Outcome help = Sluice({verb, "--help"});
    EXPECT_EQ(help.status, 0);
    EXPECT_THAT(help.output, HasSubstr("Example")) << verb;
  }
  EXPECT_THAT(Sluice({"--help"}).output, Not(HasSubstr("holder")));
}

TEST_F(VerbsTest, OriginThatDoesNotAnswerFailsWithinTheDeadline) {
  const auto begin = std::chrono::steady_clock::now();
  const Outcome outcome = Sluice({"mount", "s3://bucket", root_ / "mnt", "--endpoint",
                                  "http://127.0.0.1:1", "--path-style", "--start-timeout", "3"});
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10));
  EXPECT_EQ(outcome.status, 1);
  EXPECT_THAT(outcome.output, HasSubstr("127.0.0.1:1"));
  EXPECT_THAT(outcome.output, HasSubstr("--endpoint"));
  EXPECT_FALSE(IsMounted());
}

}  // namespace
}  // namespace sluice::test
