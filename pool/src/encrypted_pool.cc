#include "sluice/pool/encrypted_pool.h"

#include <chrono>
#include <deque>
#include <optional>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "sluice/platform/guarded.h"

#include "chunk_cipher.h"

namespace sluice::pool {
namespace {

using Steady = std::chrono::steady_clock;
using CipherPtr = std::shared_ptr<const ChunkCipher>;

constexpr std::chrono::seconds kPauseBetweenReads{1};  // of a key file that is of no use
constexpr std::size_t kMostPutBytes = 16U << 20;
constexpr std::chrono::seconds kLongestCall{10};  // none blocks, but a machine may be busy

// The cipher, once its key is there.
class KeyFile {
 public:
  KeyFile(std::string path, platform::Log log) : path_(std::move(path)), log_(std::move(log)) {}

  Result<CipherPtr> Cipher() {
    CipherPtr known;
    const Steady::time_point now = Steady::now();
    const bool due = state_.With([&](State& state) {
      known = state.cipher;
      if (known || now < state.read_after) return false;
      state.read_after = now + kPauseBetweenReads;
      return true;
    });
    if (known) return known;
    if (!due) return Fail(Code::kUnavailable, "the key of the pool is not there yet");
    return Read();
  }

 private:
  struct State {
    CipherPtr cipher;
    Steady::time_point read_after;
    bool told = false;
  };

  Result<CipherPtr> Read() {
    const auto key = ReadChunkKey(path_);
    if (!key) {
      const bool first = state_.With([](State& state) { return !std::exchange(state.told, true); });
      if (first) {
        log_.Warn("the pool is not used until its key is there", {{"error", key.error().message}});
      }
      return Fail(Code::kUnavailable, key.error().message);
    }
    auto cipher = std::make_shared<const ChunkCipher>(*key);
    // Two threads may have read it, and the file may have changed between them: one key for all.
    return state_.With([&](State& state) {
      if (!state.cipher) state.cipher = cipher;
      return state.cipher;
    });
  }

  const std::string path_;
  const platform::Log log_;
  platform::Guarded<State> state_;
};

// As the workers know it.
std::string NameOf(const ChunkCipher& cipher, const std::string& key) {
  return fmt::format("{}.{}", cipher.KeyId(), key);
}

// The puts, so many bytes at a time. Lives as long as the pool's callbacks, which may be longer
// than the pool is this one's to call; and none of them may ever own it, since it must not end in
// one.
class Puts : public std::enable_shared_from_this<Puts> {
 public:
  struct Put {
    CipherPtr cipher;
    std::string name;
    PoolVersion lease;
    std::span<const std::byte> value;
    std::uint32_t checksum = 0;
    ChunkPool::Done done;
  };

  explicit Puts(ChunkPool& pool) {
    state_.With([&](State& state) { state.pool = &pool; });
  }

  void Add(Put put) {
    state_.With([&](State& state) { state.waiting.push_back(std::move(put)); });
    Go();
  }
  // The pool is not called any more. What waits is answered when what is under way has ended.
  void Close() {
    state_.With([](State& state) { state.pool = nullptr; });
    state_.WaitUntil(Steady::now() + kLongestCall,
                     [](const State& state) { return state.calling == 0; });
  }

 private:
  struct State {
    ChunkPool* pool = nullptr;  // null: closed
    unsigned calling = 0;       // threads within a call to it
    std::deque<Put> waiting;
    std::size_t under_way = 0;  // bytes
    bool going = false;         // a thread takes them off, and comes back for more
  };

  // A loop and no recursion, however soon the pool answers.
  void Go() {
    for (bool mine = false;; mine = true) {
      std::optional<Put> next;
      ChunkPool* pool = nullptr;
      state_.With([&](State& state) {
        if (!mine && state.going) return;
        const bool room = state.pool == nullptr || state.under_way == 0 ||
                          state.under_way + SizeOfNext(state) <= kMostPutBytes;
        state.going = !state.waiting.empty() && room;
        if (!state.going) return;
        pool = state.pool;
        if (pool != nullptr) ++state.calling;
        state.under_way += SizeOfNext(state);
        next = std::move(state.waiting.front());
        state.waiting.pop_front();
      });
      if (!next) return;
      Start(*std::move(next), pool);
      if (pool == nullptr) continue;
      const bool closed = state_.With([](State& state) {
        --state.calling;
        return state.pool == nullptr;
      });
      if (closed) state_.Notify();
    }
  }

  static std::size_t SizeOfNext(const State& state) {
    return state.waiting.empty() ? 0 : state.waiting.front().value.size();
  }

