// Mounts that can be written to: what was closed is an object, whole, and nothing else is.
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <future>
#include <thread>

#include "sluice/origin/make_origin.h"

#include "minio_server.h"
#include "mounted.h"

namespace sluice::test {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

// What write(2) and close(2) said.
struct WriteOutcome {
  int open_error = 0;
  int write_error = 0;
  int close_error = 0;
};

int ErrorOf(int result) { return result == 0 ? 0 : errno; }

WriteOutcome WriteFile(const fs::path& path, const std::string& bytes,
                       int flags = O_WRONLY | O_CREAT | O_TRUNC) {
  WriteOutcome outcome;
  const int fd = ::open(path.c_str(), flags | O_CLOEXEC, 0644);
  if (fd < 0) {
    outcome.open_error = errno;
    return outcome;
  }
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n =
        ::write(fd, bytes.data() + done, std::min<std::size_t>(bytes.size() - done, 3 << 20));
    if (n < 0) {
      outcome.write_error = errno;
      break;
    }
    done += static_cast<std::size_t>(n);
  }
  outcome.close_error = ErrorOf(::close(fd));
  return outcome;
}

bool Worked(const WriteOutcome& outcome) {
  EXPECT_EQ(outcome.open_error, 0);
  EXPECT_EQ(outcome.write_error, 0);
  EXPECT_EQ(outcome.close_error, 0);
  return outcome.open_error == 0 && outcome.write_error == 0 && outcome.close_error == 0;
}

std::vector<std::string> NamesIn(const fs::path& directory) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(directory))
    names.push_back(entry.path().filename());
  return names;
}

// The same for every origin that takes files.
class WriteMountTest : public MountedTest {
 protected:
  virtual Outcome MountWritable(std::vector<std::string> more) = 0;
  // Bytes of an object at the origin, past the mount; nothing when it is not there.
  virtual std::optional<std::string> AtOrigin(const std::string& path) = 0;
  // Whatever an upload leaves that is not finished.
  virtual std::size_t UnfinishedUploads() = 0;

  void Mount(std::vector<std::string> more = {}) {
    more.push_back("--read-write");
    const Outcome mounted = MountWritable(std::move(more));
    ASSERT_EQ(mounted.status, 0) << mounted.output;
  }

