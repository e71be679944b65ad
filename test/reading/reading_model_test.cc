// Reading, with every tier forced to fail at random: whatever happens, a read gives the bytes of
// the version that was opened, or an error that has a cause.
//
//   SLUICE_READING_SEED=N         draws all from N instead of a new number
//   SLUICE_READING_OPERATIONS=N   does so many instead of a few thousand
//   SLUICE_READING_WITHOUT=A,B    never does these faults, named as in the table at the end
#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "campaign.h"

namespace sluice::reading_model {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr std::uint64_t kUsualOperations = 2'500;
#else
constexpr std::uint64_t kUsualOperations = 12'000;
#endif

// After so many each fault has happened.
constexpr std::uint64_t kOperationsForAll = 200'000;

std::optional<std::string> Variable(const char* name) {
  const char* value = std::getenv(name);  // NOLINT(concurrency-mt-unsafe): before any thread
  return value == nullptr ? std::nullopt : std::optional<std::string>(value);
}

std::uint64_t NumberOf(const char* name, std::uint64_t otherwise) {
  const auto text = Variable(name);
  if (!text) return otherwise;
  std::uint64_t number = 0;
  const auto end = text->data() + text->size();
  const auto [at, error] = std::from_chars(text->data(), end, number);
  if (error == std::errc() && at == end && number > 0) return number;
  ADD_FAILURE() << name << ": '" << *text << "' is no number from 1 on";
  return otherwise;
}

std::vector<std::string> ListOf(const char* name) {
  std::vector<std::string> items;
  const std::string text = Variable(name).value_or("");
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t comma = std::min(text.find(',', at), text.size());
    items.push_back(text.substr(at, comma - at));
    at = comma + 1;
  }
  return items;
}

void ExpectAll(const Campaign& campaign) {
  for (std::size_t i = 0; i < kFaultCount; ++i) {
    const auto fault = static_cast<Fault>(i);
    EXPECT_GT(campaign.Count(fault), 0U) << NameOf(fault);
  }
}

// What the process holds.
std::size_t Entries(const char* directory) {
  const std::filesystem::directory_iterator all(directory);
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}
std::size_t Descriptors() { return Entries("/proc/self/fd"); }
std::size_t Threads() { return Entries("/proc/self/task"); }

class ReadingModelTest : public ::testing::Test {
 protected:
  ReadingModelTest() {
    std::string pattern =
        (std::filesystem::temp_directory_path() / "sluice-reading-XXXXXX").string();
    directory_ = mkdtemp(pattern.data());
  }
  ~ReadingModelTest() override {
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
  }

  std::filesystem::path directory_;
};

TEST_F(ReadingModelTest, EveryReadGivesTheBytesOfItsVersionOrAnErrorWithACause) {
  CampaignOptions options;
  options.seed = NumberOf("SLUICE_READING_SEED", std::random_device{}());
  options.operations = NumberOf("SLUICE_READING_OPERATIONS", kUsualOperations);
  options.without = ListOf("SLUICE_READING_WITHOUT");
  SCOPED_TRACE("SLUICE_READING_SEED=" + std::to_string(options.seed));
  std::cout << "SLUICE_READING_SEED=" << options.seed << std::endl;
  std::jthread([] {}).join();  // some runtimes begin a thread of their own with the first one
  const std::size_t descriptors = Descriptors();
  const std::size_t threads = Threads();
  {
    Campaign campaign(options, directory_);
    campaign.Run();
    std::cout << campaign.Table() << std::flush;
    for (const std::string& finding : campaign.Findings()) ADD_FAILURE() << finding;
    if (options.operations >= kOperationsForAll && options.without.empty()) ExpectAll(campaign);
  }
  EXPECT_EQ(Descriptors(), descriptors);
  // The kernel lists a thread for a moment after it was joined.
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (Threads() > threads && std::chrono::steady_clock::now() < end) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  EXPECT_LE(Threads(), threads);
}

}  // namespace
}  // namespace sluice::reading_model