  void Start(Put put, ChunkPool* pool) {
    const std::size_t size = put.value.size();
    if (pool == nullptr) {
      return End(size, put.done, Fail(Code::kUnavailable, "the pool is shutting down"));
    }
    auto sealed =
        std::make_shared<std::vector<std::byte>>(put.value.size() + ChunkCipher::kOverhead);
    const Status status = put.cipher->Seal(put.name, put.value, put.checksum, *sealed);
    if (!status) return End(size, put.done, status);
    // The tag says more than a checksum, which would tell workers what is in it.
    constexpr std::uint32_t kNoChecksum = 0;
    pool->Put(put.name, put.lease, *sealed, kNoChecksum,
              [self = shared_from_this(), sealed, size, done = std::move(put.done)](
                  const Status& stored) { self->End(size, done, stored); });
  }

  void End(std::size_t size, const ChunkPool::Done& done, const Status& status) {
    state_.With([&](State& state) { state.under_way -= size; });
    done(status);
    Go();
  }

  platform::Guarded<State> state_;
};

class EncryptedPool final : public ChunkPool {
 public:
  EncryptedPool(std::shared_ptr<ChunkPool> pool, std::string key_file, platform::Metrics& metrics,
                platform::Log log)
      : pool_(std::move(pool)),
        key_(std::move(key_file), std::move(log)),
        puts_(std::make_shared<Puts>(*pool_)),
        forged_(metrics.AddCounter("sluice_pool_forged_values_total",
                                   "Values of the pool that the dataset's key did not make.")) {}

  ~EncryptedPool() override { puts_->Close(); }
  EncryptedPool(const EncryptedPool&) = delete;
  EncryptedPool& operator=(const EncryptedPool&) = delete;

  [[nodiscard]] std::size_t Room() const override { return pool_->Room() + ChunkCipher::kOverhead; }

  void Get(const std::string& key, std::span<std::byte> into, OnMiss on_miss,
           GetDone done) override {
    auto cipher = key_.Cipher();
    if (!cipher) return done(Fail(cipher.error()));
    if (into.size() <= Room()) {
      return done(
          Fail(Code::kInvalidArgument, "get from the pool: the buffer must hold more than Room()"));
    }
    const std::string name = NameOf(**cipher, key);
    const auto sealed = into.first(into.size() - pool_->Room());
    pool_->Get(name, into, on_miss,
               [cipher = *std::move(cipher), name, sealed, done = std::move(done),
                &forged = forged_](Result<PoolAnswer> answer) {
                 if (!answer || answer->kind != PoolAnswer::Kind::kHit) {
                   return done(std::move(answer));
                 }
                 const auto checksum = cipher->Open(name, sealed);
                 answer->checksum = checksum.value_or(0);
                 answer->forged = answer->forged || !checksum;
                 if (!checksum) forged.Add();
                 done(std::move(answer));
               });
  }

  void Renew(const std::string& key, const PoolVersion& lease, RenewDone done) override {
    auto cipher = key_.Cipher();
    if (!cipher) return done(Fail(cipher.error()));
    pool_->Renew(NameOf(**cipher, key), lease, std::move(done));
  }

  void Put(const std::string& key, const PoolVersion& lease, std::span<const std::byte> value,
           std::uint32_t checksum, Done done) override {
    auto cipher = key_.Cipher();
    if (!cipher) return done(Fail(cipher.error()));
    if (value.empty()) {
      return done(Fail(Code::kInvalidArgument, "put to the pool: the value must not be empty"));
    }
    std::string name = NameOf(**cipher, key);
    puts_->Add({.cipher = *std::move(cipher),
                .name = std::move(name),
                .lease = lease,
                .value = value,
                .checksum = checksum,
                .done = std::move(done)});
  }

  void Drop(const std::string& key, const PoolVersion& version,
            std::function<void()> done) override {
    auto cipher = key_.Cipher();
    if (!cipher) return done();
    pool_->Drop(NameOf(**cipher, key), version, std::move(done));
  }

 private:
  const std::shared_ptr<ChunkPool> pool_;
  KeyFile key_;
  const std::shared_ptr<Puts> puts_;
  platform::Counter& forged_;
};

}  // namespace

std::shared_ptr<ChunkPool> EncryptedPoolOf(std::shared_ptr<ChunkPool> pool, std::string key_file,
                                           platform::Metrics& metrics, platform::Log log) {
  return std::make_shared<EncryptedPool>(std::move(pool), std::move(key_file), metrics,
                                         std::move(log));
}

}  // namespace sluice::pool
