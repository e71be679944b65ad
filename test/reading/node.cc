#include "node.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <algorithm>
#include <fstream>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "sluice/platform/unique_fd.h"
#include "sluice/pool/encrypted_pool.h"

#include "damaged_files.h"

namespace sluice::reading_model {
namespace {

constexpr std::uint64_t kLeastBuffers = 16 * kMiB;  // ReaderOptions::memory_budget_bytes
constexpr std::uint64_t kPoolMemory = 8 * kMiB;
constexpr std::chrono::milliseconds kMostWait{250};  // more than a lease of the pool
constexpr std::chrono::milliseconds kRenewEvery{5};  // leases are short here (faulty_pool.h)
constexpr std::uint64_t kStatBlockBytes = 512;

}  // namespace

Node::Node(std::filesystem::path directory, std::shared_ptr<FaultyOrigin> origin,
           std::shared_ptr<FaultyPool> pool, Faults& faults)
    : directory_(std::move(directory)),
      key_file_(directory_.parent_path() / "pool-key"),
      origin_(std::move(origin)),
      pool_(std::move(pool)),
      faults_(faults),
      vandal_(faults, directory_) {
  std::ofstream(key_file_) << std::string(64, 'a') << '\n';
}

void Node::Start(const Terms& terms) {
  terms_ = terms;
  ForgetDamageBelow(directory_);
  source_ = cache::SourceOf(origin_);
  if (terms.pooled) {
    std::shared_ptr<ChunkPool> pool = pool_;
    if (terms.encrypted) pool = pool::EncryptedPoolOf(std::move(pool), key_file_, metrics_, log_);
    source_ = cache::PooledSourceOf(std::move(source_), std::move(pool),
                                    {.dataset_uid = "model",
                                     .memory_bytes = kPoolMemory,
                                     .renew_every = kRenewEvery,
                                     .most_wait = kMostWait,
                                     .keep = std::chrono::milliseconds(500)},
                                    metrics_, log_);
  }
  cache::ReaderOptions options;
  options.cache_directory = directory_.string();
  options.quota_bytes = terms.quota_bytes;
  options.unsynced_bytes = terms.unsynced_bytes;
  options.memory_budget_bytes = terms.memory_budget_bytes;
  options.fetch_bytes = terms.fetch_bytes;
  options.read_deadline = terms.read_deadline;
  stopping_ = false;
  reader_ = cache::Reader::Start(options, metrics_, log_);
}

// Either may be the last owner of the source.
void Node::Stop() {
  stopping_ = true;
  if (faults_.Draw(2) == 0) source_.reset();
  reader_.reset();
  source_.reset();
}

std::shared_ptr<cache::File> Node::Open(const OriginObject& object) {
  return reader_->Open(source_, object);
}

bool Node::Quiet() const {
  const auto fetches = [&](const char* kind) {
    return metrics_.AddGauge("sluice_fetches_in_flight", "", {{"kind", kind}}).Value();
  };
  return outstanding == 0 && fetches("demand") == 0 && fetches("prefetch") == 0;
}

std::optional<std::string> Node::Excess() const {
  const std::uint64_t buffers = std::max(kLeastBuffers, terms_.memory_budget_bytes / 4 * 3);
  const cache::ReaderStats stats = Stats();
  if (stats.memory_bytes > buffers) {
    return fmt::format("{} bytes of memory, {} are allowed", stats.memory_bytes, buffers);
  }
  const double chunks = metrics_.AddGauge("sluice_pooled_buffer_bytes", "").Value();
  if (chunks > static_cast<double>(kPoolMemory)) {
    return fmt::format("{} bytes of chunks, {} are allowed", chunks, kPoolMemory);
  }
  return std::nullopt;
}

std::uint64_t Node::DiskBytes() const {
  std::uint64_t sum = 0;
  std::error_code error;
  for (std::filesystem::directory_iterator it(directory_ / "objects", error), end;
       !error && it != end; it.increment(error)) {
    struct stat info {};
    const bool data = it->path().extension() != ".index";
    if (data && lstat(it->path().c_str(), &info) == 0) {
      sum += static_cast<std::uint64_t>(info.st_blocks) * kStatBlockBytes;
    }
  }
  return sum;
}

bool Node::LetGo() const {
  const platform::UniqueFd lock(open((directory_ / "lock").c_str(), O_RDWR | O_CLOEXEC));
  return !lock.Valid() || flock(lock.Get(), LOCK_EX | LOCK_NB) == 0;
}

std::uint64_t Node::Metric(const std::string& name, const platform::Labels& labels) const {
  return metrics_.AddCounter(name, "", labels).Value();
}

std::string Node::Describe() const {
  return fmt::format("node {}: {} reads outstanding, metrics:\n{}", directory_.filename().string(),
                     outstanding.load(), metrics_.Render());
}

}  // namespace sluice::reading_model
