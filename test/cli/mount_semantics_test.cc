// The same calls on a mount and on a local file system with the same tree, both read-only: they
// must answer the same. What is called, and on what kind of name, follows the plan of pjdfstest, as
// far as it does not need to write.
#include <dirent.h>
#include <grp.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#include <algorithm>
#include <array>
#include <functional>
#include <set>

#include <climits>
#include <fmt/format.h>

#include "mounted.h"

namespace sluice::test {
namespace {

using Answers = std::map<std::string, std::string>;
using Call = std::function<std::string(const char* path)>;
struct Named {
  std::string name;
  Call call;
};

std::string Errno() { return ::strerrorname_np(errno); }
std::string Said(long result) { return result < 0 ? Errno() : "ok"; }

std::string Opened(const char* path, int flags) {
  const platform::UniqueFd file(::open(path, flags | O_CLOEXEC, 0644));
  return file.Valid() ? "ok" : Errno();
}
Named Open(const char* name, int flags) {
  return {fmt::format("open {}", name), [flags](const char* path) { return Opened(path, flags); }};
}

std::string Text(const struct stat& info) {
  // Size, links and blocks of a directory are the file system's own matter.
  const bool directory = S_ISDIR(info.st_mode);
  return fmt::format(
      "{:o} {}:{} {} links {} bytes {}", info.st_mode, info.st_uid, info.st_gid,
      directory ? 0 : info.st_nlink, directory ? 0 : info.st_size,
      directory ? "" : fmt::format("{}.{}", info.st_mtim.tv_sec, info.st_mtim.tv_nsec));
}
std::string Stat(const char* path, int flags) {
  struct stat info = {};
  return ::fstatat(AT_FDCWD, path, &info, flags) != 0 ? Errno() : Text(info);
}

std::string Entries(const char* path) {
  DIR* const directory = ::opendir(path);
  if (directory == nullptr) return Errno();
  std::set<std::string> entries;
  while (const dirent* const entry = ::readdir(directory)) {
    entries.insert(fmt::format("{}:{}", entry->d_name, entry->d_type));
  }
  ::closedir(directory);
  return fmt::format("{}", fmt::join(entries, " "));
}

std::string Execute(const char* path) {
  std::string program = path;
  char* const arguments[] = {program.data(), nullptr};
  pid_t child = 0;
  const int error = ::posix_spawn(&child, path, nullptr, nullptr, arguments, nullptr);
  if (error != 0) return ::strerrorname_np(error);
  int status = 0;
  ::waitpid(child, &status, 0);
  return fmt::format("exits {}", status);
}

// Everything that takes a path.
std::vector<Named> CallsOfAPath() {
  constexpr mode_t kFile = S_IFREG | 0644;
  std::vector<Named> calls = {
      Open("O_RDONLY", O_RDONLY),
      Open("O_WRONLY", O_WRONLY),
      Open("O_RDWR", O_RDWR),
      Open("O_RDONLY|O_TRUNC", O_RDONLY | O_TRUNC),
      Open("O_WRONLY|O_APPEND", O_WRONLY | O_APPEND),
      Open("O_CREAT", O_RDONLY | O_CREAT),
      Open("O_CREAT|O_EXCL", O_WRONLY | O_CREAT | O_EXCL),
      Open("O_DIRECTORY", O_RDONLY | O_DIRECTORY),
      Open("O_NOFOLLOW", O_RDONLY | O_NOFOLLOW),
      Open("O_NOFOLLOW|O_DIRECTORY", O_RDONLY | O_NOFOLLOW | O_DIRECTORY),
      Open("O_PATH", O_PATH),
      Open("O_PATH|O_NOFOLLOW", O_PATH | O_NOFOLLOW),
      Open("O_DIRECT", O_RDONLY | O_DIRECT),
      Open("O_TMPFILE", O_TMPFILE | O_RDWR),
      {"stat", [](const char* path) { return Stat(path, 0); }},
      {"lstat", [](const char* path) { return Stat(path, AT_SYMLINK_NOFOLLOW); }},
      {"readdir", Entries},
      {"exec", Execute},
      {"truncate", [](const char* path) { return Said(::truncate(path, 0)); }},
      {"truncate beyond", [](const char* path) { return Said(::truncate(path, 1 << 20)); }},
      {"truncate -1", [](const char* path) { return Said(::truncate(path, -1)); }},
      {"mkdir", [](const char* path) { return Said(::mkdir(path, 0755)); }},
      {"rmdir", [](const char* path) { return Said(::rmdir(path)); }},
      {"unlink", [](const char* path) { return Said(::unlink(path)); }},
      {"mkfifo", [](const char* path) { return Said(::mkfifo(path, 0644)); }},
      {"mknod file", [](const char* path) { return Said(::mknod(path, kFile, 0)); }},
      {"symlink", [](const char* path) { return Said(::symlink("text", path)); }},
      {"chmod", [](const char* path) { return Said(::chmod(path, 0600)); }},
      {"chown", [](const char* path) { return Said(::chown(path, 1, 1)); }},
      {"lchown", [](const char* path) { return Said(::lchown(path, 1, 1)); }},
      {"utimensat", [](const char* path) { return Said(::utimensat(AT_FDCWD, path, nullptr, 0)); }},
      {"chdir",
       [](const char* path) {
         const std::string said = Said(::chdir(path));
         return ::chdir("/") == 0 ? said : Errno();
       }},
      {"readlink",
       [](const char* path) {
         std::array<char, PATH_MAX> text = {};
         const ssize_t size = ::readlink(path, text.data(), text.size());
         return size < 0 ? Errno() : std::string(text.data(), static_cast<std::size_t>(size));
       }},
      {"readlink, 1 byte",
       [](const char* path) {
         char byte = 0;
         const ssize_t size = ::readlink(path, &byte, 1);
         return size < 0 ? Errno() : fmt::format("{} {}", size, byte);
       }},
      {"statvfs",
       [](const char* path) {
         struct statvfs info = {};
         if (::statvfs(path, &info) != 0) return Errno();
         return fmt::format("names {} read-only {}", info.f_namemax,
                            (info.f_flag & ST_RDONLY) != 0);
       }},
      {"getxattr",
       [](const char* path) { return Said(::getxattr(path, "user.none", nullptr, 0)); }},
      {"lgetxattr",
       [](const char* path) { return Said(::lgetxattr(path, "user.none", nullptr, 0)); }},
      {"setxattr", [](const char* path) { return Said(::setxattr(path, "user.none", "x", 1, 0)); }},
      {"removexattr", [](const char* path) { return Said(::removexattr(path, "user.none")); }},
  };
  for (const int mode : {F_OK, R_OK, W_OK, X_OK, R_OK | X_OK}) {
    calls.push_back({fmt::format("access {}", mode),
                     [mode](const char* path) { return Said(::access(path, mode)); }});
  }
  return calls;
}

// Calls of two paths: with `path` as the one, and one that is there, or is not, as the other.
std::vector<Named> CallsOfTwoPaths(const std::string& root) {
  std::vector<Named> calls;
  for (const char* const name : {"f", "none", "d", "f/x"}) {
    const std::string other = root + "/" + name;
    calls.push_back({fmt::format("rename to {}", name),
                     [other](const char* path) { return Said(::rename(path, other.c_str())); }});
    calls.push_back({fmt::format("rename from {}", name),
                     [other](const char* path) { return Said(::rename(other.c_str(), path)); }});
    calls.push_back({fmt::format("link to {}", name),
                     [other](const char* path) { return Said(::link(path, other.c_str())); }});
    calls.push_back({fmt::format("link from {}", name),
                     [other](const char* path) { return Said(::link(other.c_str(), path)); }});
  }
  calls.push_back({"rename to elsewhere", [](const char* path) {
                     return Said(::rename(path, "/tmp/sluice-semantics-elsewhere"));
                   }});
  return calls;
}

constexpr int kMostLinks = 40;  // that the kernel follows in one path

std::string Component(std::size_t length) { return std::string(length, 'c'); }

// A path of so many bytes in all, below a root of `root` bytes, that leads to "f".
std::string PathOf(std::size_t length, std::size_t root) {
  std::string path;
  while (root + 1 + path.size() + 3 < length) path += "./";
  while (root + 1 + path.size() + 1 < length) path += "/";
  return path + "f";
}

std::map<std::string, std::string> Paths(std::size_t root) {
  std::map<std::string, std::string> paths;
  for (const char* const path : {"f",
                                 "f/",
                                 "f/x",
                                 "f/.",
                                 "empty",
                                 "d",
                                 "d/",
                                 "d/.",
                                 "d/g",
                                 "d/g/",
                                 "d/../f",
                                 "d/none",
                                 "none",
                                 "none/",
                                 "none/x",
                                 "",
                                 ".",
                                 "l",
                                 "l/",
                                 "l/x",
                                 "ld",
                                 "ld/",
                                 "ld/g",
                                 "ld/..",
                                 "ld/none",
                                 "dangling",
                                 "dangling/",
                                 "dangling/x",
                                 "loop",
                                 "loop/",
                                 "loop/x",
                                 "ring",
                                 "cache/snapshots/v/model",
                                 "chain39",
                                 "chain40",
                                 "chain40/x",
                                 "many",
                                 "many/042",
                                 "run",
                                 "odd \n\xff name"}) {
    paths[path] = path;
  }
  for (const std::size_t length : {255U, 256U, 1000U}) {
    paths[fmt::format("a name of {}", length)] = Component(length);
    paths[fmt::format("below a name of {}", length)] = Component(length) + "/x";
    paths[fmt::format("none/ a name of {}", length)] = "none/" + Component(length);
  }
  for (const std::size_t length : {4095U, 4096U, 5000U}) {
    paths[fmt::format("a path of {}", length)] = PathOf(length, root);
  }
  return paths;
}

// Where the mount may answer in its own way, and why.
struct OwnWay {
  std::string_view call;  // what it begins with
  std::string_view of;    // and ends with
  std::string_view why;
};
constexpr std::array kOwnWays = {
    OwnWay{"lseek SEEK_", "of open d", "an offset in a directory means something to it only"},
    OwnWay{"lseek SEEK_", "of open ld", "the same directory"},
};

bool HasItsOwnWay(std::string_view call) {
  return std::ranges::any_of(kOwnWays, [&](const OwnWay& way) {
    return call.starts_with(way.call) && call.ends_with(way.of);
  });
}

Answers AskPaths(const std::string& root) {
  std::vector<Named> calls = CallsOfAPath();
  for (Named& call : CallsOfTwoPaths(root)) calls.push_back(std::move(call));
  Answers answers;
  for (const auto& [name, path] : Paths(root.size())) {
    const std::string whole = root + "/" + path;
    for (const Named& call : calls) {
      answers[fmt::format("{} of {}", call.name, name)] = call.call(whole.c_str());
    }
  }
  return answers;
}

// ---- open files --------------------------------------------------------------------------------

// How a child ends that runs `touch`: a signal's name, or "ok".
std::string Survives(const std::function<void()>& touch) {
  const pid_t child = ::fork();
  if (child == 0) {
    touch();
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFSIGNALED(status) ? ::sigabbrev_np(WTERMSIG(status)) : "ok";
}

std::string Mapped(int file, int protection, int flags) {
  void* const map = ::mmap(nullptr, 4096, protection, flags, file, 0);
  if (map == MAP_FAILED) return Errno();
  ::munmap(map, 4096);
  return "ok";
}

// What a byte of a mapping holds; "BUS" behind the last page of the file.
std::string MappedByte(int file, std::size_t at) {
  constexpr std::size_t kLength = 64 << 10;
  void* const map = ::mmap(nullptr, kLength, PROT_READ, MAP_SHARED, file, 0);
  if (map == MAP_FAILED) return Errno();
  const volatile char* const bytes = static_cast<const char*>(map);
  std::string said = Survives([&] { (void)bytes[at]; });
  if (said == "ok") said = fmt::format("{}", static_cast<int>(bytes[at]));
  ::munmap(map, kLength);
  return said;
}

using FileCall = std::function<std::string(int file)>;

std::string ReadAt(int file, std::size_t size, off_t at) {
  std::string bytes(size, '\0');
  const ssize_t got = ::pread(file, bytes.data(), size, at);
  if (got < 0) return Errno();
  bytes.resize(static_cast<std::size_t>(got));
  return fmt::format("{}: {:x}", got, std::hash<std::string>()(bytes));
}
std::string Sought(int file, off_t offset, int whence) {
  const off_t at = ::lseek(file, offset, whence);
  return at < 0 ? Errno() : fmt::format("{}", at);
}

std::map<std::string, FileCall> CallsOfAFile() {
  std::map<std::string, FileCall> calls;
  for (const auto& [size, at] : std::vector<std::pair<std::size_t, off_t>>{
           {10, 0}, {10, 9'995}, {10, 10'000}, {10, 1LL << 40}, {0, 0}, {1 << 20, 0}, {10, -1}}) {
    calls[fmt::format("pread {}@{}", size, at)] = [size = size, at = at](int file) {
      return ReadAt(file, size, at);
    };
  }
  for (const auto& [name, whence] : {std::pair("SEEK_SET", SEEK_SET),
                                     {"SEEK_END", SEEK_END},
                                     {"SEEK_DATA", SEEK_DATA},
                                     {"SEEK_HOLE", SEEK_HOLE},
                                     {"SEEK_99", 99}}) {
    for (const off_t offset :
         {off_t{-20'000}, off_t{-1}, off_t{0}, off_t{9'999}, off_t{10'000}, off_t{1} << 40}) {
      calls[fmt::format("lseek {} {}", name, offset)] = [offset, whence = whence](int file) {
        return Sought(file, offset, whence);
      };
    }
  }
  for (const std::size_t at : {0U, 9'999U, 10'000U, 12'287U, 12'288U, 60'000U}) {
    calls[fmt::format("mapped byte {}", at)] = [at](int file) { return MappedByte(file, at); };
  }
  calls["read behind the end"] = [](int file) {
    char byte = 0;
    ::lseek(file, 0, SEEK_END);
    return fmt::format("{}", ::read(file, &byte, 1));
  };
  calls["write"] = [](int file) { return Said(::write(file, "x", 1)); };
  calls["ftruncate"] = [](int file) { return Said(::ftruncate(file, 0)); };
  calls["fallocate"] = [](int file) { return Said(::fallocate(file, 0, 0, 1)); };
  calls["fchmod"] = [](int file) { return Said(::fchmod(file, 0600)); };
  calls["fchown"] = [](int file) { return Said(::fchown(file, 1, 1)); };
  calls["futimens"] = [](int file) { return Said(::futimens(file, nullptr)); };
  calls["fsync"] = [](int file) { return Said(::fsync(file)); };
  calls["fdatasync"] = [](int file) { return Said(::fdatasync(file)); };
  calls["posix_fadvise"] = [](int file) {
    return fmt::format("{}", ::posix_fadvise(file, 0, 0, POSIX_FADV_WILLNEED));
  };
  calls["getdents"] = [](int file) {
    DIR* const directory = ::fdopendir(::dup(file));
    if (directory == nullptr) return Errno();
    ::closedir(directory);
    return std::string("ok");
  };
  calls["read lock"] = [](int file) {
    struct flock lock = {
        .l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 0, .l_pid = 0};
    return Said(::fcntl(file, F_SETLK, &lock));
  };
  calls["map to write, shared"] = [](int file) {
    return Mapped(file, PROT_READ | PROT_WRITE, MAP_SHARED);
  };
  calls["map to write, private"] = [](int file) {
    return Mapped(file, PROT_READ | PROT_WRITE, MAP_PRIVATE);
  };
  calls["map to execute"] = [](int file) { return Mapped(file, PROT_EXEC, MAP_PRIVATE); };
  calls["fstat"] = [](int file) {
    struct stat info = {};
    return ::fstat(file, &info) != 0 ? Errno() : Text(info);
  };
  calls["sendfile"] = [](int file) {
    const platform::UniqueFd out(::memfd_create("out", MFD_CLOEXEC));
    off_t from = 9'990;
    return fmt::format("{}", ::sendfile(out.Get(), file, &from, 100));
  };
  return calls;
}

Answers AskFiles(const std::string& root) {
  Answers answers;
  for (const char* const name : {"f", "l", "empty", "d", "ld", "cache/snapshots/v/model", "run"}) {
    for (const auto& [call, ask] : CallsOfAFile()) {
      const platform::UniqueFd file(::open((root + "/" + name).c_str(), O_RDONLY | O_CLOEXEC));
      answers[fmt::format("{} of open {}", call, name)] = file.Valid() ? ask(file.Get()) : Errno();
    }
  }
  return answers;
}

// ---- the two trees -----------------------------------------------------------------------------

struct Modes {
  const char* name;
  mode_t file;
  mode_t directory;
};
void PrintTo(const Modes& modes, std::ostream* out) { *out << modes.name; }

class MountSemanticsTest : public MountedTest, public testing::WithParamInterface<Modes> {
 protected:
  // The same tree at root_/mnt, by sluice, and at root_/ori, as it is: names of one length, so that
  // paths are of one length. A file system of its own, so that it can be read-only as a whole.
  void MakeTrees() {
    fs::permissions(root_, fs::perms(0755));
    const std::string data = root_ / "data";
    ASSERT_EQ(Run({"/bin/mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", data}), 0);
    Fill(data);
    for (const auto& entry : fs::recursive_directory_iterator(data)) {
      if (entry.is_symlink()) continue;
      const mode_t mode = entry.is_directory() ? GetParam().directory : GetParam().file;
      ASSERT_EQ(::chmod(entry.path().c_str(), mode), 0);
    }
    ASSERT_EQ(::chmod(data.c_str(), GetParam().directory), 0);
    ASSERT_EQ(Run({"/bin/mount", "-o", "remount,ro", data}), 0);
    fs::create_directory(root_ / "ori");
    ASSERT_EQ(Run({"/bin/mount", "--bind", data, root_ / "ori"}), 0);
    const Outcome mounted =
        MountData({"--file-mode", fmt::format("{:o}", GetParam().file), "--directory-mode",
                   fmt::format("{:o}", GetParam().directory)});
    ASSERT_EQ(mounted.status, 0) << mounted.output;
  }

  static void Fill(const fs::path& data) {
    WriteBytes(data / "f", RandomBytes(10'000, 1));
    WriteBytes(data / "empty", "");
    WriteBytes(data / "d/g", "g");
    WriteBytes(data / "odd \n\xff name", "x");
    WriteBytes(data / Component(255), "x");
    fs::copy_file("/bin/true", data / "run");
    for (int i = 0; i < 300; ++i) WriteBytes(data / "many" / fmt::format("{:03}", i), "x");
    WriteBytes(data / "cache/blobs/0123abcd", RandomBytes(10'000, 2));
    fs::create_directories(data / "cache/snapshots/v");
    fs::create_directories(data / "d2");
    fs::create_symlink("../../blobs/0123abcd", data / "cache/snapshots/v/model");
    fs::create_symlink("f", data / "l");
    fs::create_symlink("d", data / "ld");
    fs::create_symlink("nowhere", data / "dangling");
    fs::create_symlink("loop", data / "loop");
    fs::create_symlink("d2/ring", data / "ring");
    fs::create_symlink("../ring", data / "d2/ring");
    fs::create_symlink("f", data / "chain0");
    for (int i = 1; i <= kMostLinks; ++i) {
      fs::create_symlink(fmt::format("chain{}", i - 1), data / fmt::format("chain{}", i));
    }
  }

  static int Run(const std::vector<std::string>& command) { return RunCommand(command).status; }

  // The answers of both, one after the other, so that a difference shows.
  static void ExpectSame(const Answers& mount, const Answers& local) {
    ASSERT_EQ(mount.size(), local.size());
    int differences = 0;
    for (const auto& [call, answer] : local) {
      if (mount.at(call) == answer || HasItsOwnWay(call)) continue;
      if (++differences <= 40)
        ADD_FAILURE() << call << ": " << mount.at(call) << ", not " << answer;
    }
    EXPECT_EQ(differences, 0);
  }

  static std::string Dump(const Answers& answers) {
    using Json = nlohmann::json;
    return Json(answers).dump(-1, ' ', false, Json::error_handler_t::replace);
  }

  // In a process of its own, as a user of no rights.
  static Answers AsNobody(const std::function<Answers()>& ask) {
    int ends[2] = {-1, -1};
    if (::pipe2(ends, O_CLOEXEC) != 0) return {};
    platform::UniqueFd out(ends[0]);
    platform::UniqueFd in(ends[1]);
    const pid_t child = ::fork();
    if (child == 0) {
      const bool dropped =
          ::setgroups(0, nullptr) == 0 && ::setgid(65534) == 0 && ::setuid(65534) == 0;
      const std::string text = dropped ? Dump(ask()) : "{}";
      for (std::size_t at = 0; at < text.size();) {
        const ssize_t written = ::write(in.Get(), text.data() + at, text.size() - at);
        if (written <= 0) break;
        at += static_cast<std::size_t>(written);
      }
      ::_exit(0);
    }
    in.Reset();
    std::string text;
    std::array<char, 65'536> buffer = {};
    for (ssize_t got = 0; (got = ::read(out.Get(), buffer.data(), buffer.size())) > 0;) {
      text.append(buffer.data(), static_cast<std::size_t>(got));
    }
    ::waitpid(child, nullptr, 0);
    return nlohmann::json::parse(text).get<Answers>();
  }
};

TEST_P(MountSemanticsTest, EveryCallAnswersAsOnALocalFileSystem) {
  ASSERT_NO_FATAL_FAILURE(MakeTrees());
  const std::string mount = root_ / "mnt";
  const std::string local = root_ / "ori";
  ExpectSame(AskPaths(mount), AskPaths(local));
  ExpectSame(AskFiles(mount), AskFiles(local));
}

TEST_P(MountSemanticsTest, AndSoItDoesForAUserWithoutRights) {
  ASSERT_NO_FATAL_FAILURE(MakeTrees());
  const std::string mount = root_ / "mnt";
  const std::string local = root_ / "ori";
  const Answers answers = AsNobody([&] { return AskPaths(mount); });
  ASSERT_FALSE(answers.empty());
  ExpectSame(answers, AsNobody([&] { return AskPaths(local); }));
  ExpectSame(AsNobody([&] { return AskFiles(mount); }), AsNobody([&] { return AskFiles(local); }));
}

INSTANTIATE_TEST_SUITE_P(Modes, MountSemanticsTest,
                         testing::Values(Modes{"Usual", 0444, 0555}, Modes{"Programs", 0555, 0555},
                                         Modes{"OwnersOnly", 0400, 0711},
                                         Modes{"Closed", 0444, 0700}),
                         [](const auto& row) { return row.param.name; });

// ---- directories -------------------------------------------------------------------------------

using Stream = std::unique_ptr<DIR, decltype([](DIR* stream) { ::closedir(stream); })>;

std::vector<std::string> Rest(DIR* stream) {
  std::vector<std::string> names;
  while (const dirent* const entry = ::readdir(stream)) names.emplace_back(entry->d_name);
  return names;
}

using MountDirectoryTest = MountedTest;

TEST_F(MountDirectoryTest, AStreamGoesOnFromWhereverItIsTold) {
  std::set<std::string> all = {".", ".."};
  for (int i = 0; i < 3000; ++i) {
    const std::string name =
        fmt::format("{}{}", i, std::string(static_cast<std::size_t>(i) % 200, 'n'));
    WriteBytes(root_ / "data/many" / name, "");
    all.insert(name);
  }
  ASSERT_EQ(MountData().status, 0);
  const Stream stream(::opendir((root_ / "mnt/many").c_str()));
  ASSERT_NE(stream, nullptr);
  std::vector<std::pair<long, std::vector<std::string>>> places;
  std::vector<std::string> read;
  for (long place = ::telldir(stream.get());; place = ::telldir(stream.get())) {
    if (read.size() % 500 == 0) places.push_back({place, {read.begin(), read.end()}});
    const dirent* const entry = ::readdir(stream.get());
    if (entry == nullptr) break;
    read.emplace_back(entry->d_name);
  }
  EXPECT_EQ(std::set<std::string>(read.begin(), read.end()), all);
  EXPECT_EQ(read.size(), all.size());
  EXPECT_TRUE(Rest(stream.get()).empty()) << "the end stays the end";
  while (!places.empty()) {
    auto [place, expected] = places.back();
    places.pop_back();
    ::seekdir(stream.get(), place);
    for (const std::string& name : Rest(stream.get())) expected.push_back(name);
    EXPECT_TRUE(expected == read) << "from " << place;
  }
  ::rewinddir(stream.get());
  EXPECT_TRUE(Rest(stream.get()) == read);
}

TEST_F(MountDirectoryTest, ReadersAtOnceSeeEveryNameOnce) {
  for (int i = 0; i < 2000; ++i) WriteBytes(root_ / "data/many" / fmt::format("{}", i), "");
  ASSERT_EQ(MountData().status, 0);
  std::vector<std::set<std::string>> seen(6);
  std::vector<std::size_t> count(seen.size());
  std::vector<std::jthread> readers;
  for (std::size_t i = 0; i < seen.size(); ++i) {
    readers.emplace_back([&, i] {
      const Stream stream(::opendir((root_ / "mnt/many").c_str()));
      const auto names = Rest(stream.get());
      count[i] = names.size();
      seen[i] = {names.begin(), names.end()};
    });
  }
  readers.clear();
  for (std::size_t i = 0; i < seen.size(); ++i) {
    EXPECT_EQ(count[i], 2002U);
    EXPECT_EQ(seen[i].size(), 2002U);
  }
}

}  // namespace
}  // namespace sluice::test
