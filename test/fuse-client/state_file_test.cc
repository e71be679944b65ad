#include "state_file.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <span>

#include <gtest/gtest.h>

#include "open_table.h"

namespace sluice::fuse_client {
namespace {

platform::UniqueFd Memory() {
  return platform::UniqueFd(::memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
}
platform::UniqueFd Copy(const platform::UniqueFd& fd) {
  return platform::UniqueFd(::dup(fd.Get()));
}

IndexDraft IndexOf(int files) {
  MountListing mount{"/", "s3://b", {}};
  for (int i = 0; i < files; ++i) {
    OriginObject object;
    object.path = "f" + std::to_string(i);
    object.version = "v";
    mount.listing.objects.push_back(object);
  }
  return IndexDraft({mount});
}

TEST(StateFileTest, FirstAttachIsNoTakeover) {
  auto state = StateFile::Attach(Memory());
  ASSERT_TRUE(state.has_value()) << state.error().message;
  EXPECT_FALSE((*state)->IsTakeover());
  EXPECT_EQ((*state)->LoadIndex(1), nullptr);
}

TEST(StateFileTest, SuccessorFindsIndexAndOpenFiles) {
  const auto memory = Memory();
  {
    auto state = StateFile::Attach(Copy(memory));
    ASSERT_TRUE(state.has_value());
    ASSERT_TRUE((*state)->StoreIndex(IndexOf(3), 42).has_value());
    OpenTable opens(**state);
    const auto row = opens.Acquire();
    opens.Set(*row, {.id = 77, .backing_id = 5, .opens = 2});
    const auto freed = opens.Acquire();
    opens.Set(*freed, {.id = 78, .backing_id = 0, .opens = 1});
    opens.Free(*freed);
    (*state)->Header().init_done = 1;
  }
  auto state = StateFile::Attach(Copy(memory));
  ASSERT_TRUE(state.has_value());
  EXPECT_TRUE((*state)->IsTakeover());
  const auto index = (*state)->LoadIndex(42);
  ASSERT_NE(index, nullptr);
  EXPECT_EQ(index->Totals().files, 3U);
  EXPECT_EQ((*state)->LoadIndex(43), nullptr) << "made from other mounts";
  OpenTable opens(**state);
  const auto rows = opens.Load();
  ASSERT_EQ(rows.size(), 1U);
  EXPECT_EQ(rows[0].entry.id, 77U);
  EXPECT_EQ(rows[0].entry.backing_id, 5);
  EXPECT_EQ(rows[0].entry.opens, 2U);
  EXPECT_NE(*opens.Acquire(), rows[0].index);
}

// Killed between the mark of an intent, the count and the mark of its end.
TEST(OpenTableTest, EffectIsDoneExactlyWhenTheCountHasChanged) {
  const auto memory = Memory();
  struct Moment {
    std::uint32_t opens;
    std::uint64_t effect;
  };
  Moment before{}, counted{}, done{};
  {
    auto state = StateFile::Attach(Copy(memory));
    StateHeader& header = (*state)->Header();
    OpenTable opens(**state);
    const std::uint32_t row = *opens.Acquire();
    opens.Set(row, {.id = 77, .backing_id = 0, .opens = 4}, RequestEffect(header.effects[0]));
    done = {4, header.effects[0]};
    counted = {4, (1ULL + row) << 32 | 4};  // docs/fuse-state.md
    before = {3, counted.effect};
  }
  const auto done_after = [&](const Moment& moment) {
    auto state = StateFile::Attach(Copy(memory));
    StateHeader& header = (*state)->Header();
    (*state)->Opens()[0].opens = moment.opens;
    header.effects[9] = moment.effect;
    const OpenTable opens(**state);
    return RequestEffect(header.effects[9]).Done();
  };
  EXPECT_FALSE(done_after(before));
  EXPECT_TRUE(done_after(counted));
  EXPECT_TRUE(done_after(done));
  EXPECT_FALSE(done_after({4, 0}));
  EXPECT_FALSE(done_after({4, 0xfffffff0ULL << 32 | 4})) << "of a row that does not exist";
}

TEST(OpenTableTest, OpenThatIsTakenBackLeavesNoEffect) {
  auto state = StateFile::Attach(Memory());
  std::uint64_t& word = (*state)->Header().effects[0];
  OpenTable opens(**state);
  const std::uint32_t row = *opens.Acquire();
  opens.Set(row, {.id = 77, .backing_id = 0, .opens = 4}, RequestEffect(word));
  opens.Set(row, {.id = 77, .backing_id = 0, .opens = 3}, RequestEffect(word).Undone());
  EXPECT_EQ((*state)->Opens()[row].opens, 3U);
  EXPECT_EQ(word, 0U);
}

// The same of a row's last open. The process is killed truly: the entries' memory takes no writes.
TEST(OpenTableTest, OpenThatIsBeingTakenBackHasItsEffectForAsLongAsItIsCounted) {
  const auto memory = Memory();
  std::uint32_t row = 0;
  {
    auto state = StateFile::Attach(Copy(memory));
    OpenTable opens(**state);
    row = *opens.Acquire();
    opens.Set(row, {.id = 77, .backing_id = 0, .opens = 1},
              RequestEffect((*state)->Header().effects[0]));
  }
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    std::signal(SIGSEGV, SIG_DFL);
    auto state = StateFile::Attach(Copy(memory));
    OpenTable opens(**state);
    const std::span<OpenEntry> entries = (*state)->Opens();
    ::mprotect(entries.data(), entries.size_bytes(), PROT_READ);
    opens.Free(row, RequestEffect((*state)->Header().effects[0]).Undone());
    std::_Exit(EXIT_SUCCESS);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status)) << "it was to be killed before the count";
  std::uint64_t intent = 0;
  const auto done_when_killed_with = [&](std::uint32_t opens) {
    auto state = StateFile::Attach(Copy(memory));
    std::uint64_t& word = (*state)->Header().effects[0];
    if (intent == 0) intent = word;
    word = intent;
    (*state)->Opens()[row].opens = opens;
    const OpenTable table(**state);
    return RequestEffect(word).Done();
  };
  EXPECT_TRUE(done_when_killed_with(1)) << "counted still";
  EXPECT_FALSE(done_when_killed_with(0));
}

TEST(OpenTableTest, RowThatIsFreedKeepsNoHalfOfItsEntry) {
  auto state = StateFile::Attach(Memory());
  OpenTable opens(**state);
  const std::uint32_t row = *opens.Acquire();
  opens.Set(row, {.id = 77, .backing_id = 5, .opens = 1});
  opens.Free(row);
  EXPECT_EQ((*state)->Opens()[row].opens, 0U);
  EXPECT_EQ((*state)->Opens()[row].id, 77U)
      << "cleared before the count, a kill would leave an open of no inode";
}

TEST(StateFileTest, DamagedIndexIsNotServed) {
  const auto memory = Memory();
  std::uint64_t offset = 0;
  {
    auto state = StateFile::Attach(Copy(memory));
    ASSERT_TRUE((*state)->StoreIndex(IndexOf(3), 42).has_value());
    offset = (*state)->Header().index_offset;
  }
  ASSERT_EQ(::pwrite(memory.Get(), "x", 1, static_cast<off_t>(offset + 200)), 1);
  auto state = StateFile::Attach(Copy(memory));
  EXPECT_EQ((*state)->LoadIndex(42), nullptr);
  (*state)->Header().index_offset = ~0ULL & ~0xfffULL;
  EXPECT_EQ((*state)->LoadIndex(42), nullptr);
}

TEST(StateFileTest, EarlierLayoutIsTakenOver) {
  const auto memory = Memory();
  {
    auto state = StateFile::Attach(Copy(memory));
    ASSERT_TRUE((*state)->StoreIndex(IndexOf(3), 42).has_value());
    (*state)->Header().layout = 1;  // that of the first release, which knew no effects
  }
  const auto state = StateFile::Attach(Copy(memory));
  ASSERT_TRUE(state.has_value()) << state.error().message;
  EXPECT_NE((*state)->LoadIndex(42), nullptr);
  EXPECT_GT((*state)->Header().layout, 1U) << "its predecessor must not take it back";
}

TEST(StateFileTest, LaterLayoutIsRefusedWithTheReason) {
  const auto memory = Memory();
  { ASSERT_TRUE(StateFile::Attach(Copy(memory)).has_value()); }
  const std::uint32_t layout = 99;
  ASSERT_EQ(::pwrite(memory.Get(), &layout, 4, 8), 4);
  const auto state = StateFile::Attach(Copy(memory));
  ASSERT_FALSE(state.has_value());
  EXPECT_EQ(state.error().code, Code::kInvalidArgument);
}

TEST(StateFileTest, IndexThatSaysTheSameIsKept) {
  const auto memory = Memory();
  auto state = StateFile::Attach(Copy(memory));
  const auto first = (*state)->StoreIndex(IndexOf(3), 1);
  const auto size = [&] {
    struct stat info = {};
    ::fstat(memory.Get(), &info);
    return std::pair(info.st_blocks, info.st_size);
  };
  const auto blocks = size().first;
  ASSERT_EQ(*(*state)->StoreIndex(IndexOf(3), 1), *first);
  const auto grown = size().second;
  EXPECT_EQ(*(*state)->StoreIndex(IndexOf(3), 1), *first);
  EXPECT_EQ(size(), std::pair(blocks, grown)) << "memory is given back, room used again";
  EXPECT_NE(*(*state)->StoreIndex(IndexOf(3), 2), *first) << "made from other mounts";
  EXPECT_NE(*(*state)->StoreIndex(IndexOf(4), 2), *first);
}

TEST(StateFileTest, ReplacedIndexGivesItsMemoryBackWhenNobodyUsesIt) {
  const auto memory = Memory();
  auto state = StateFile::Attach(Copy(memory));
  auto first = (*state)->StoreIndex(IndexOf(20000), 1);
  ASSERT_TRUE(first.has_value());
  const auto blocks = [&] {
    struct stat info = {};
    ::fstat(memory.Get(), &info);
    return info.st_blocks;
  };
  const auto full = blocks();
  ASSERT_TRUE((*state)->StoreIndex(IndexOf(1), 1).has_value());
  EXPECT_EQ((*first)->Totals().files, 20000U) << "still whole for whoever has it";
  first = std::shared_ptr<const Index>();
  EXPECT_LT(blocks() + 2500, full);
  EXPECT_EQ((*state)->LoadIndex(1)->Totals().files, 1U);
}

}  // namespace
}  // namespace sluice::fuse_client
