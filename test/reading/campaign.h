// The whole proof: nodes, their workers, and rounds of weather over them.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "faults.h"
#include "faulty_disk.h"
#include "faulty_origin.h"
#include "faulty_pool.h"
#include "hang_watch.h"
#include "model.h"
#include "node.h"
#include "referee.h"
#include "worker.h"

namespace sluice::reading_model {

struct CampaignOptions {
  std::uint64_t seed = 0;
  std::uint64_t operations = 0;
  std::vector<std::string> without;  // faults
};

// A round goes: some nodes start anew, on what has become of their directories; the weather of each
// tier is drawn; workers operate; then the weather clears, and all must become quiet. Errors are
// judged by what was done in their own round.
class Campaign {
 public:
  Campaign(const CampaignOptions& options, const std::filesystem::path& directory);
  ~Campaign();
  Campaign(const Campaign&) = delete;
  Campaign& operator=(const Campaign&) = delete;

  // Until so many operations are done or something is wrong. At the end no reader is left.
  void Run();

  [[nodiscard]] std::vector<std::string> Findings() const { return referee_.Findings(); }
  // Operations, faults, and the errors that they have led to.
  [[nodiscard]] std::string Table() const;
  [[nodiscard]] std::uint64_t Count(Fault fault) const { return faults_.Count(fault); }

 private:
  // The weather of a round.
  struct Weather {
    enum class Kind : std::uint8_t { kClear, kFaults, kStorm };
    Kind origin = Kind::kClear;
    Kind pool = Kind::kClear;
    Kind disk = Kind::kClear;
    bool changes = false;  // of the objects
    bool damage = false;   // of files in use
  };

  std::uint64_t Draw(std::uint64_t bound) { return random_() % bound; }
  Weather::Kind DrawKind(std::uint64_t clear, std::uint64_t faults);
  void Round();
  void StartNodes(const Weather& weather);
  void StopNode(std::size_t index);
  Terms DrawTerms(const Weather& weather);
  void Become(const Weather& weather);
  void BecomeFaulty(const Weather& weather);
  void Work(std::uint64_t operations);
  void DamageFiles(const std::stop_token& stop);
  void BecomeQuiet();
  void CheckNodes();
  void ReadAll();

  const CampaignOptions options_;
  std::mt19937_64 random_;
  Faults faults_;
  Model model_;
  std::shared_ptr<FaultyOrigin> origin_;
  std::shared_ptr<FaultyPool> pool_;
  Referee referee_;
  std::vector<std::unique_ptr<Node>> nodes_;
  HangWatch watch_;
  HangWatch::Place& place_;
  FaultyDisk disk_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::vector<bool> running_;  // nodes
  std::uint64_t operations_ = 0;
  std::uint64_t rounds_ = 0;
  std::uint64_t starts_ = 0;
  std::uint64_t most_disk_bytes_ = 0;
  std::uint64_t most_over_quota_ = 0;
  std::uint64_t most_uncounted_ = 0;
  std::chrono::steady_clock::duration waited_{0};
};

}  // namespace sluice::reading_model
