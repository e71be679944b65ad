// A file system that is really full: a small tmpfs in a mount namespace of a child process.
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "reader_fixture.h"

namespace sluice::cache {
namespace {

constexpr int kCannotMount = 77;

int ReadThroughAFullDisk(const std::filesystem::path& directory) {
  if (unshare(CLONE_NEWNS) != 0) return kCannotMount;
  if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return kCannotMount;
  if (mount("tmpfs", directory.c_str(), "tmpfs", 0, "size=8m") != 0) return kCannotMount;
  platform::Metrics metrics;
  const platform::Log log("test", platform::LogLevel::kError);
  const auto origin = std::make_shared<FakeOrigin>(4);
  ReaderOptions options;
  options.memory_budget_bytes = 32 * kMiB;
  options.cache_directory = directory.string();
  options.quota_bytes = 64 * kMiB;  // more than there is
  const auto reader = Reader::Start(options, metrics, log);
  const auto source = SourceOf(origin);
  // The first fills the disk; later ones make room for themselves or pass it by.
  for (std::uint64_t i = 0; i < 4; ++i) {
    const Content content = MakeContent(i == 0 ? 24 * kMiB : 3 * kMiB, i);
    const auto file = reader->Open(source, origin->Put("f" + std::to_string(i), content));
    Content got(content.size());
    const auto n = file->Read(0, got);
    if (!n || *n != content.size() || got != content) return 1;
  }
  // With the large one closed, a small one finds room.
  const Content content = MakeContent(3 * kMiB, 50);
  const auto object = origin->Put("last", content);
  const bool whole = Eventually([&] {
    const auto file = reader->Open(source, object);
    Content got(content.size());
    return file->Read(0, got).has_value() && file->OpenComplete().has_value();
  });
  return whole ? 0 : 2;
}

TEST(DiskFullTest, ApplicationSeesNoErrorAndTheCacheRecovers) {
  const TempDirectory directory;
  const pid_t child = fork();  // no thread has been started yet
  ASSERT_GE(child, 0);
  if (child == 0) _exit(ReadThroughAFullDisk(directory.Path()));
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  if (WEXITSTATUS(status) == kCannotMount) GTEST_SKIP() << "needs the right to mount";
  EXPECT_EQ(WEXITSTATUS(status), 0) << "1: wrong bytes, 2: the cache did not recover";
}

}  // namespace
}  // namespace sluice::cache
