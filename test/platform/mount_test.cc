// Real mounts; needs root.
#include "sluice/platform/mount.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sluice/platform/safe_path.h"

namespace sluice::platform {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class MountTest : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root to mount";
    std::string pattern = (fs::temp_directory_path() / "sluice-mount-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    root_ = fs::canonical(pattern);
  }
  void TearDown() override {
    if (root_.empty()) return;
    const auto table = MountTable().value();
    for (const auto& entry : table) {
      if (entry.mount_point.starts_with(root_.string() + "/")) {
        EXPECT_TRUE(UnmountAll(entry.mount_point, true).has_value());
      }
    }
    fs::remove_all(root_);
  }
  fs::path Directory(const std::string& name) {
    fs::create_directories(root_ / name);
    return root_ / name;
  }
  void Write(const fs::path& path, const std::string& text) { std::ofstream(path) << text; }
  std::string Read(const fs::path& path) {
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  fs::path root_;
};

TEST_F(MountTest, MountsFuseWithoutAServerAndShowsItInTheTable) {
  const std::string target = Directory("mnt");
  auto device = MountFuse(target, {.source = "s3://bucket/with space", .subtype = "sluice"});
  ASSERT_TRUE(device.has_value()) << device.error().message;
  EXPECT_NE(::fcntl(device->Get(), F_GETFD) & FD_CLOEXEC, 0);
  const auto entry = FindMount(target);
  ASSERT_TRUE(entry.has_value());
  EXPECT_EQ(entry->fs_type, "fuse.sluice");
  EXPECT_EQ(entry->source, "s3://bucket/with space");
  EXPECT_TRUE(entry->read_only);
  EXPECT_TRUE(SetReadAhead(entry->major, entry->minor, 4096).has_value());
  EXPECT_TRUE(AbortFuseConnection(entry->minor).has_value());
  EXPECT_TRUE(UnmountAll(target, false).has_value());
  EXPECT_EQ(FindMount(target).error().code, Code::kNotFound);
}

TEST_F(MountTest, BindsASilentFuseMountWithoutAskingItsServer) {
  const std::string source = Directory("mnt");
  auto device = MountFuse(source, {});
  ASSERT_TRUE(device.has_value()) << device.error().message;
  const BindRequest request{.source = source,
                            .sub_path = {},
                            .root = root_,
                            .target = root_ / "pods/uid/mount",
                            .read_only = true};
  for (int i = 0; i < 2; ++i) {
    const Status bound = BindMount(request);
    ASSERT_TRUE(bound.has_value()) << bound.error().message;
  }
  const auto entry = FindMount(request.target);
  ASSERT_TRUE(entry.has_value());
  EXPECT_EQ(entry->fs_type, "fuse.sluice");
  EXPECT_TRUE(entry->read_only);
  ASSERT_TRUE(UnmountAll(request.target, false).has_value());
  EXPECT_EQ(FindMount(request.target).error().code, Code::kNotFound) << "the second bind stacked";
}

TEST_F(MountTest, ReplacesADeadMountAtTheTarget) {
  const std::string target = Directory("target");
  {
    auto dead = MountFuse(target, {});
    ASSERT_TRUE(dead.has_value());
  }
  const fs::path source = Directory("source");
  Write(source / "f", "data");
  const Status bound = BindMount(
      {.source = source, .sub_path = {}, .root = root_, .target = target, .read_only = true});
  ASSERT_TRUE(bound.has_value()) << bound.error().message;
  EXPECT_EQ(Read(root_ / "target/f"), "data");
  EXPECT_FALSE(std::ofstream(root_ / "target/new").is_open()) << "must be read-only";
}

TEST_F(MountTest, BindsASubPathBeneathTheSource) {
  Write(Directory("source/sub/dir") / "f", "x");
  BindRequest request{.source = root_ / "source",
                      .sub_path = "sub/dir",
                      .root = root_,
                      .target = root_ / "t",
                      .read_only = false};
  const Status bound = BindMount(request);
  ASSERT_TRUE(bound.has_value()) << bound.error().message;
  EXPECT_EQ(Read(root_ / "t/f"), "x");
}

TEST_F(MountTest, RefusesEveryWayOutOfTheRoot) {
  Directory("inside");
  Directory("source");
  const fs::path outside = Directory("outside");
  fs::create_directory_symlink(outside, root_ / "inside/link");
  fs::create_directory_symlink(outside, root_ / "source/link");
  struct Case {
    std::string sub_path, target, message;
  };
  const std::string inside = root_ / "inside";
  for (const Case& c :
       {Case{"", inside + "/link", "symlink"}, Case{"", inside + "/link/below", "symlink"},
        Case{"", inside + "/../outside", "'..'"}, Case{"", outside, "does not lie below"},
        Case{"", inside + "-not", "does not lie below"}, Case{"link", inside + "/t", "symlink"},
        Case{"../outside", inside + "/t", "'..'"}}) {
    const Status bound = BindMount({.source = root_ / "source",
                                    .sub_path = c.sub_path,
                                    .root = inside,
                                    .target = c.target,
                                    .read_only = true});
    ASSERT_FALSE(bound.has_value()) << c.target << " " << c.sub_path;
    EXPECT_EQ(bound.error().code, Code::kInvalidArgument) << bound.error().message;
    EXPECT_THAT(bound.error().message, HasSubstr(c.message));
  }
  EXPECT_TRUE(fs::is_empty(outside));
}

TEST_F(MountTest, ListsADirectoryWithoutEnteringAMount) {
  for (const char* const name : {"dir/b", "dir/a", "dir/c/mnt"}) Directory(name);
  Write(root_ / "dir/file", "");
  fs::create_directory_symlink(root_ / "dir/c", root_ / "dir/link");
  const auto list = [&](const std::string& name) { return ListNames(root_, root_ / name, 10); };
  EXPECT_THAT(list("dir").value(), testing::ElementsAre("a", "b", "c", "file", "link"));
  EXPECT_THAT(ListNames(root_ / "dir", root_ / "dir", 10).value(), testing::SizeIs(5));
  EXPECT_EQ(list("dir/file").error().code, Code::kInvalidArgument);
  EXPECT_EQ(list("dir/link").error().code, Code::kInvalidArgument);
  EXPECT_EQ(list("dir/no").error().code, Code::kNotFound);
  EXPECT_EQ(list("../x").error().code, Code::kInvalidArgument);
  EXPECT_EQ(ListNames(root_, "/etc", 10).error().code, Code::kInvalidArgument);
  EXPECT_EQ(ListNames(root_, root_ / "dir", 4).error().code, Code::kInvalidArgument);
  // Nobody serves this one: whoever asked it would wait for ever.
  const std::string silent = root_ / "dir/c/mnt";
  const auto device = MountFuse(silent, {});
  ASSERT_TRUE(device.has_value());
  EXPECT_EQ(list("dir/c/mnt").error().code, Code::kUnavailable);
  EXPECT_EQ(list("dir/c/mnt/below").error().code, Code::kUnavailable);
  EXPECT_THAT(list("dir/c").value(), testing::ElementsAre("mnt"));
  EXPECT_EQ(RemovePath(root_, silent).error().code, Code::kUnavailable);
}

TEST_F(MountTest, NamesAMissingSubPath) {
  Directory("source");
  const Status bound = BindMount({.source = root_ / "source",
                                  .sub_path = "no",
                                  .root = root_,
                                  .target = root_ / "t",
                                  .read_only = true});
  ASSERT_FALSE(bound.has_value());
  EXPECT_EQ(bound.error().code, Code::kNotFound);
}

TEST_F(MountTest, UnmountsAPileAndNothing) {
  const std::string target = Directory("pile");
  std::vector<UniqueFd> devices;
  for (int i = 0; i < 3; ++i) devices.push_back(MountFuse(target, {}).value());
  EXPECT_TRUE(UnmountAll(target, true).has_value());
  EXPECT_EQ(FindMount(target).error().code, Code::kNotFound);
  EXPECT_TRUE(UnmountAll(target, true).has_value());
  EXPECT_TRUE(UnmountAll(root_ / "never/was", true).has_value());
  EXPECT_EQ(UnmountAll("relative", true).error().code, Code::kInvalidArgument);
}

TEST_F(MountTest, UnmountsOneOfAPileByItsNumber) {
  const std::string target = Directory("pile");
  std::vector<UniqueFd> devices;
  std::vector<std::uint32_t> minors;
  for (int i = 0; i < 2; ++i) {
    devices.push_back(MountFuse(target, {}).value());
    minors.push_back(FindMount(target)->minor);
  }
  const Status covered = UnmountFuse(target, minors[0], true);
  ASSERT_FALSE(covered.has_value());
  EXPECT_EQ(covered.error().code, Code::kConflict);
  EXPECT_THAT(covered.error().message, HasSubstr("covered by a mount of sluice (fuse.sluice)"));
  EXPECT_EQ(FindMount(target)->minor, minors[1]);
  EXPECT_TRUE(UnmountFuse(target + "/", minors[1], true).has_value());
  EXPECT_EQ(FindMount(target)->minor, minors[0]);
  EXPECT_TRUE(UnmountFuse(target, minors[1], true).has_value()) << "not there any more";
  EXPECT_EQ(FindMount(target)->minor, minors[0]);
  EXPECT_EQ(UnmountFuse("relative", minors[0], true).error().code, Code::kInvalidArgument);
}

TEST_F(MountTest, MountPointThatIsASymlinkOrFileIsRefused) {
  Directory("real");
  fs::create_directory_symlink(root_ / "real", root_ / "link");
  Write(root_ / "file", "");
  EXPECT_THAT(MountFuse(root_ / "link", {}).error().message, HasSubstr("symlink"));
  EXPECT_THAT(MountFuse(root_ / "file", {}).error().message, HasSubstr("not a directory"));
  EXPECT_EQ(MountFuse(root_ / "missing", {}).error().code, Code::kNotFound);
}

}  // namespace
}  // namespace sluice::platform
