// A Holder with one connection in a temporary directory.
#pragma once

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <thread>

#include <gtest/gtest.h>

#include "sluice/broker/client.h"
#include "sluice/broker/holder.h"

namespace sluice::broker {

inline std::chrono::steady_clock::time_point In(std::chrono::milliseconds time) {
  return std::chrono::steady_clock::now() + time;
}

class HolderTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "sluice-broker-XXXXXX");
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
    StartHolder();
  }
  void TearDown() override {
    holder_.reset();
    std::filesystem::remove_all(directory_);
  }
  void StartHolder() {
    holder_.reset();
    holder_ = std::make_unique<Holder>(platform::Log("test", platform::LogLevel::kError), metrics_);
    ASSERT_TRUE(holder_->Start().has_value());
  }
  // /dev/null stands for a device where no ioctl on it is needed.
  ConnectionSpec Spec() {
    ConnectionSpec spec;
    spec.id = "c";
    spec.directory = directory_;
    spec.mount_point = "/";
    spec.device = platform::UniqueFd(::open("/dev/null", O_RDWR | O_CLOEXEC));
    return spec;
  }
  std::string Socket() const { return (directory_ / "s").string(); }
  platform::UniqueFd RawClient() {
    platform::UniqueFd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    Socket().copy(address.sun_path, sizeof(address.sun_path) - 1);
    if (::connect(fd.Get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) {
      fd.Reset();
    }
    const timeval limit = {.tv_sec = 5, .tv_usec = 0};
    ::setsockopt(fd.Get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    return fd;
  }
  // Polls until the condition holds, at most five seconds.
  template <typename F>
  static bool Eventually(F&& condition) {
    for (const auto end = In(std::chrono::seconds(5)); std::chrono::steady_clock::now() < end;) {
      if (condition()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    return false;
  }

  std::filesystem::path directory_;
  platform::Metrics metrics_;
  std::unique_ptr<Holder> holder_;
};

}  // namespace sluice::broker
