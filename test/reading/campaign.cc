#include "campaign.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <iostream>
#include <numeric>
#include <span>
#include <stop_token>
#include <thread>
#include <utility>

#include <fmt/format.h>

namespace sluice::reading_model {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;

constexpr std::size_t kNodes = 2;
constexpr std::size_t kWorkersOfNode = 8;
constexpr unsigned kOriginThreads = 6;
constexpr std::uint64_t kRoundOperations = 1000;
constexpr std::uint64_t kTellEvery = 50;  // rounds
// What a read may take, its own deadline included, and what becoming quiet may.
constexpr seconds kPatience{120};
constexpr seconds kNoDeadline{90};
constexpr milliseconds kShortDeadline{600};

}  // namespace

Campaign::Campaign(const CampaignOptions& options, const std::filesystem::path& directory)
    : options_(options),
      random_(options.seed),
      faults_(options.seed, options.without),
      model_(options.seed),
      origin_(std::make_shared<FaultyOrigin>(model_, faults_, kOriginThreads)),
      pool_(std::make_shared<FaultyPool>(faults_)),
      referee_(model_, *origin_),
      watch_(kPatience,
             [this] {
               std::string text = Table();
               for (const auto& node : nodes_) text += node->Describe();
               return text + fmt::format("origin: {} under way, pool: {} under way\n",
                                         origin_->UnderWay(), pool_->UnderWay());
             }),
      place_(watch_.Add()),
      disk_(faults_, directory),
      running_(kNodes, false) {
  for (std::size_t i = 0; i < kNodes; ++i) {
    nodes_.push_back(
        std::make_unique<Node>(directory / fmt::format("node-{}", i), origin_, pool_, faults_));
    for (std::size_t j = 0; j < kWorkersOfNode; ++j) {
      workers_.push_back(std::make_unique<Worker>(Mix(random_()), *nodes_.back(), model_, referee_,
                                                  faults_, watch_.Add()));
    }
  }
}

Campaign::~Campaign() = default;

void Campaign::Run() {
  while (operations_ < options_.operations && !referee_.Objects()) {
    Round();
    if (rounds_ % kTellEvery == 0) std::cout << operations_ << " operations" << std::endl;
  }
  if (!referee_.Objects()) ReadAll();
  faults_.ClearAll();
  for (std::size_t i = 0; i < kNodes; ++i) {
    if (running_[i]) StopNode(i);
  }
}

Campaign::Weather::Kind Campaign::DrawKind(std::uint64_t clear, std::uint64_t faults) {
  const std::uint64_t drawn = Draw(100);
  if (drawn < clear) return Weather::Kind::kClear;
  return drawn < clear + faults ? Weather::Kind::kFaults : Weather::Kind::kStorm;
}

void Campaign::Round() {
  ++rounds_;
  Weather weather;
  weather.origin = DrawKind(45, 47);
  weather.pool = DrawKind(25, 65);
  // A cache that cannot write leaves off for a second or more, which is a round.
  weather.disk = DrawKind(30, 60);
  weather.changes = Draw(100) < 60;
  weather.damage = Draw(100) < 40;
  StartNodes(weather);
  model_.BeginRound();
  origin_->BeginRound();
  Become(weather);
  {
    std::jthread vandal;
    if (weather.damage) {
      vandal = std::jthread([this](const std::stop_token& stop) { DamageFiles(stop); });
    }
    Work(std::min(kRoundOperations, options_.operations - operations_));
  }
  origin_->Recover();
  faults_.ClearAll();
  pool_->SetDown(false);
  if (Draw(2) == 0) {
    const std::size_t victim = Draw(kNodes);
    for (std::size_t i = 0; i < kWorkersOfNode; ++i) {
      workers_[victim * kWorkersOfNode + i]->LeaveReadsUnderWay();
    }
    StopNode(victim);
  }
  BecomeQuiet();
  CheckNodes();
}

