#include "sluice/cache/pooled_source.h"

#include <thread>
#include <utility>

#include "pool_tier.h"

namespace sluice::cache {
namespace {

class PooledSource final : public ChunkSource {
 public:
  explicit PooledSource(std::shared_ptr<PoolTier> tier) : tier_(std::move(tier)) {}
  ~PooledSource() override {
    if (clock_.joinable()) {
      clock_.request_stop();
      clock_.join();
    }
    tier_->Stop();
  }
  PooledSource(const PooledSource&) = delete;
  PooledSource& operator=(const PooledSource&) = delete;

  void Start() {
    clock_ = std::jthread([tier = tier_](const std::stop_token& stop) { tier->Run(stop); });
  }

  void FetchAsync(const OriginObject& object, std::uint64_t offset, std::uint64_t length,
                  Pattern pattern, ReadSink sink, ReadDone done) override {
    tier_->Fetch(object, {offset, offset + length}, pattern, std::move(sink), std::move(done));
  }
  [[nodiscard]] std::string Identity() const override { return tier_->Identity(); }

 private:
  const std::shared_ptr<PoolTier> tier_;
  std::jthread clock_;
};

}  // namespace

std::shared_ptr<ChunkSource> PooledSourceOf(std::shared_ptr<ChunkSource> behind,
                                            std::shared_ptr<ChunkPool> pool, PooledOptions options,
                                            platform::Metrics& metrics, const platform::Log& log) {
  auto source = std::make_shared<PooledSource>(std::make_shared<PoolTier>(
      std::move(behind), std::move(pool), std::move(options), metrics, log));
  source->Start();
  return source;
}

}  // namespace sluice::cache
