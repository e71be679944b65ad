// A Reader over a FakeOrigin, with a cache directory of its own.
#pragma once

#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "sluice/cache/reader.h"

#include "eventually.h"
#include "fake_origin.h"

namespace sluice::cache {

using sluice::test::Eventually;
using sluice::testing::Content;
using sluice::testing::FakeOrigin;
using sluice::testing::MakeContent;

inline constexpr std::uint64_t kKiB = 1024;
inline constexpr std::uint64_t kMiB = 1024 * kKiB;

class TempDirectory {
 public:
  TempDirectory() {
    std::string pattern = (std::filesystem::temp_directory_path() / "sluice-cache-XXXXXX").string();
    path_ = mkdtemp(pattern.data());
  }
  ~TempDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempDirectory(const TempDirectory&) = delete;
  TempDirectory& operator=(const TempDirectory&) = delete;
  [[nodiscard]] const std::filesystem::path& Path() const { return path_; }

  // Files of the cache with this suffix.
  [[nodiscard]] std::vector<std::filesystem::path> Files(const std::string& suffix) const {
    std::vector<std::filesystem::path> found;
    std::error_code ignored;
    for (const auto& item : std::filesystem::directory_iterator(path_ / "objects", ignored)) {
      if (item.path().extension() == suffix) found.push_back(item.path());
    }
    return found;
  }

 private:
  std::filesystem::path path_;
};

// The outcome of a ReadAsync.
class Pending {
 public:
  ReadCallback Callback() {
    return [state = state_](Result<Bytes> bytes) {
      std::lock_guard lock(state->mutex);
      ++state->calls;
      if (bytes) {
        state->content.resize(bytes->size());
        bytes->CopyTo(state->content);
      } else {
        state->error = bytes.error();
      }
      state->changed.notify_all();
    };
  }
  bool Wait(std::chrono::milliseconds at_most = std::chrono::seconds(20)) {
    std::unique_lock lock(state_->mutex);
    return state_->changed.wait_for(lock, at_most, [&] { return state_->calls > 0; });
  }
  bool Done() { return Wait(std::chrono::milliseconds(0)); }
  [[nodiscard]] const Content& Value() const { return state_->content; }
  [[nodiscard]] const std::optional<Error>& Failure() const { return state_->error; }
  [[nodiscard]] int Calls() const {
    std::lock_guard lock(state_->mutex);
    return state_->calls;
  }

 private:
  struct State {
    std::mutex mutex;
    std::condition_variable changed;
    int calls = 0;
    Content content;
    std::optional<Error> error;
  };
  std::shared_ptr<State> state_ = std::make_shared<State>();
};

class ReaderFixture : public ::testing::Test {
 protected:
  ReaderFixture() { options_.memory_budget_bytes = 64 * kMiB; }

  void StartReader() { reader_ = Reader::Start(options_, metrics_, log_); }
  void UseDisk() { options_.cache_directory = directory_.Path().string(); }
  std::shared_ptr<File> Open(const OriginObject& object) { return reader_->Open(source_, object); }
  static Content Slice(const Content& content, std::uint64_t offset, std::uint64_t size) {
    const auto begin = std::min<std::uint64_t>(offset, content.size());
    const auto end = std::min<std::uint64_t>(offset + size, content.size());
    return {content.begin() + static_cast<std::ptrdiff_t>(begin),
            content.begin() + static_cast<std::ptrdiff_t>(end)};
  }
  static Result<Content> ReadAt(File& file, std::uint64_t offset, std::uint64_t size) {
    Content content(size);
    auto n = file.Read(offset, content);
    if (!n) return Fail(n.error());
    content.resize(*n);
    return content;
  }
  static void ExpectBytes(File& file, const Content& content, std::uint64_t offset,
                          std::uint64_t size) {
    const auto got = ReadAt(file, offset, size);
    ASSERT_TRUE(got.has_value()) << got.error().message;
    ASSERT_EQ(got->size(), Slice(content, offset, size).size());
    ASSERT_TRUE(*got == Slice(content, offset, size)) << "wrong bytes at " << offset;
  }
  static void ExpectWholeFile(File& file, const Content& content, std::uint64_t step = kMiB) {
    for (std::uint64_t at = 0; at < content.size(); at += step) {
      ASSERT_NO_FATAL_FAILURE(ExpectBytes(file, content, at, step));
    }
  }
  // The value of a series in the exposition.
  [[nodiscard]] double Metric(const std::string& series) const {
    const std::string text = metrics_.Render();
    const auto at = text.find("\n" + series + " ");
    return at == std::string::npos ? 0 : std::stod(text.substr(at + series.size() + 2));
  }

  TempDirectory directory_;
  platform::Metrics metrics_;
  platform::Log log_{"test", platform::LogLevel::kError};
  std::shared_ptr<FakeOrigin> origin_ = std::make_shared<FakeOrigin>();
  std::shared_ptr<ChunkSource> source_ = SourceOf(origin_);
  ReaderOptions options_;
  std::unique_ptr<Reader> reader_;
};

}  // namespace sluice::cache