// A storm at the origin is for readers that do not wait for its end; all others do.
void Campaign::StartNodes(const Weather& weather) {
  const bool storm = weather.origin == Weather::Kind::kStorm;
  for (std::size_t i = 0; i < kNodes; ++i) {
    const bool patient = nodes_[i]->StartedWith().read_deadline > kShortDeadline;
    if (running_[i] && patient == storm) {
      StopNode(i);
      BecomeQuiet();
    }
    if (running_[i]) continue;
    faults_.Set(Fault::kFileBesideItself, 4);
    faults_.Set(Fault::kDirectoryLost, 15);
    faults_.Set(Fault::kDirectoryBlocked, 25);
    nodes_[i]->Files().DamageAtRest();
    place_.Begin({"starts a node", {}, i, 0});
    nodes_[i]->Start(DrawTerms(weather));
    place_.End();
    running_[i] = true;
    ++starts_;
  }
}

Terms Campaign::DrawTerms(const Weather& weather) {
  Terms terms;
  terms.quota_bytes = (3 + Draw(24)) * kMiB;
  terms.unsynced_bytes = Draw(2) == 0 ? 0 : (4 + Draw(8)) * kMiB;
  terms.memory_budget_bytes = Draw(3) == 0 ? 32 * kMiB : 1;
  terms.fetch_bytes = 256 * kKiB << Draw(5);
  terms.read_deadline = weather.origin == Weather::Kind::kStorm ? kShortDeadline : kNoDeadline;
  terms.pooled = Draw(5) != 0;
  terms.encrypted = Draw(3) == 0;
  return terms;
}

// With reads under way. Once it is done, every one of them has ended.
void Campaign::StopNode(std::size_t index) {
  Node& node = *nodes_[index];
  const auto workers = std::span(workers_).subspan(index * kWorkersOfNode, kWorkersOfNode);
  const bool files_first = Draw(2) == 0;
  if (files_first) {
    for (const auto& worker : workers) worker->CloseAll();
  }
  place_.Begin({"stops a node", {}, index, 0});
  node.Stop();
  place_.End();
  if (node.outstanding != 0) {
    referee_.Object(
        fmt::format("{} reads have not ended with their reader", node.outstanding.load()));
  }
  // Answers and files may outlive it.
  for (const auto& worker : workers) {
    worker->DropAnswer();
    worker->CloseAll();
  }
  running_[index] = false;
}

void Campaign::Become(const Weather& weather) {
  BecomeFaulty(weather);
  const milliseconds time = kShortDeadline + milliseconds(Draw(600));
  if (weather.origin == Weather::Kind::kStorm) {
    Draw(2) == 0 ? origin_->BeDown(time) : origin_->Hang(time);
  }
  pool_->SetDown(weather.pool == Weather::Kind::kStorm && Draw(2) == 0);
}

