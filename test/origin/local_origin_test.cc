#include "sluice/origin/local_origin.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>
#include <string>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sluice/platform/unique_fd.h"

#include "read_all.h"

namespace sluice::origin {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class LocalOriginTest : public ::testing::Test {
 protected:
  LocalOriginTest() {
    std::string pattern = (fs::temp_directory_path() / "sluice-local-XXXXXX").string();
    base_ = ::mkdtemp(pattern.data());
    root_ = base_ / "root";
    fs::create_directories(root_);
    origin_ = MakeLocalOrigin(root_, {}, metrics_);
  }
  ~LocalOriginTest() override {
    origin_.reset();
    fs::remove_all(base_);
  }
  void Write(const fs::path& path, const std::string& bytes) {
    fs::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path, std::ios::binary) << bytes;
  }
  std::vector<std::string> Paths() {
    auto listing = origin_->List();
    EXPECT_TRUE(listing) << listing.error().message;
    std::vector<std::string> paths;
    for (const auto& object : listing->objects) paths.push_back(object.path);
    skipped_ = listing->skipped;
    return paths;
  }

  platform::Metrics metrics_;
  fs::path base_;
  fs::path root_;
  std::unique_ptr<Origin> origin_;
  std::uint64_t skipped_ = 0;
};

TEST_F(LocalOriginTest, ListsAndReads) {
  std::string big(3'000'000, '\0');
  for (std::size_t i = 0; i < big.size(); ++i) big[i] = static_cast<char>(i * 7 + i / 255);
  Write("b/c.bin", big);
  Write("a\nb", "x");
  Write("empty", "");
  EXPECT_THAT(Paths(), ElementsAre("a\nb", "b/c.bin", "empty"));
  const auto object = Find(*origin_, "b/c.bin");
  ASSERT_TRUE(object) << object.error().message;
  EXPECT_EQ(object->size, big.size());
  const ReadResult read = ReadRange(*origin_, *object, 1000, 2'500'000);
  ASSERT_TRUE(read.status) << read.status.error().message;
  EXPECT_EQ(read.bytes, big.substr(1000, 2'500'000));
}

// Every link with its text.
std::map<std::string, std::string> Links(const Listing& listing) {
  std::map<std::string, std::string> links;
  for (const OriginObject& object : listing.objects) {
    if (object.kind != ObjectKind::kLink) continue;
    links[object.path] = object.version;
    EXPECT_EQ(object.size, object.version.size());
  }
  return links;
}

TEST_F(LocalOriginTest, ListsLinksThatStayBeneathTheRoot) {
  Write("blobs/x", "inside");
  Write("deep/down/f", "f");
  std::ofstream(base_ / "outside") << "secret";
  fs::create_directories(root_ / "snap/v");
  const std::map<std::string, std::string> links = {{"snap/v/model", "../../blobs/x"},
                                                    {"dirlink", "blobs"},
                                                    {"dangling", "nowhere/at/all"},
                                                    {"snap/loop", "loop"},
                                                    {"snap/self", "."},
                                                    {"snap/top", "../"}};
  for (const auto& [path, text] : links) fs::create_symlink(text, root_ / path);
  auto shown = links;
  const auto link = [&](const std::string& path, const fs::path& text, const std::string& as) {
    fs::create_symlink(text, root_ / path);
    shown[path] = as;
  };
  link("snap/absolute", root_ / "blobs/x", "../blobs/x");
  link("snap/v/root", root_, "../..");
  link("snap/missing", root_ / "blobs/none", "../blobs/none");
  link("snap/bends", "v/../../blobs/x", "../blobs/x");
  link("snap/far", "../down/../f", "../deep/f");
  fs::create_symlink("deep/down", root_ / "down");
  shown["down"] = "deep/down";
  Write("deep/f", "by the link's own parent");

  const auto listing = origin_->List();
  ASSERT_TRUE(listing) << listing.error().message;
  EXPECT_EQ(Links(*listing), shown);
  EXPECT_EQ(listing->objects.size(), shown.size() + 3);
  EXPECT_EQ(listing->skipped, 0U);
}