  void WritesAndReadsBack() {
    const std::string small = RandomBytes(70'000, 1);
    const std::string large = RandomBytes(20 << 20, 2);
    ASSERT_TRUE(Worked(WriteFile(root_ / "mnt/small", small)));
    ASSERT_TRUE(Worked(WriteFile(root_ / "mnt/large", large)));
    ASSERT_TRUE(Worked(WriteFile(root_ / "mnt/empty", "")));
    fs::create_directories(root_ / "mnt/step/1");
    ASSERT_TRUE(Worked(WriteFile(root_ / "mnt/step/1/shard", small)));
    EXPECT_EQ(AtOrigin("small"), small);
    EXPECT_TRUE(AtOrigin("large") == large);
    EXPECT_EQ(AtOrigin("step/1/shard"), small);
    EXPECT_EQ(ReadBytes(root_ / "mnt/small"), small);
    EXPECT_TRUE(ReadBytes(root_ / "mnt/large") == large);
    EXPECT_EQ(ReadBytes(root_ / "mnt/step/1/shard"), small);
    EXPECT_EQ(fs::file_size(root_ / "mnt/large"), large.size());
    EXPECT_EQ(ReadBytes(root_ / "mnt/empty"), "");
    EXPECT_EQ(AtOrigin("empty"), "");
    EXPECT_THAT(NamesIn(root_ / "mnt"),
                UnorderedElementsAre("there", "small", "large", "empty", "step"));
    EXPECT_THAT(NamesIn(root_ / "mnt/step/1"), ElementsAre("shard"));
    EXPECT_EQ(UnfinishedUploads(), 0U);
  }

  void RenamesAsCheckpointsDo() {
    for (const int step : {1, 2}) {
      const std::string bytes = RandomBytes(9 << 20, static_cast<unsigned>(step));
      ASSERT_TRUE(Worked(WriteFile(root_ / "mnt/latest.tmp", bytes)));
      fs::rename(root_ / "mnt/latest.tmp", root_ / "mnt/latest");
      EXPECT_TRUE(ReadBytes(root_ / "mnt/latest") == bytes) << step;
      EXPECT_TRUE(AtOrigin("latest") == bytes) << step;
      EXPECT_EQ(AtOrigin("latest.tmp"), std::nullopt);
      EXPECT_FALSE(fs::exists(root_ / "mnt/latest.tmp"));
    }
    // What others have made stays under its name.
    EXPECT_EQ(ErrorOf(::rename((root_ / "mnt/there").c_str(), (root_ / "mnt/x").c_str())), EPERM);
  }

  void KilledClientLeavesNothingHalf() {
    const int fd = ::open((root_ / "mnt/half").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    ASSERT_GE(fd, 0);
    const std::string bytes = RandomBytes(4 << 20, 3);
    for (int i = 0; i < 6; ++i) {
      ASSERT_EQ(::write(fd, bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
    }
    ASSERT_TRUE(Eventually([&] { return UnfinishedUploads() > 0; }));
    // The origin knows of it a moment before the client has its answer and notes it.
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
    ::kill(ClientPid(), SIGKILL);
    EXPECT_EQ(ErrorOf(static_cast<int>(::write(fd, bytes.data(), 1))), EIO);
    EXPECT_EQ(ErrorOf(::close(fd)), EIO);
    EXPECT_EQ(AtOrigin("half"), std::nullopt);
    EXPECT_TRUE(Eventually([&] { return UnfinishedUploads() == 0; }));
    EXPECT_FALSE(fs::exists(root_ / "mnt/half"));
    // Reading goes on, and so does writing.
    EXPECT_EQ(ReadBytes(root_ / "mnt/there"), "there");
    ASSERT_TRUE(Worked(WriteFile(root_ / "mnt/half", bytes)));
    EXPECT_TRUE(AtOrigin("half") == bytes);
  }

  void TwoWritersAtOnce() {
    const std::string one = RandomBytes(17 << 20, 4);
    const std::string two = RandomBytes(17 << 20, 5);
    auto other = std::async(std::launch::async, [&] { return WriteFile(root_ / "mnt/two", two); });
    EXPECT_TRUE(Worked(WriteFile(root_ / "mnt/one", one)));
    EXPECT_TRUE(Worked(other.get()));
    EXPECT_TRUE(AtOrigin("one") == one);
    EXPECT_TRUE(AtOrigin("two") == two);
  }
};

class S3WriteMountTest : public WriteMountTest {
 protected:
  void SetUp() override {
    MountedTest::SetUp();
    if (IsSkipped()) return;
    auto server = MinioServer::Start();
    if (!server && server.error().code == Code::kNotFound) GTEST_SKIP() << server.error().message;
    ASSERT_TRUE(server.has_value()) << server.error().message;
    server_ = std::move(*server);
    ASSERT_TRUE(server_->MakeBucket("models").has_value());
    ASSERT_TRUE(server_->Put("models", "run/there", "there").has_value());
    variables_["AWS_ACCESS_KEY_ID"] = server_->AccessKey();
    variables_["AWS_SECRET_ACCESS_KEY"] = server_->SecretKey();
  }
  Outcome MountWritable(std::vector<std::string> more) override {
    std::vector<std::string> arguments = {"mount",      "s3://models/run",   root_ / "mnt",
                                          "--endpoint", server_->Endpoint(), "--path-style"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return Sluice(arguments);
  }
  std::optional<std::string> AtOrigin(const std::string& path) override {
    auto origin = origin::MakeOrigin(server_->Mount("s3://models/run"), {}, metrics_, log_);
    const auto listing = (*origin)->List();
    if (!listing) return std::nullopt;
    for (const OriginObject& object : listing->objects) {
      if (object.path != path) continue;
      std::string bytes;
      std::promise<Status> done;
      (*origin)->ReadAsync(
          object, 0, object.size,
          [&](std::span<const std::byte> piece) {
            bytes.append(reinterpret_cast<const char*>(piece.data()), piece.size());
            return true;
          },
          [&](Status status) { done.set_value(std::move(status)); });
      if (!done.get_future().get()) return std::nullopt;
      return bytes;
    }
    return std::nullopt;
  }
  std::size_t UnfinishedUploads() override { return server_->UnfinishedUploads(); }

  std::unique_ptr<MinioServer> server_;
  platform::Metrics metrics_;
  platform::Log log_{"test", platform::LogLevel::kError};
};

TEST_F(S3WriteMountTest, WhatIsClosedIsAnObjectAndReadsBack) {
  Mount();
  WritesAndReadsBack();
}
TEST_F(S3WriteMountTest, AFileIsRenamedIntoPlace) {
  Mount();
  RenamesAsCheckpointsDo();
}
TEST_F(S3WriteMountTest, AKilledClientLeavesNothingHalf) {
  Mount();
  KilledClientLeavesNothingHalf();
}
TEST_F(S3WriteMountTest, TwoFilesAreWrittenAtOnce) {
  Mount();
  TwoWritersAtOnce();
}

TEST_F(S3WriteMountTest, AFileIsVisibleWhileItIsWrittenAndReadWhenItIsClosed) {
  Mount();
  const int fd = ::open((root_ / "mnt/new").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
  ASSERT_GE(fd, 0);
  ASSERT_EQ(::write(fd, "abc", 3), 3);
  EXPECT_EQ(fs::file_size(root_ / "mnt/new"), 3U);
  EXPECT_EQ(::open((root_ / "mnt/new").c_str(), O_RDONLY), -1);
  EXPECT_EQ(errno, EBUSY);
  EXPECT_EQ(AtOrigin("new"), std::nullopt);
  ASSERT_EQ(::fsync(fd), 0);
  EXPECT_EQ(AtOrigin("new"), "abc");
  ASSERT_EQ(::close(fd), 0);
  EXPECT_EQ(ReadBytes(root_ / "mnt/new"), "abc");
}

TEST_F(S3WriteMountTest, AnExistingFileIsReplacedWholeOrNotAtAll) {
  Mount();
  EXPECT_EQ(WriteFile(root_ / "mnt/there", "x", O_WRONLY).open_error, EPERM);
  EXPECT_EQ(WriteFile(root_ / "mnt/there", "x", O_WRONLY | O_APPEND).open_error, EPERM);
  ASSERT_TRUE(Worked(WriteFile(root_ / "mnt/there", "other")));
  EXPECT_EQ(ReadBytes(root_ / "mnt/there"), "other");
  EXPECT_EQ(AtOrigin("there"), "other");
  EXPECT_EQ(ErrorOf(::unlink((root_ / "mnt/there").c_str())), EPERM);
}

TEST_F(S3WriteMountTest, ACloseThatFailsSaysSo) {
  const auto role = server_->AssumeRole(
      R"({"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:ListBucket",)"
      R"("s3:GetObject"],"Resource":["arn:aws:s3:::*"]}]})");
  ASSERT_TRUE(role) << role.error().message;
  const auto field = [&](const std::string& name) {
    const std::size_t begin = role->find("<" + name + ">") + name.size() + 2;
    return role->substr(begin, role->find("</" + name + ">") - begin);
  };
  variables_["AWS_ACCESS_KEY_ID"] = field("AccessKeyId");
  variables_["AWS_SECRET_ACCESS_KEY"] = field("SecretAccessKey");
  variables_["AWS_SESSION_TOKEN"] = field("SessionToken");
  Mount();
  EXPECT_EQ(ReadBytes(root_ / "mnt/there"), "there");
  EXPECT_EQ(WriteFile(root_ / "mnt/lost", "abc").close_error, EACCES);
  EXPECT_EQ(AtOrigin("lost"), std::nullopt);
  EXPECT_TRUE(Eventually([&] { return !fs::exists(root_ / "mnt/lost"); }));
}

TEST_F(S3WriteMountTest, AWriterWaitsWhileTheOriginIsAway) {
  Mount();
  const std::string bytes = RandomBytes(20 << 20, 11);
  server_->Stop();
  auto writing =
      std::async(std::launch::async, [&] { return WriteFile(root_ / "mnt/new", bytes); });
  EXPECT_EQ(writing.wait_for(std::chrono::milliseconds(700)), std::future_status::timeout);
  // Threads that answer the kernel do not wait with it.
  EXPECT_EQ(fs::file_size(root_ / "mnt/there"), 5U);
  ASSERT_TRUE(server_->Restart().has_value());
  EXPECT_TRUE(Worked(writing.get()));
  EXPECT_TRUE(AtOrigin("new") == bytes);
}

TEST_F(S3WriteMountTest, AClientThatIsKilledDuringACloseFailsIt) {
  Mount();
  const int fd = ::open((root_ / "mnt/new").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
  ASSERT_GE(fd, 0);
  ASSERT_EQ(::write(fd, "abc", 3), 3);
  server_->Stop();
  auto closing = std::async(std::launch::async, [&] { return ErrorOf(::close(fd)); });
  EXPECT_EQ(closing.wait_for(std::chrono::milliseconds(300)), std::future_status::timeout);
  ::kill(ClientPid(), SIGKILL);
  EXPECT_EQ(closing.get(), EIO);
  ASSERT_TRUE(server_->Restart().has_value());
  EXPECT_EQ(AtOrigin("new"), std::nullopt);
}

TEST_F(S3WriteMountTest, ShellsAndToolsWrite) {
  Mount();
  WriteBytes(root_ / "data/source", RandomBytes(100 << 20, 7));
  const std::string mount = (root_ / "mnt").string();
  const auto shell = [&](const std::string& line) {
    const Outcome outcome = RunCommand({"/bin/sh", "-c", "cd " + mount + " && " + line});
    EXPECT_EQ(outcome.status, 0) << line << ": " << outcome.output;
  };
  shell("cp " + (root_ / "data/source").string() + " copy && cmp copy " +
        (root_ / "data/source").string());
  shell("{ echo one; /bin/echo two; echo three; } > lines && test \"$(wc -l < lines)\" = 3");
  shell("touch empty && cat empty && test ! -s empty");
  shell("mkdir gone && rmdir gone && test ! -e gone");
  EXPECT_EQ(AtOrigin("lines"), "one\ntwo\nthree\n");
}

TEST_F(S3WriteMountTest, AMountThatIsOnlyReadRefusesEverything) {
  ASSERT_EQ(MountWritable({}).status, 0);
  EXPECT_EQ(WriteFile(root_ / "mnt/new", "x").open_error, EROFS);
  EXPECT_EQ(WriteFile(root_ / "mnt/there", "x").open_error, EROFS);
  EXPECT_EQ(ErrorOf(::mkdir((root_ / "mnt/d").c_str(), 0755)), EROFS);
}

class LocalWriteMountTest : public WriteMountTest {
 protected:
  void SetUp() override {
    MountedTest::SetUp();
    if (!IsSkipped()) WriteBytes(root_ / "data/there", "there");
  }
  Outcome MountWritable(std::vector<std::string> more) override {
    return MountData(std::move(more));
  }
  std::optional<std::string> AtOrigin(const std::string& path) override {
    if (!fs::exists(root_ / "data" / path)) return std::nullopt;
    return ReadBytes(root_ / "data" / path);
  }
  std::size_t UnfinishedUploads() override {
    std::size_t count = 0;
    for (const auto& entry : fs::recursive_directory_iterator(root_ / "data")) {
      if (entry.path().filename().string().starts_with(".sluice-upload-")) ++count;
    }
    return count;
  }
};

TEST_F(LocalWriteMountTest, WhatIsClosedIsAFileAndReadsBack) {
  Mount();
  WritesAndReadsBack();
}
TEST_F(LocalWriteMountTest, AFileIsRenamedIntoPlace) {
  Mount();
  RenamesAsCheckpointsDo();
}
TEST_F(LocalWriteMountTest, AKilledClientLeavesNothingHalf) {
  Mount();
  KilledClientLeavesNothingHalf();
}
TEST_F(LocalWriteMountTest, TwoFilesAreWrittenAtOnce) {
  Mount();
  TwoWritersAtOnce();
}

TEST_F(LocalWriteMountTest, AFullDiskIsTold) {
  ASSERT_EQ(::mount("tmpfs", (root_ / "data").c_str(), "tmpfs", 0, "size=12m"), 0);
  Mount();
  const WriteOutcome outcome = WriteFile(root_ / "mnt/large", RandomBytes(40 << 20, 8));
  EXPECT_EQ(outcome.open_error, 0);
  EXPECT_EQ(outcome.write_error == 0 ? outcome.close_error : outcome.write_error, ENOSPC);
  EXPECT_TRUE(Eventually([&] { return UnfinishedUploads() == 0; }));
  EXPECT_THAT(NamesIn(root_ / "data"), IsEmpty());
  ASSERT_TRUE(Worked(WriteFile(root_ / "mnt/small", "fits")));
}

}  // namespace
}  // namespace sluice::test