void Campaign::BecomeFaulty(const Weather& weather) {
  struct Rate {
    Fault fault;
    Weather::Kind tier;
    std::uint64_t every;
    std::uint64_t every_in_a_storm;
  };
  const auto changes = weather.changes ? Weather::Kind::kFaults : Weather::Kind::kClear;
  const std::vector<Rate> rates = {
      {Fault::kOriginRefuses, weather.origin, 40, 8},
      {Fault::kOriginBreaksOff, weather.origin, 30, 8},
      {Fault::kOriginEndsShort, weather.origin, 150, 150},
      {Fault::kOriginGivesMore, weather.origin, 150, 150},
      {Fault::kOriginForbids, weather.origin, 150, 150},
      {Fault::kOriginIsSlow, weather.origin, 50, 30},
      {Fault::kObjectReplaced, changes, 150, 0},
      {Fault::kObjectRolledBack, changes, 400, 0},
      {Fault::kObjectDeleted, changes, 300, 0},
      {Fault::kObjectRestored, changes, 100, 0},
      {Fault::kPoolGetFails, weather.pool, 30, 5},
      {Fault::kPoolPutFails, weather.pool, 30, 5},
      {Fault::kPoolRenewFails, weather.pool, 30, 5},
      {Fault::kPoolMisses, weather.pool, 30, 5},
      {Fault::kPoolLosesValue, weather.pool, 30, 5},
      {Fault::kPoolSpoilsValue, weather.pool, 20, 3},
      {Fault::kPoolSpoilsChecksum, weather.pool, 20, 3},
      {Fault::kPoolScribbles, weather.pool, 4, 2},
      {Fault::kPoolForgetsPut, weather.pool, 150, 50},
      {Fault::kPoolForgetsDrop, weather.pool, 50, 10},
      {Fault::kPoolOtherClientDies, weather.pool, 300, 100},
      {Fault::kPoolKeepsWaiting, weather.pool, 200, 60},
      {Fault::kPoolIsSlow, weather.pool, 60, 20},
      {Fault::kDiskReadFails, weather.disk, 100, 3},
      {Fault::kDiskReadsShort, weather.disk, 20, 3},
      {Fault::kDiskWriteFails, weather.disk, 4000, 4},
      {Fault::kDiskIsFull, weather.disk, 4000, 4},
      {Fault::kDiskWriteTears, weather.disk, 4000, 4},
      {Fault::kDiskWritesShort, weather.disk, 20, 3},
      {Fault::kDiskWriteLies, weather.disk, 50, 10},
      {Fault::kDiskOpenFails, weather.disk, 400, 3},
      {Fault::kDiskRenameFails, weather.disk, 100, 3},
      {Fault::kDiskResizeFails, weather.disk, 400, 3},
      {Fault::kDiskProtectFails, weather.disk, 100, 3},
  };
  faults_.ClearAll();
  for (const Rate& rate : rates) {
    if (rate.tier == Weather::Kind::kClear) continue;
    faults_.Set(rate.fault,
                rate.tier == Weather::Kind::kStorm ? rate.every_in_a_storm : rate.every);
  }
}

void Campaign::Work(std::uint64_t operations) {
  std::atomic<std::uint64_t> begun = 0;
  std::vector<std::jthread> threads;
  for (const auto& worker : workers_) {
    threads.emplace_back([&, this] {
      while (begun++ < operations && !referee_.Objects()) worker->Step();
      worker->DropAnswer();
    });
  }
  threads.clear();
  operations_ += operations;
}

void Campaign::DamageFiles(const std::stop_token& stop) {
  // Not Draw(): that is the main thread's.
  while (!stop.stop_requested()) {
    Vandal& vandal = nodes_[faults_.Draw(kNodes)]->Files();
    if (faults_.Draw(300) == 0) {
      vandal.LoseDirectory();
    } else {
      vandal.DamageAFile();
    }
    std::this_thread::sleep_for(milliseconds(faults_.Draw(30)));
  }
}

// Reads that nobody waits for end, and so does filling, now that nothing fails any more; readers
// that are gone let go of what they had.
void Campaign::BecomeQuiet() {
  place_.Begin({"waits for quiet", {}, rounds_, 0});
  const auto quiet = [&] {
    for (std::size_t i = 0; i < kNodes; ++i) {
      if (running_[i] ? !nodes_[i]->Quiet() : !nodes_[i]->LetGo()) return false;
    }
    return origin_->UnderWay() == 0 && pool_->UnderWay() == 0;
  };
  const auto begin = steady_clock::now();
  while (!quiet()) std::this_thread::sleep_for(milliseconds(1));
  waited_ += steady_clock::now() - begin;
  place_.End();
}

void Campaign::CheckNodes() {
  for (std::size_t i = 0; i < kNodes; ++i) {
    if (!running_[i]) continue;
    if (auto excess = nodes_[i]->Excess()) referee_.Object(fmt::format("node {}: {}", i, *excess));
    const std::uint64_t bytes = nodes_[i]->DiskBytes();
    const std::uint64_t quota = nodes_[i]->StartedWith().quota_bytes;
    most_disk_bytes_ = std::max(most_disk_bytes_, bytes);
    most_over_quota_ = std::max(most_over_quota_, bytes - std::min(bytes, quota));
    const std::uint64_t counted = nodes_[i]->Stats().cached_bytes;
    most_uncounted_ = std::max(most_uncounted_, bytes - std::min(bytes, counted));
  }
}

