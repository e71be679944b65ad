// New files of a directory.
#include "local_upload.h"

#include <eventually.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sluice/origin/local_origin.h"

#include "read_all.h"
#include "write_all.h"

namespace sluice::origin {
namespace {

namespace fs = std::filesystem;
using test::Eventually;

class LocalUploadTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = fs::temp_directory_path() / "sluice-upload-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    root_ = pattern;
    origin_ = MakeLocalOrigin(root_, {}, metrics_);
  }
  void TearDown() override {
    origin_.reset();
    fs::remove_all(root_);
  }
  std::unique_ptr<ObjectUpload> Begin(const std::string& path) {
    auto upload = origin_->Writer()->Begin(path, 1ULL << 30, records_);
    EXPECT_TRUE(upload);
    return std::move(*upload);
  }
  std::size_t FilesOnTheirWay() {
    std::size_t count = 0;
    for (const auto& entry : fs::recursive_directory_iterator(root_)) {
      if (IsUploadName(entry.path().filename().string())) ++count;
    }
    return count;
  }

  fs::path root_;
  platform::Metrics metrics_;
  FakeRecords records_;
  std::unique_ptr<Origin> origin_;
};

TEST_F(LocalUploadTest, AFileAppearsWholeAndAsItWillBeListed) {
  const std::string bytes(20'000'000, 'x');
  auto upload = Begin("a/b/file");
  ASSERT_TRUE(StartAppend(*upload, std::string_view(bytes).substr(0, 8 << 20)).get().status);
  EXPECT_EQ(FilesOnTheirWay(), 1U);
  EXPECT_TRUE(origin_->List()->objects.empty()) << "on its way it is in no listing";
  const Written written = WriteAll(*upload, std::string_view(bytes).substr(8 << 20));
  ASSERT_TRUE(written.status) << written.status.error().message;
  const auto listing = origin_->List();
  ASSERT_TRUE(listing && listing->objects.size() == 1);
  EXPECT_EQ(listing->objects[0].path, "a/b/file");
  EXPECT_EQ(listing->objects[0].version, written.object.version);
  EXPECT_EQ(listing->objects[0].size, bytes.size());
  EXPECT_TRUE(ReadRange(*origin_, written.object, 0, bytes.size()).bytes == bytes);
  EXPECT_EQ(FilesOnTheirWay(), 0U);
  EXPECT_EQ(records_.Count(), 0U);
}

TEST_F(LocalUploadTest, WhatIsDroppedIsRemoved) {
  auto upload = Begin("file");
  ASSERT_TRUE(StartAppend(*upload, "abc").get().status);
  upload.reset();
  EXPECT_TRUE(Eventually([&] { return FilesOnTheirWay() == 0 && records_.Count() == 0; }));
  EXPECT_TRUE(fs::is_empty(root_));
}

TEST_F(LocalUploadTest, ARecordLeadsToWhatAKilledProcessLeft) {
  auto upload = Begin("d/file");
  ASSERT_TRUE(StartAppend(*upload, "abc").get().status);
  ASSERT_EQ(records_.All().size(), 1U);
  EXPECT_TRUE(origin_->Writer()->GiveUp(records_.All()[0]));
  EXPECT_EQ(FilesOnTheirWay(), 0U);
  EXPECT_TRUE(origin_->Writer()->GiveUp(records_.All()[0])) << "it is not there any more";
  std::ofstream(root_ / "kept") << "x";
  EXPECT_TRUE(origin_->Writer()->GiveUp("kept"));
  EXPECT_TRUE(fs::exists(root_ / "kept")) << "no file of ours";
}

TEST_F(LocalUploadTest, ADirectoryCannotBeLeft) {
  fs::create_directory_symlink("/tmp", root_ / "out");
  const auto upload = Begin("out/file");
  const Written written = WriteAll(*upload, "abc");
  ASSERT_FALSE(written.status);
  EXPECT_EQ(written.status.error().code, Code::kPermissionDenied);
  EXPECT_FALSE(origin_->Writer()->Begin(".sluice-upload-1", 1 << 20, records_));
}

TEST_F(LocalUploadTest, RenamingTakesThisVersionOnly) {
  const Written written = WriteAll(*Begin("file.tmp"), "abc");
  ASSERT_TRUE(written.status);
  OriginObject other = written.object;
  other.version = "other";
  EXPECT_EQ(origin_->Writer()->Rename(other, "file").status.error().code, Code::kConflict);
  const Written renamed = origin_->Writer()->Rename(written.object, "d/file");
  ASSERT_TRUE(renamed.status) << renamed.status.error().message;
  const auto listing = origin_->List();
  ASSERT_TRUE(listing && listing->objects.size() == 1);
  EXPECT_EQ(listing->objects[0].path, "d/file");
  EXPECT_EQ(listing->objects[0].version, renamed.object.version);
}

}  // namespace
}  // namespace sluice::origin