TEST_F(LocalOriginTest, LinksThatLeaveTheRootAreSkippedAndNothingOutsideIsRead) {
  Write("blobs/x", "inside");
  std::ofstream(base_ / "outside") << "secret";
  fs::create_directories(base_ / "root2");
  fs::create_directories(root_ / "snap/deep");
  fs::create_symlink("deep", root_ / "snap/l");
  const std::map<std::string, std::string> links = {{"escapes", "../outside"},
                                                    {"snap/escapes", "../../outside"},
                                                    {"snap/absolute", base_ / "outside"},
                                                    {"passwd", "/etc/passwd"},
                                                    {"neighbour", base_ / "root2/x"},
                                                    {"in and out", "../root/blobs/x"},
                                                    {"snap/bends", "l/../../../outside"},
                                                    {"bends and ends nowhere", "blobs/../nowhere"}};
  for (const auto& [path, text] : links) fs::create_symlink(text, root_ / path);
  ASSERT_EQ(::mkfifo((root_ / "fifo").c_str(), 0600), 0);
  EXPECT_THAT(Paths(), ElementsAre("blobs/x", "snap/l"));
  EXPECT_EQ(skipped_, links.size() + 1);

  const auto good = Find(*origin_, "blobs/x");
  ASSERT_TRUE(good) << good.error().message;
  for (const auto& [path, text] : links) {
    OriginObject forged = *good;
    forged.path = path;
    const ReadResult read = ReadWhole(*origin_, forged);
    ASSERT_FALSE(read.status) << path;
    EXPECT_EQ(read.status.error().code, Code::kConflict) << path;
    EXPECT_EQ(read.bytes, "");
  }
  for (const char* path : {"../outside", "a/../../outside", "/etc/passwd", "", "snap/l/../x"}) {
    OriginObject forged = *good;
    forged.path = path;
    EXPECT_FALSE(ReadWhole(*origin_, forged).status) << path;
  }
}

// A listing is old at once: what has become a link meanwhile is not followed.
TEST_F(LocalOriginTest, AFileOrDirectoryThatBecameALinkIsNotFollowed) {
  Write("d/f", "inside");
  fs::create_directories(base_ / "other");
  std::ofstream(base_ / "other/f") << "secret";
  const auto object = Find(*origin_, "d/f");
  ASSERT_TRUE(object) << object.error().message;
  fs::rename(root_ / "d", root_ / "moved");
  for (const fs::path& target : {base_ / "other", fs::path("moved"), fs::path("../other")}) {
    fs::create_symlink(target, root_ / "d");
    const ReadResult read = ReadWhole(*origin_, *object);
    ASSERT_FALSE(read.status) << target;
    EXPECT_EQ(read.status.error().code, Code::kConflict);
    EXPECT_EQ(read.bytes, "");
    fs::remove(root_ / "d");
  }
}

// What `path` leads to below `root`, as a path in it; the error when it leads nowhere, or outside.
std::string Resolve(const fs::path& root, const std::string& path) {
  const platform::UniqueFd top(::open(root.c_str(), O_PATH | O_CLOEXEC));
  struct open_how how = {};
  how.flags = O_PATH | O_CLOEXEC;
  how.resolve = RESOLVE_BENEATH;
  const auto fd = ::syscall(SYS_openat2, top.Get(), path.c_str(), &how, sizeof(how));
  if (fd < 0) return errno == EXDEV ? "outside" : "nowhere";
  const platform::UniqueFd end(static_cast<int>(fd));
  const fs::path place = fs::read_symlink(fmt::format("/proc/self/fd/{}", end.Get()));
  return place.lexically_relative(fs::canonical(root)).string();
}

// The text of a link at random: upwards and then a name, through a link and then upwards, anything,
// or an absolute path.
std::string AnyTarget(std::mt19937& random, const fs::path& root) {
  static constexpr std::array kWords = {"..", ".", "a", "b", "c", "f", "l0", "l1", "l2"};
  const auto word = [&] { return std::string(kWords.at(random() % kWords.size())); };
  std::string text;
  switch (random() % 4) {
    case 0:
      for (auto up = random() % 4; up > 0; --up) text += "../";
      return text + word();
    case 1:
      text = fmt::format("l{}", random() % 3);
      for (auto up = random() % 4; up > 0; --up) text += "/..";
      return text;
    case 2:
      text = root.string() + "/" + word();
      break;
    default:
      text = word();
  }
  for (auto more = random() % 4; more > 0; --more) text += "/" + word();
  return text;
}

// Random trees of links, and what a mount would make of their listings.
TEST_F(LocalOriginTest, HoweverLinksAreMixedTheyLeadWhereTheyDidAndNeverOut) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  int inside = 0;
  for (int round = 0; round < 40; ++round) {
    fs::remove_all(root_);
    for (const char* const directory : {"", "a/", "b/", "a/b/", "a/b/c/", "b/a/"}) {
      Write(fmt::format("{}f", directory), "x");
      for (int i = 0; i < 3; ++i) {
        const std::string target = AnyTarget(random, root_);
        if (random() % 4 != 0) {
          fs::create_symlink(target, root_ / fmt::format("{}l{}", directory, i));
        }
      }
    }
    const auto listing = origin_->List();
    ASSERT_TRUE(listing) << listing.error().message;
    const fs::path copy = base_ / "copy";
    fs::remove_all(copy);
    for (const OriginObject& object : listing->objects) {
      fs::create_directories((copy / object.path).parent_path());
      if (object.kind == ObjectKind::kLink) {
        fs::create_symlink(object.version, copy / object.path);
      } else {
        std::ofstream(copy / object.path) << "x";
      }
    }
    for (const OriginObject& object : listing->objects) {
      const std::string there = Resolve(copy, object.path);
      ASSERT_NE(there, "outside") << object.path << " -> " << object.version;
      const std::string here = Resolve(root_, object.path);
      if (here == "outside" || here == "nowhere") continue;  // an absolute link on the way, or none
      ASSERT_EQ(there, here) << object.path << " -> " << object.version;
      if (object.kind == ObjectKind::kLink) ++inside;
    }
  }
  EXPECT_GT(inside, 40);
}

