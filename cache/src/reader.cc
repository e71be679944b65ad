#include "sluice/cache/reader.h"

#include <algorithm>
#include <cstring>
#include <future>
#include <utility>

#include "engine.h"

namespace sluice::cache {
namespace {

class OpenObject final : public File {
 public:
  OpenObject(std::shared_ptr<Engine> engine, std::shared_ptr<LiveObject> object)
      : engine_(std::move(engine)), object_(std::move(object)) {}
  ~OpenObject() override { engine_->Close(*object_); }
  OpenObject(const OpenObject&) = delete;
  OpenObject& operator=(const OpenObject&) = delete;

  void ReadAsync(std::uint64_t offset, std::size_t size, ReadCallback done) override {
    engine_->Read(object_, offset, size, std::move(done));
  }
  Result<platform::UniqueFd> OpenComplete(std::chrono::milliseconds patience) override {
    return engine_->OpenComplete(object_, patience);
  }
  Prefetched Prefetch() override { return engine_->Prefetch(object_); }
  [[nodiscard]] std::uint64_t CachedBytes() const override {
    return engine_->CachedBytes(*object_);
  }
  [[nodiscard]] bool Stale() const override { return engine_->Stale(*object_); }
  [[nodiscard]] const OriginObject& Object() const override { return object_->info; }

 private:
  std::shared_ptr<Engine> engine_;
  std::shared_ptr<LiveObject> object_;
};

class OriginSource final : public ChunkSource {
 public:
  explicit OriginSource(std::shared_ptr<Origin> origin)
      : origin_(std::move(origin)), identity_(origin_->Identity()) {}

  void FetchAsync(const OriginObject& object, std::uint64_t offset, std::uint64_t length,
                  Pattern /*pattern*/, ReadSink sink, ReadDone done) override {
    origin_->ReadAsync(object, offset, length, std::move(sink), std::move(done));
  }
  [[nodiscard]] std::string Identity() const override { return identity_; }

 private:
  std::shared_ptr<Origin> origin_;
  std::string identity_;
};

}  // namespace

std::shared_ptr<ChunkSource> SourceOf(std::shared_ptr<Origin> origin) {
  return std::make_shared<OriginSource>(std::move(origin));
}

Bytes::Bytes(Bytes&& other) noexcept
    : engine_(std::move(other.engine_)),
      slots_(std::move(other.slots_)),
      segments_(std::move(other.segments_)),
      size_(std::exchange(other.size_, 0)) {
  other.engine_ = nullptr;
}

Bytes& Bytes::operator=(Bytes&& other) noexcept {
  if (this == &other) return *this;
  Release();
  engine_ = std::move(other.engine_);
  slots_ = std::move(other.slots_);
  segments_ = std::move(other.segments_);
  size_ = std::exchange(other.size_, 0);
  return *this;
}

Bytes::~Bytes() { Release(); }

void Bytes::Release() {
  if (const auto engine = std::exchange(engine_, nullptr)) engine->Unpin(slots_);
  slots_.clear();
  segments_.clear();
  size_ = 0;
}

std::size_t Bytes::CopyTo(std::span<std::byte> into) const {
  std::size_t copied = 0;
  for (const auto& segment : segments_) {
    const std::size_t n = std::min(segment.size(), into.size() - copied);
    if (n > 0) std::memcpy(into.data() + copied, segment.data(), n);
    copied += n;
  }
  return copied;
}

Result<std::size_t> File::Read(std::uint64_t offset, std::span<std::byte> into) {
  std::size_t total = 0;
  while (total < into.size()) {
    std::promise<Result<std::size_t>> answer;
    auto waiting = answer.get_future();
    ReadAsync(offset + total, into.size() - total, [&](Result<Bytes> bytes) {
      if (!bytes) {
        answer.set_value(Fail(bytes.error()));
        return;
      }
      answer.set_value(bytes->CopyTo(into.subspan(total)));
    });
    auto got = waiting.get();
    if (!got) return got;
    if (*got == 0) break;
    total += *got;
  }
  return total;
}

std::unique_ptr<Reader> Reader::Start(const ReaderOptions& options, platform::Metrics& metrics,
                                      const platform::Log& log) {
  auto engine = std::make_shared<Engine>(options, metrics, log);
  engine->Start();
  return std::unique_ptr<Reader>(new Reader(std::move(engine)));
}

Reader::Reader(std::shared_ptr<Engine> engine) : engine_(std::move(engine)) {}

Reader::~Reader() { engine_->Stop(); }

std::shared_ptr<File> Reader::Open(const std::shared_ptr<ChunkSource>& source,
                                   const OriginObject& object) {
  return std::make_shared<OpenObject>(engine_, engine_->Open(source, object));
}

void Reader::SetPinned(PinSet pinned) { engine_->SetPinned(std::move(pinned)); }

ReaderStats Reader::Stats() const { return engine_->Stats(); }

}  // namespace sluice::cache
