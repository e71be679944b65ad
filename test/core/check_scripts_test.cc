// The readiness scripts as the kubelet runs them: real bash, real mounts, each case in mount and
// process namespaces of its own. Root needed. All cases run at once, since a script that waits in
// vain takes half a minute.
#include "injection/check_scripts.h"

#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <future>
#include <map>
#include <memory>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sluice::injection {
namespace {

namespace fs = std::filesystem;

struct ScriptCase {
  const char* name;
  const char* script;
  const char* setup;      // bash; $dir is an empty directory of the case
  const char* arguments;  // of the script
  int exit_code;
  const char* output;  // part of what the container shows
};

void PrintTo(const ScriptCase& c, std::ostream* out) { *out << c.name; }

// A FUSE file system that nobody serves: enough for whoever reads the table of mounts.
#define SLUICE_FUSE(type, at)                             \
  "exec 3<>/dev/fuse; mkdir -p " at "; mount -i -t " type \
  " -o fd=3,rootmode=40000,user_id=0,group_id=0 x " at "; "
// One that answers, whose line in the table has `source`.
#define SLUICE_TMPFS(source, at) "mkdir -p " at "; mount -t tmpfs " source " " at "; "

const ScriptCase kCases[] = {
    {"Mounted", kSidecarScript, SLUICE_TMPFS("fuse.alluxio-fuse", "$dir/alluxio-fuse"),
     "$dir fuse.alluxio-fuse ", 0, "fuse.alluxio-fuse is mounted below"},
    {"MountedLater", kSidecarScript,
     "(sleep 2; " SLUICE_TMPFS("JuiceFS:d", "$dir/juicefs-fuse") ") &", "$dir JuiceFS ", 0,
     "JuiceFS is mounted below"},
    {"NotMounted", kSidecarScript, "mkdir -p $dir/juicefs-fuse", "$dir JuiceFS ", 1,
     "JuiceFS is not mounted below"},
    {"AnotherTypeIsMounted", kSidecarScript, SLUICE_TMPFS("s3fs", "$dir/thin-fuse"),
     "$dir JuiceFS ", 1, "JuiceFS is not mounted below"},
    {"MountedElsewhere", kSidecarScript, SLUICE_TMPFS("JuiceFS:d", "$dir/other/juicefs-fuse"),
     "$dir/mine JuiceFS ", 1, "JuiceFS is not mounted below"},
    {"ShowsTheSubPath", kSidecarScript,
     SLUICE_TMPFS("JuiceFS:d", "$dir/juicefs-fuse") "mkdir -p $dir/juicefs-fuse/some/sub",
     "$dir JuiceFS some/sub", 0, "JuiceFS is mounted below"},
    {"MissesTheSubPath", kSidecarScript,
     SLUICE_TMPFS("JuiceFS:d", "$dir/juicefs-fuse") "mkdir -p $dir/juicefs-fuse/some",
     "$dir JuiceFS some/sub", 2, "some/sub does not exist after 30 s"},
    {"JindoIsToldByItsDevice", kSidecarScript, SLUICE_TMPFS("/dev/fuse", "$dir/jindofs-fuse"),
     "$dir jindo ", 0, "jindo is mounted below"},
    {"JindoIsNotToldByItsName", kSidecarScript, SLUICE_TMPFS("jindo", "$dir/jindofs-fuse"),
     "$dir jindo ", 1, "jindo is not mounted below"},
    {"HasNoOutput", kSidecarScript, SLUICE_TMPFS("JuiceFS:d", "$dir/juicefs-fuse") "exec >&- 2>&-",
     "$dir JuiceFS ", 125, ""},
    {"ReadyByItsType", kAppScript, SLUICE_FUSE("fuse.alluxio-fuse", "$dir/a"), "$dir/a alluxio", 0,
     ""},
    {"ReadyJindo", kAppScript, SLUICE_FUSE("fuse", "$dir/a"), "$dir/a jindo", 0, ""},
    {"ReadyThin", kAppScript, SLUICE_FUSE("fuse.s3fs", "$dir/a"), "$dir/a thin", 0, ""},
    {"ReadyBoth", kAppScript,
     SLUICE_FUSE("fuse.alluxio-fuse", "$dir/a") SLUICE_FUSE("fuse.juicefs", "$dir/b"),
     "$dir/a:$dir/b alluxio:juicefs", 0, ""},
    {"OneIsNotReady", kAppScript,
     SLUICE_FUSE("fuse.alluxio-fuse", "$dir/a") SLUICE_TMPFS("juicefs", "$dir/b"),
     "$dir/a:$dir/b alluxio:juicefs", 1, "/b is not mounted by juicefs after 10 s"},
    {"ReadyBelowOnly", kAppScript, SLUICE_FUSE("fuse.alluxio-fuse", "$dir/a/below"),
     "$dir/a alluxio", 1, "/a is not mounted by alluxio after 10 s"},
};

struct HookResult {
  int exit_code = -1;
  std::string output;
};

HookResult RunInNamespaces(const std::string& file) {
  const std::string command =
      "exec unshare --mount --pid --fork --mount-proc bash '" + file + "' 2>&1 </dev/null";
  FILE* const pipe = ::popen(command.c_str(), "re");
  if (pipe == nullptr) return {};
  HookResult run;
  std::array<char, 4096> buffer{};
  while (const std::size_t size = std::fread(buffer.data(), 1, buffer.size(), pipe)) {
    run.output.append(buffer.data(), size);
  }
  const int status = ::pclose(pipe);
  if (WIFEXITED(status)) run.exit_code = WEXITSTATUS(status);
  return run;
}

class CheckScriptTest : public testing::TestWithParam<ScriptCase> {
 protected:
  static void SetUpTestSuite() {
    ASSERT_EQ(::geteuid(), 0U) << "mounting needs root";
    root_ = fs::temp_directory_path() / "sluice-scripts-XXXXXX";
    ASSERT_NE(::mkdtemp(root_.data()), nullptr);
    root_ = fs::canonical(root_);
    DatasetUse use;
    use.ns = "ns";
    use.name = "d";
    const Json sidecar = SidecarConfigMap(use, "JuiceFS");
    Write(kSidecarScript, sidecar["data"][kSidecarScript].get<std::string>());
    Write(kAppScript, AppConfigMap("ns")["data"][kAppScript].get<std::string>());
    for (const ScriptCase& c : kCases) {
      const std::string file = Write(std::string(c.name) + ".sh", Driver(c));
      runs_[c.name] = std::async(std::launch::async, [file] { return RunInNamespaces(file); });
    }
  }
  static void TearDownTestSuite() {
    runs_.clear();  // ends with the last of them
    if (!root_.empty()) fs::remove_all(root_);
  }

