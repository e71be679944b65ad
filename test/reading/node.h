// One client of the cluster: a Reader over the node cache in a directory of its own, the pool and
// the origin, stacked as the FUSE client stacks them. It can be started again and again.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "sluice/cache/pooled_source.h"
#include "sluice/cache/reader.h"
#include "sluice/platform/log.h"
#include "sluice/platform/metrics.h"

#include "faulty_disk.h"
#include "faulty_origin.h"
#include "faulty_pool.h"

namespace sluice::reading_model {

// How a node is started.
struct Terms {
  std::uint64_t quota_bytes = 0;
  std::uint64_t unsynced_bytes = 0;
  std::uint64_t memory_budget_bytes = 0;
  std::uint64_t fetch_bytes = 0;
  std::chrono::milliseconds read_deadline{0};
  bool pooled = true;
  bool encrypted = false;  // what it gives to the pool
};

// Threads: any, but for Start and Stop, while which nobody may open.
class Node {
 public:
  Node(std::filesystem::path directory, std::shared_ptr<FaultyOrigin> origin,
       std::shared_ptr<FaultyPool> pool, Faults& faults);

  void Start(const Terms& terms);
  // With reads under way or without.
  void Stop();

  std::shared_ptr<cache::File> Open(const OriginObject& object);
  [[nodiscard]] const Terms& StartedWith() const { return terms_; }
  [[nodiscard]] bool Stopping() const { return stopping_; }
  [[nodiscard]] const std::filesystem::path& Directory() const { return directory_; }
  [[nodiscard]] Vandal& Files() { return vandal_; }

  // Reads that have not ended.
  std::atomic<std::int64_t> outstanding = 0;

  // Nothing is on its way.
  [[nodiscard]] bool Quiet() const;
  // What is more than it may be; nothing when all is well.
  [[nodiscard]] std::optional<std::string> Excess() const;
  // Of the files in the directory.
  [[nodiscard]] std::uint64_t DiskBytes() const;
  // Whether no process holds the directory.
  [[nodiscard]] bool LetGo() const;
  [[nodiscard]] cache::ReaderStats Stats() const { return reader_->Stats(); }
  [[nodiscard]] std::uint64_t Metric(const std::string& name,
                                     const platform::Labels& labels = {}) const;
  // For a report.
  [[nodiscard]] std::string Describe() const;

 private:
  const std::filesystem::path directory_;
  const std::filesystem::path key_file_;  // all nodes' own
  const std::shared_ptr<FaultyOrigin> origin_;
  const std::shared_ptr<FaultyPool> pool_;
  Faults& faults_;
  Vandal vandal_;
  mutable platform::Metrics metrics_;
  const platform::Log log_{"node", platform::LogLevel::kError};
  Terms terms_;
  std::shared_ptr<cache::ChunkSource> source_;
  std::unique_ptr<cache::Reader> reader_;
  std::atomic<bool> stopping_ = false;
};

}  // namespace sluice::reading_model
