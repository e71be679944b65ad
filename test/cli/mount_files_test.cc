// What applications see through a real mount of a directory.
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <array>
#include <atomic>
#include <set>

#include "mounted.h"

namespace sluice::test {
namespace {

using testing::HasSubstr;

class MountFilesTest : public MountedTest {
 protected:
  // Of a file below the mount; what getxattr failed with when it has none.
  std::string Attribute(const std::string& file, const char* name) {
    std::array<char, 256> value = {};
    const ssize_t size =
        ::getxattr((root_ / "mnt" / file).c_str(), name, value.data(), value.size());
    return size < 0 ? std::string(std::strerror(errno))
                    : std::string(value.data(), static_cast<std::size_t>(size));
  }
};

TEST_F(MountFilesTest, EveryKindOfFileReadsBack) {
  const std::vector<std::string> names = {"plain",    "dir/sub/deep", "odd name\nwith newline",
                                          "\xff\xfe", "ünï",          std::string(255, 'x'),
                                          "-rf",      "dir/.hidden"};
  std::map<std::string, std::string> contents;
  unsigned seed = 1;
  for (const std::string& name : names) {
    contents[name] = RandomBytes(1000 * seed * seed * 17, seed);
    ++seed;
  }
  contents["empty"] = "";
  for (const auto& [name, bytes] : contents) WriteBytes(root_ / "data" / name, bytes);
  WriteBytes(root_ / "data/sparse", "");
  fs::resize_file(root_ / "data/sparse", 3ULL << 30);
  const Outcome mounted = MountData({"--cache-dir", root_ / "cache", "--cache-size", "64Mi"});
  ASSERT_EQ(mounted.status, 0) << mounted.output;
  for (const auto& [name, bytes] : contents) {
    EXPECT_TRUE(ReadBytes(root_ / "mnt" / name) == bytes) << name;
    EXPECT_EQ(fs::file_size(root_ / "mnt" / name), bytes.size());
  }
  EXPECT_EQ(fs::file_size(root_ / "mnt/sparse"), 3ULL << 30);
  const platform::UniqueFd sparse(::open((root_ / "mnt/sparse").c_str(), O_RDONLY | O_CLOEXEC));
  char byte = 'x';
  ASSERT_EQ(::pread(sparse.Get(), &byte, 1, (3LL << 30) - 1), 1);
  EXPECT_EQ(byte, 0);
  EXPECT_FALSE(fs::exists(root_ / "mnt/missing"));
  EXPECT_EQ(fs::last_write_time(root_ / "mnt/plain"), fs::last_write_time(root_ / "data/plain"));
}

TEST_F(MountFilesTest, PinnedFilesStayInTheCache) {
  constexpr std::size_t kFile = 6U << 20;
  const auto cached = [&](const std::string& file) {
    return Attribute(file, "user.sluice.cached");
  };
  std::vector<std::string> files = {"keep/a"};
  for (unsigned i = 0; i < 6; ++i) files.push_back("other" + std::to_string(i));
  for (const std::string& file : files) WriteBytes(root_ / "data" / file, RandomBytes(kFile, 1));
  const Outcome mounted = MountData({"--cache-dir", root_ / "cache", "--cache-size", "20Mi",
                                     "--pin", "nowhere", "--pin", "keep"});
  ASSERT_EQ(mounted.status, 0) << mounted.output;
  for (const std::string& file : files) {
    ASSERT_EQ(ReadBytes(root_ / "mnt" / file).size(), kFile);
    ASSERT_TRUE(Eventually([&] { return cached(file) == "1.0000"; })) << file;
  }
  EXPECT_EQ(cached("keep/a"), "1.0000");
  EXPECT_EQ(cached("other0"), "0.0000");
  EXPECT_EQ(MountData({"--pin", "keep"}).status, 2) << "without a cache directory";
}

TEST_F(MountFilesTest, NothingCanBeChanged) {
  WriteBytes(root_ / "data/f", "x");
  ASSERT_EQ(MountData().status, 0);
  EXPECT_EQ(::open((root_ / "mnt/f").c_str(), O_RDWR), -1);
  EXPECT_EQ(errno, EROFS);
  EXPECT_EQ(::mkdir((root_ / "mnt/d").c_str(), 0755), -1);
  EXPECT_EQ(errno, EROFS);
  EXPECT_EQ(::unlink((root_ / "mnt/f").c_str()), -1);
  EXPECT_EQ(errno, EROFS);
  EXPECT_EQ(::open((root_ / "mnt/f/below").c_str(), O_RDONLY), -1);
  EXPECT_EQ(errno, ENOTDIR);
}

TEST_F(MountFilesTest, FilesBelongToTheOwnerThatWasGivenAndTheKernelChecks) {
  WriteBytes(root_ / "data/d/f", "x");
  for (const char* const directory : {"", "mnt"}) {
    fs::permissions(root_ / directory, fs::perms(0755));
  }
  ASSERT_EQ(MountData({"--owner", "65534:1234", "--file-mode", "0400", "--directory-mode", "0750"})
                .status,
            0);
  struct stat info = {};
  ASSERT_EQ(::stat((root_ / "mnt/d/f").c_str(), &info), 0);
  EXPECT_EQ(info.st_uid, 65534U);
  EXPECT_EQ(info.st_gid, 1234U);
  EXPECT_EQ(info.st_mode, S_IFREG | 0400U);
  ASSERT_EQ(::stat((root_ / "mnt/d").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode, S_IFDIR | 0750U);
  const std::string file = root_ / "mnt/d/f";
  const auto read_as = [&](const char* user) {
    return RunCommand({"/usr/bin/setpriv", "--reuid", user, "--regid", "1234", "--clear-groups",
                       "/bin/cat", file});
  };
  EXPECT_EQ(read_as("65534").status, 0);
  EXPECT_THAT(read_as("1000").output, HasSubstr("Permission denied"));
}

TEST_F(MountFilesTest, AttributesTellVersionAndCachedShare) {
  WriteBytes(root_ / "data/f", RandomBytes(3 << 20, 5));
  ASSERT_EQ(MountData({"--cache-dir", root_ / "cache"}).status, 0);
  const std::string file = root_ / "mnt/f";
  const auto attribute = [&](const char* name) { return Attribute("f", name); };
  std::array<char, 256> names = {};
  const ssize_t size = ::listxattr(file.c_str(), names.data(), names.size());
  ASSERT_GT(size, 0);
  EXPECT_EQ(std::string(names.data(), static_cast<std::size_t>(size)),
            std::string("user.sluice.version\0user.sluice.cached\0", 39));
  EXPECT_EQ(::listxattr(file.c_str(), names.data(), 5), -1);
  EXPECT_EQ(errno, ERANGE);
  EXPECT_NE(attribute("user.sluice.version"), "");
  EXPECT_EQ(attribute("user.sluice.cached"), "0.0000");
  EXPECT_EQ(ReadBytes(file).size(), 3U << 20);
  EXPECT_TRUE(Eventually([&] { return attribute("user.sluice.cached") == "1.0000"; }));
  EXPECT_EQ(attribute("user.other"), std::strerror(ENODATA));
  EXPECT_EQ(attribute("security.selinux"), std::strerror(EOPNOTSUPP));
  EXPECT_EQ(::setxattr(file.c_str(), "user.a", "b", 1, 0), -1);
  EXPECT_EQ(errno, EROFS);
}

TEST_F(MountFilesTest, LinksInsideTheDirectoryAreLinksAndStaySoWhenTheClientRestarts) {
  const std::string model = RandomBytes(300'000, 9);
  WriteBytes(root_ / "data/blobs/0123", model);
  WriteBytes(root_ / "outside", "secret");
  fs::create_directories(root_ / "data/snapshots/v");
  fs::create_symlink("../../blobs/0123", root_ / "data/snapshots/v/model");
  fs::create_symlink(root_ / "data/blobs/0123", root_ / "data/snapshots/absolute");
  fs::create_symlink("snapshots/v", root_ / "data/latest");
  fs::create_symlink("nowhere", root_ / "data/dangling");
  fs::create_symlink("../outside", root_ / "data/outside");
  ASSERT_EQ(MountData({"--cache-dir", root_ / "cache", "--refresh", "1"}).status, 0);
  const auto look = [&] {
    EXPECT_EQ(fs::read_symlink(root_ / "mnt/snapshots/v/model"), "../../blobs/0123");
    EXPECT_EQ(fs::read_symlink(root_ / "mnt/snapshots/absolute"), "../blobs/0123");
    EXPECT_EQ(fs::read_symlink(root_ / "mnt/dangling"), "nowhere");
    EXPECT_TRUE(ReadBytes(root_ / "mnt/latest/model") == model);
    EXPECT_TRUE(ReadBytes(root_ / "mnt/snapshots/absolute") == model);
    EXPECT_FALSE(fs::exists(fs::symlink_status(root_ / "mnt/outside")));
    std::set<std::string> links;
    for (const auto& entry : fs::directory_iterator(root_ / "mnt")) {
      if (entry.is_symlink()) links.insert(entry.path().filename());
    }
    EXPECT_EQ(links, (std::set<std::string>{"dangling", "latest"}));
  };
  look();
  const pid_t client = ClientPid();
  ASSERT_EQ(::kill(client, SIGKILL), 0);
  ASSERT_TRUE(Eventually(
      [&] { return OnlyMount().value("state", "") == "ready" && ClientPid() != client; }));
  look();

  fs::remove(root_ / "data/latest");
  fs::create_symlink("blobs", root_ / "data/latest");
  EXPECT_TRUE(Eventually([&] { return fs::exists(root_ / "mnt/latest/0123"); }));
  fs::remove(root_ / "data/dangling");
  WriteBytes(root_ / "data/dangling", "a file now");
  EXPECT_TRUE(Eventually([&] { return ReadBytes(root_ / "mnt/dangling") == "a file now"; }));
}

TEST_F(MountFilesTest, DirectoryOfFiveThousandFilesListsEachOnce) {
  for (int i = 0; i < 5000; ++i) WriteBytes(root_ / "data/many" / std::to_string(i), "x");
  ASSERT_EQ(MountData().status, 0);
  for (int pass = 0; pass < 2; ++pass) {
    std::set<std::string> seen;
    int entries = 0;
    for (const auto& entry : fs::directory_iterator(root_ / "mnt/many")) {
      seen.insert(entry.path().filename());
      EXPECT_EQ(entry.file_size(), 1U);
      ++entries;
    }
    EXPECT_EQ(seen.size(), 5000U);
    EXPECT_EQ(entries, 5000);
  }
}

TEST_F(MountFilesTest, MmapAndParallelReadersSeeTheSameBytes) {
  const std::string bytes = RandomBytes(40 << 20, 3);
  WriteBytes(root_ / "data/f", bytes);
  ASSERT_EQ(MountData({"--cache-dir", root_ / "cache"}).status, 0);
  std::atomic<int> wrong = 0;
  std::vector<std::jthread> readers;
  for (unsigned t = 0; t < 6; ++t) {
    readers.emplace_back([&, t] {
      const platform::UniqueFd file(::open((root_ / "mnt/f").c_str(), O_RDONLY | O_CLOEXEC));
      if (t < 2) {
        void* const map = ::mmap(nullptr, bytes.size(), PROT_READ, MAP_SHARED, file.Get(), 0);
        if (map == MAP_FAILED || std::memcmp(map, bytes.data(), bytes.size()) != 0) ++wrong;
        if (map != MAP_FAILED) ::munmap(map, bytes.size());
        return;
      }
      std::mt19937 random(t);
      std::vector<char> buffer(200'000);
      for (int i = 0; i < 100; ++i) {
        const std::size_t at = random() % (bytes.size() - buffer.size());
        const ssize_t n = ::pread(file.Get(), buffer.data(), buffer.size(), static_cast<off_t>(at));
        if (n != static_cast<ssize_t>(buffer.size()) ||
            std::memcmp(buffer.data(), bytes.data() + at, buffer.size()) != 0) {
          ++wrong;
        }
      }
    });
  }
  readers.clear();
  EXPECT_EQ(wrong, 0);
}

TEST_F(MountFilesTest, FullCacheDiskIsNoErrorForTheReader) {
  const std::string bytes = RandomBytes(24 << 20, 4);
  WriteBytes(root_ / "data/f", bytes);
  ASSERT_EQ(
      RunCommand({"/bin/mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", root_ / "cache"}).status,
      0);
  ASSERT_EQ(MountData({"--cache-dir", root_ / "cache"}).status, 0);
  EXPECT_TRUE(ReadBytes(root_ / "mnt/f") == bytes);
  DropPages(root_ / "mnt/f");
  EXPECT_TRUE(ReadBytes(root_ / "mnt/f") == bytes);
}

TEST_F(MountFilesTest, ChangesAtTheOriginAppear) {
  WriteBytes(root_ / "data/f", "before");
  WriteBytes(root_ / "data/gone", "x");
  ASSERT_EQ(MountData({"--refresh", "1"}).status, 0);
  EXPECT_EQ(ReadBytes(root_ / "mnt/f"), "before");
  EXPECT_FALSE(fs::exists(root_ / "mnt/new"));
  WriteBytes(root_ / "data/f", "and after");
  WriteBytes(root_ / "data/new", "new");
  fs::remove(root_ / "data/gone");
  EXPECT_TRUE(Eventually([&] { return ReadBytes(root_ / "mnt/f") == "and after"; }));
  EXPECT_TRUE(Eventually([&] { return ReadBytes(root_ / "mnt/new") == "new"; }));
  EXPECT_TRUE(Eventually([&] { return !fs::exists(root_ / "mnt/gone"); }));
  const auto listed = fs::directory_iterator(root_ / "mnt");
  EXPECT_EQ(std::distance(fs::begin(listed), fs::end(listed)), 2);
}

// Reads `path` again and again, past the page cache, until `done`. Returns the number of passes
// with the right bytes, or -1 at the first error.
int ReadUntil(const fs::path& path, const std::string& bytes, const std::atomic<bool>& done) {
  std::vector<char> buffer(256 << 10);
  int passes = 0;
  while (!done) {
    const platform::UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file.Valid()) return -1;
    ::posix_fadvise(file.Get(), 0, 0, POSIX_FADV_DONTNEED);
    for (std::size_t at = 0; at < bytes.size();) {
      const ssize_t n = ::pread(file.Get(), buffer.data(), buffer.size(), static_cast<off_t>(at));
      if (n <= 0) return -1;
      const auto size = static_cast<std::size_t>(n);
      if (std::memcmp(buffer.data(), bytes.data() + at, size) != 0) return -1;
      at += size;
    }
    ++passes;
  }
  return passes;
}

TEST_F(MountFilesTest, KilledClientCostsReadersNothingButTime) {
  const std::string bytes = RandomBytes(64 << 20, 5);
  WriteBytes(root_ / "data/f", bytes);
  // Through the daemon, so that there is always a request under way.
  ASSERT_EQ(MountData({"--cache-dir", root_ / "cache", "--no-passthrough"}).status, 0);
  std::atomic<bool> done = false;
  std::vector<int> passes(3);
  std::vector<std::jthread> readers;
  for (int& count : passes) {
    readers.emplace_back([&] { count = ReadUntil(root_ / "mnt/f", bytes, done); });
  }
  for (int kill = 0; kill < 5; ++kill) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));  // let requests come
    const pid_t client = ClientPid();
    ASSERT_GT(client, 0);
    ASSERT_EQ(::kill(client, SIGKILL), 0);
    ASSERT_TRUE(Eventually([&] {
      const auto mount = OnlyMount();
      return mount.value("pid", 0) != client && mount.value("state", "") == "ready";
    })) << OnlyMount().dump(2);
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  done = true;
  readers.clear();
  for (const int count : passes) EXPECT_GE(count, 1);
  EXPECT_EQ(OnlyMount().value("restarts", 0), 5);
}

TEST_F(MountFilesTest, CompleteFileIsPassedThroughAndReadsOnWithoutAClient) {
  const std::string bytes = RandomBytes(20 << 20, 6);
  WriteBytes(root_ / "data/f", bytes);
  ASSERT_EQ(MountData({"--cache-dir", root_ / "cache"}).status, 0);
  ASSERT_TRUE(ReadBytes(root_ / "mnt/f") == bytes);
  platform::UniqueFd file;
  const bool passed = Eventually([&] {
    file.Reset();
    file = platform::UniqueFd(::open((root_ / "mnt/f").c_str(), O_RDONLY | O_CLOEXEC));
    return OnlyMount().value("passthroughOpens", 0) > 0;
  });
  if (!passed) GTEST_SKIP() << "this kernel has no FUSE passthrough (6.9 and later have)";
  // Nobody serves while the client is stopped; the open file is read by the kernel itself.
  const pid_t client = ClientPid();
  ::kill(client, SIGSTOP);
  DropPages(root_ / "cache");
  std::string read(bytes.size(), '\0');
  EXPECT_EQ(::pread(file.Get(), read.data(), read.size(), 0), static_cast<ssize_t>(read.size()));
  EXPECT_TRUE(read == bytes);
  ::kill(client, SIGKILL);
  ASSERT_TRUE(Eventually(
      [&] { return OnlyMount().value("state", "") == "ready" && ClientPid() != client; }));
  // The successor goes on with the same backing id: another one would make this open fail.
  EXPECT_TRUE(ReadBytes(root_ / "mnt/f") == bytes);
  EXPECT_EQ(::pread(file.Get(), read.data(), 4096, 0), 4096);
}

}  // namespace
}  // namespace sluice::test