TEST_F(LocalOriginTest, AChangedLinkHasAnotherVersion) {
  fs::create_symlink("a", root_ / "l");
  const auto before = Find(*origin_, "l");
  fs::remove(root_ / "l");
  fs::create_symlink("b", root_ / "l");
  const auto after = Find(*origin_, "l");
  ASSERT_TRUE(before && after);
  EXPECT_EQ(before->version, "a");
  EXPECT_EQ(after->version, "b");
}

TEST_F(LocalOriginTest, AReplacedFileIsAConflict) {
  Write("f", "first version");
  const auto object = Find(*origin_, "f");
  ASSERT_TRUE(object);
  std::ofstream(root_ / "g") << "other version";
  fs::rename(root_ / "g", root_ / "f");
  const ReadResult read = ReadWhole(*origin_, *object);
  ASSERT_FALSE(read.status);
  EXPECT_EQ(read.status.error().code, Code::kConflict);
  EXPECT_EQ(read.bytes, "");
}

TEST_F(LocalOriginTest, ATruncatedFileIsAConflict) {
  Write("f", std::string(100, 'x'));
  const auto object = Find(*origin_, "f");
  ASSERT_TRUE(object);
  fs::resize_file(root_ / "f", 10);
  EXPECT_EQ(ReadWhole(*origin_, *object).status.error().code, Code::kConflict);
}

TEST_F(LocalOriginTest, NamesWhatIsMissing) {
  OriginObject gone;
  gone.path = "no";
  gone.size = 1;
  const Status status = ReadWhole(*origin_, gone).status;
  EXPECT_EQ(status.error().code, Code::kNotFound);
  EXPECT_THAT(status.error().message, HasSubstr((root_ / "no").string()));

  fs::remove_all(root_);
  const auto listing = origin_->List();
  ASSERT_FALSE(listing);
  EXPECT_EQ(listing.error().code, Code::kNotFound);
  EXPECT_THAT(listing.error().message, HasSubstr(root_.string()));
  fs::create_directories(root_);
  Write("back", "again");
  EXPECT_THAT(Paths(), ElementsAre("back")) << "a share that comes back is found";
}

TEST_F(LocalOriginTest, AListingTooLongForItsMemoryIsAnError) {
  for (int i = 0; i < 100; ++i) Write("directory/" + std::to_string(i), "x");
  OriginLimits limits;
  limits.max_listing_bytes = [] { return 8ULL << 10; };
  const auto listing = MakeLocalOrigin(root_, limits, metrics_)->List();
  ASSERT_FALSE(listing);
  EXPECT_EQ(listing.error().code, Code::kInvalidArgument);
  EXPECT_THAT(listing.error().message, HasSubstr("raise the memory budget"));
  EXPECT_TRUE(origin_->List());
}

TEST_F(LocalOriginTest, ChecksTheRange) {
  Write("f", "0123456789");
  const auto object = Find(*origin_, "f");
  ASSERT_TRUE(object);
  EXPECT_EQ(ReadRange(*origin_, *object, 9, 1).bytes, "9");
  EXPECT_TRUE(ReadRange(*origin_, *object, 10, 0).status);
  EXPECT_EQ(ReadRange(*origin_, *object, 5, 6).status.error().code, Code::kInvalidArgument);
  EXPECT_EQ(ReadRange(*origin_, *object, 5, ~std::uint64_t{0}).status.error().code,
            Code::kInvalidArgument);
}

TEST_F(LocalOriginTest, ManyReadsAtOnceAreAllDone) {
  Write("f", std::string(50'000, 'z'));
  const auto object = Find(*origin_, "f");
  ASSERT_TRUE(object);
  std::vector<std::future<ReadResult>> reads;
  for (int i = 0; i < 200; ++i) reads.push_back(StartRead(*origin_, *object, 0, object->size));
  for (std::size_t i = 0; i < 100; ++i) EXPECT_TRUE(reads[i].get().status);
  origin_.reset();
  for (std::size_t i = 100; i < 200; ++i) (void)reads[i].get();
}

TEST_F(LocalOriginTest, ASinkCanCancel) {
  Write("f", std::string(5'000'000, 'z'));
  const auto object = Find(*origin_, "f");
  ASSERT_TRUE(object);
  std::promise<Status> done;
  origin_->ReadAsync(
      *object, 0, object->size, [](std::span<const std::byte>) { return false; },
      [&](Status status) { done.set_value(std::move(status)); });
  EXPECT_THAT(done.get_future().get().error().message, HasSubstr("cancelled"));
}

}  // namespace
}  // namespace sluice::origin
