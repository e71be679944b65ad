// A directory of data, a mount point and a runtime directory of their own, and `sluice` on them.
#pragma once

#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "sluice/platform/mount.h"

#include "command.h"

namespace sluice::test {

namespace fs = std::filesystem;

inline std::string RandomBytes(std::size_t size, unsigned seed) {
  std::mt19937_64 random(seed);
  std::string bytes(size, '\0');
  for (std::size_t i = 0; i + 8 <= size; i += 8) {
    const std::uint64_t word = random();
    std::memcpy(bytes.data() + i, &word, 8);
  }
  return bytes;
}

inline void WriteBytes(const fs::path& path, const std::string& bytes) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << bytes;
}

inline std::string ReadBytes(const fs::path& path) {
  std::ostringstream bytes;
  bytes << std::ifstream(path, std::ios::binary).rdbuf();
  return std::move(bytes).str();
}

class MountedTest : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root to mount";
    std::string pattern = fs::temp_directory_path() / "sluice-cli-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    root_ = fs::canonical(pattern);
    for (const char* const name : {"run", "data", "mnt", "cache"}) {
      fs::create_directory(root_ / name);
    }
    variables_["SLUICE_RUN_DIR"] = root_ / "run/sluice";
  }
  void TearDown() override {
    if (root_.empty()) return;
    for (const auto& mount : Mounts()) {
      ::kill(mount.value("holderPid", 0), SIGTERM);
    }
    Eventually([&] { return Mounts().empty(); });
    const auto table = platform::MountTable();
    for (const auto& entry : *table) {
      if (entry.mount_point.starts_with(root_.string() + "/")) {
        (void)platform::UnmountAll(entry.mount_point, true);
      }
    }
    fs::remove_all(root_);
  }

  Outcome Sluice(std::vector<std::string> arguments,
                 std::chrono::milliseconds time = std::chrono::seconds(40)) {
    arguments.insert(arguments.begin(), std::string(SLUICE_BIN_DIR) + "/sluice");
    return RunCommand(arguments, variables_, time);
  }
  Outcome MountData(std::vector<std::string> more = {}) {
    std::vector<std::string> arguments = {"mount", "file://" + (root_ / "data").string(),
                                          root_ / "mnt"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return Sluice(arguments);
  }
  nlohmann::json Mounts() {
    const Outcome outcome = Sluice({"status", "--json"});
    return nlohmann::json::parse(outcome.output, nullptr, false);
  }
  nlohmann::json OnlyMount() {
    const auto list = Mounts();
    return list.is_array() && list.size() == 1 ? list[0] : nlohmann::json::object();
  }
  pid_t ClientPid() { return OnlyMount().value("pid", 0); }
  bool IsMounted() { return platform::FindMount(root_ / "mnt").has_value(); }
  // Forgets what the kernel has cached of this file.
  static void DropPages(const fs::path& path) {
    const platform::UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    ::posix_fadvise(file.Get(), 0, 0, POSIX_FADV_DONTNEED);
  }

  fs::path root_;
  Variables variables_;
};

}  // namespace sluice::test