// With nothing going wrong any more, everything can be read, everywhere.
void Campaign::ReadAll() {
  faults_.ClearAll();
  Weather clear;
  StartNodes(clear);
  faults_.ClearAll();
  for (std::size_t i = 0; i < model_.ObjectCount(); ++i) model_.Restore(i);
  model_.BeginRound();
  origin_->BeginRound();
  for (const auto& node : nodes_) {
    for (std::size_t i = 0; i < model_.ObjectCount(); ++i) {
      const Model::Seen seen = model_.Latest(i);
      const auto file = node->Open(seen.object);
      std::vector<std::byte> into(kMiB);
      const std::uint64_t end = std::min(seen.object.size, 80 * kMiB);
      for (std::uint64_t at = 0; at < end; at += kMiB) {
        place_.Begin({"reads all", seen.object.path, at, kMiB});
        const auto got = file->Read(at, into);
        const std::size_t wanted = std::min<std::uint64_t>(kMiB, seen.object.size - at);
        const bool right = got && *got == wanted &&
                           !model_.Bytes().Mismatch(seen.object, at, std::span(into).first(*got));
        if (!right) {
          referee_.Object(fmt::format("in the end, {} at {}: {}", seen.object.path, at,
                                      got ? "wrong bytes" : got.error().message));
        }
      }
    }
  }
  place_.End();
  BecomeQuiet();
  CheckNodes();
}

std::string Campaign::Table() const {
  std::string text = fmt::format("seed {}\n", options_.seed);
  const auto row = [&](std::string_view name, std::uint64_t value) {
    text += fmt::format("  {:<42}{:>14}\n", name, value);
  };
  row("operations", operations_);
  row("rounds", rounds_);
  row("starts of a node", starts_);
  row("reads answered with bytes", referee_.GoodReads());
  row("MiB of them", referee_.GoodBytes() / kMiB);
  row("reads of the origin", origin_->ReadCount());
  row("hits in the pool", pool_->Hits());
  const std::uint64_t disk_bytes = std::accumulate(
      nodes_.begin(), nodes_.end(), std::uint64_t{0}, [](std::uint64_t sum, const auto& node) {
        return sum + node->Metric("sluice_cache_hit_bytes_total", {{"tier", "disk"}});
      });
  row("MiB from the node caches", disk_bytes / kMiB);
  row("seconds of waiting for quiet",
      static_cast<std::uint64_t>(std::chrono::duration_cast<seconds>(waited_).count()));
  row("most MiB in a cache directory", most_disk_bytes_ / kMiB);
  row("most KiB there over the quota", most_over_quota_ / kKiB);
  row("most KiB there that were not counted", most_uncounted_ / kKiB);
  text += "found by the tiers:\n";
  const auto metric = [&](const std::string& name) {
    std::uint64_t sum = 0;
    for (const auto& node : nodes_) sum += node->Metric(name);
    row(name, sum);
  };
  metric("sluice_cache_corrupt_blocks_total");
  metric("sluice_cache_evicted_bytes_total");
  metric("sluice_cache_write_errors_total");
  metric("sluice_pooled_corrupt_chunks_total");
  metric("sluice_pooled_fills_total");
  metric("sluice_read_retries_total");
  text += "errors with a cause:\n";
  row("reader stopped", referee_.Stopped());
  for (std::size_t i = 0; i < kCodes; ++i) {
    const Code code = static_cast<Code>(i);
    if (referee_.Errors(code) > 0) row(CodeName(code), referee_.Errors(code));
  }
  text += "faults:\n";
  for (std::size_t i = 0; i < kFaultCount; ++i) {
    row(NameOf(static_cast<Fault>(i)), faults_.Count(static_cast<Fault>(i)));
  }
  return text;
}

}  // namespace sluice::reading_model
