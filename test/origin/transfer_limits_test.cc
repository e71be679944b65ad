// How hard an origin is worked: connections and bytes a second, as a mount's options say.
#include <atomic>
#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sluice/origin/make_origin.h"

#include "bandwidth_limit.h"
#include "fake_server.h"
#include "ranged_server.h"
#include "read_all.h"

namespace sluice::origin {
namespace {

using test::FakeRequest;
using test::FakeServer;
using test::Object;
using test::Partial;
using test::Pattern;
using test::RangeOf;
using ::testing::AllOf;
using ::testing::Ge;
using ::testing::HasSubstr;
using ::testing::Le;
using ::testing::Not;

constexpr std::uint64_t kMiB = 1 << 20;
constexpr int kReaders = 4;

class TransferLimitsTest : public ::testing::Test {
 protected:
  Origin& Open(const std::string& mount_point, std::map<std::string, std::string> options) {
    MountConfig mount;
    mount.mount_point = mount_point;
    mount.options = std::move(options);
    OriginLimits limits;
    limits.stall_timeout = std::chrono::milliseconds(800);  // a reader waits longer for its turn
    auto origin = MakeOrigin(mount, limits, metrics_, log_);
    EXPECT_TRUE(origin) << origin.error().message;
    origin_ = std::move(*origin);
    return *origin_;
  }

  // Reads all of the object several times at once. Whatever the machine does, there are never more
  // bytes than the time allows.
  void ReadAtOnce(Origin& origin, const OriginObject& object) {
    const std::uint64_t burst = BandwidthLimit(kMiB).Burst();
    std::atomic<std::uint64_t> total = 0;
    std::atomic<bool> too_many = false;
    std::vector<std::string> read(kReaders);
    std::vector<std::promise<Status>> done(kReaders);
    const auto begin = std::chrono::steady_clock::now();
    for (std::size_t i = 0; i < kReaders; ++i) {
      origin.ReadAsync(
          object, 0, object.size,
          [&, i](std::span<const std::byte> part) {
            read[i].append(reinterpret_cast<const char*>(part.data()), part.size());
            const std::uint64_t now = total += part.size();
            const auto time = std::chrono::steady_clock::now() - begin;
            const double allowed =
                std::chrono::duration<double>(time).count() * static_cast<double>(kMiB);
            if (static_cast<double>(now) > allowed + static_cast<double>(burst)) too_many = true;
            return true;
          },
          [&, i](Status status) { done[i].set_value(std::move(status)); });
    }
    for (std::size_t i = 0; i < kReaders; ++i) {
      const Status status = done[i].get_future().get();
      EXPECT_TRUE(status) << status.error().message;
      EXPECT_TRUE(read[i] == bytes_);
    }
    EXPECT_FALSE(too_many);
    EXPECT_THAT(metrics_.Render(),
                AllOf(HasSubstr("sluice_origin_throttled_seconds_count"),
                      Not(HasSubstr("sluice_origin_throttled_seconds_count 0\n")),
                      Not(HasSubstr("stalled"))));
  }

  std::string bytes_;  // of the object
  platform::Metrics metrics_;
  platform::Log log_{"test", platform::LogLevel::kError};
  std::unique_ptr<FakeServer> server_;
  std::unique_ptr<Origin> origin_;
};

TEST_F(TransferLimitsTest, AServerIsReadNoFasterThanTheBandwidth) {
  bytes_ = Pattern(320'000);
  server_ = std::make_unique<FakeServer>(
      [this](const FakeRequest& r) { return Partial(bytes_, RangeOf(r)); });
  Origin& origin = Open("s3://bkt", {{"endpoint", server_->Endpoint()}, {"bandwidth", "1Mi"}});
  ReadAtOnce(origin, Object("a", bytes_.size()));
}

TEST_F(TransferLimitsTest, ADirectoryIsReadNoFasterThanTheBandwidth) {
  std::string pattern = (std::filesystem::temp_directory_path() / "sluice-limit-XXXXXX").string();
  const std::filesystem::path directory = ::mkdtemp(pattern.data());
  bytes_ = Pattern(320'000);
  std::ofstream(directory / "f") << bytes_;
  Origin& origin = Open("file://" + directory.string(), {{"bandwidth", "1Mi"}});
  const auto object = Find(origin, "f");
  ASSERT_TRUE(object) << object.error().message;
  ReadAtOnce(origin, *object);
  std::filesystem::remove_all(directory);
}

TEST_F(TransferLimitsTest, AReaderThatWaitsForItsTurnCanBeCancelled) {
  bytes_ = Pattern(4 << 20);
  server_ = std::make_unique<FakeServer>(
      [this](const FakeRequest& r) { return Partial(bytes_, RangeOf(r)); });
  Origin& origin = Open("s3://bkt", {{"endpoint", server_->Endpoint()}, {"bandwidth", "1Mi"}});
  std::promise<Status> done;
  std::uint64_t taken = 0;
  origin.ReadAsync(
      Object("a", bytes_.size()), 0, bytes_.size(),
      [&](std::span<const std::byte> part) { return (taken += part.size()) < 300'000; },
      [&](Status status) { done.set_value(std::move(status)); });
  EXPECT_THAT(done.get_future().get().error().message, HasSubstr("cancelled"));
  auto under_way = StartRead(origin, Object("a", bytes_.size()), 0, bytes_.size());
  origin_.reset();
  EXPECT_EQ(under_way.get().status.error().code, Code::kUnavailable);
}

TEST_F(TransferLimitsTest, AMountSaysHowManyConnections) {
  bytes_ = Pattern(4096);
  server_ = std::make_unique<FakeServer>(
      [this](const FakeRequest& r) { return Partial(bytes_, RangeOf(r)); });
  Origin& origin = Open("s3://bkt", {{"endpoint", server_->Endpoint()}, {"maxConnections", "2"}});
  std::vector<std::future<ReadResult>> reads;
  for (int i = 0; i < 32; ++i) reads.push_back(StartRead(origin, Object("a", 4096), 0, 4096));
  for (auto& read : reads) EXPECT_EQ(read.get().bytes, bytes_);
  EXPECT_THAT(server_->Connections(), AllOf(Ge(1U), Le(2U)));
}

TEST_F(TransferLimitsTest, WhatMakesNoSenseIsRefused) {
  MountConfig mount;
  mount.mount_point = "file:///tmp";
  mount.options = {{"bandwidth", "none"}};
  const auto origin = MakeOrigin(mount, {}, metrics_, log_);
  ASSERT_FALSE(origin);
  EXPECT_EQ(origin.error().code, Code::kInvalidArgument);
  EXPECT_THAT(origin.error().message, AllOf(HasSubstr("file:///tmp"), HasSubstr("bandwidth")));
}

}  // namespace
}  // namespace sluice::origin