  static std::string Write(const std::string& name, const std::string& text) {
    const std::string path = root_ + "/" + name;
    std::ofstream(path) << text;
    fs::permissions(path, fs::perms(0755));
    return path;
  }

  // The first process of the container, which runs the hook as the kubelet does. Only what the
  // script of the sidecar sends to that process is seen of it.
  static std::string Driver(const ScriptCase& c) {
    std::string text = "dir=" + root_ + "/" + c.name + "\nmkdir $dir\n";
    text += "set -e; trap 'exit 99' ERR\n" + std::string(c.setup) + "\nset +e; trap - ERR\n";
    text += "bash -c \"time " + root_ + "/" + c.script + " " + c.arguments + "\"";
    if (c.script == std::string(kSidecarScript)) text += " >/dev/null 2>&1";
    return text + "\nexit $?\n";
  }

  static std::string root_;
  static std::map<std::string, std::future<HookResult>> runs_;
};

std::string CheckScriptTest::root_;
std::map<std::string, std::future<HookResult>> CheckScriptTest::runs_;

TEST_P(CheckScriptTest, EndsAsTheContractSays) {
  ASSERT_TRUE(runs_[GetParam().name].valid());
  const HookResult run = runs_[GetParam().name].get();
  EXPECT_EQ(run.exit_code, GetParam().exit_code) << run.output;
  EXPECT_THAT(run.output, testing::HasSubstr(GetParam().output));
}

INSTANTIATE_TEST_SUITE_P(Scripts, CheckScriptTest, testing::ValuesIn(kCases),
                         [](const auto& param) { return param.param.name; });

}  // namespace
}  // namespace sluice::injection
