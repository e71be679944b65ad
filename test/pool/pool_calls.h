// Calls of a ChunkPool that wait for their answer.
#pragma once

#include <chrono>
#include <cstdint>
#include <cstring>
#include <functional>
#include <future>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "sluice/pool/memcached_pool.h"
#include "sluice/ports/chunk_pool.h"

namespace sluice::test {

using Bytes = std::vector<std::byte>;

constexpr std::chrono::seconds kNoAnswer{60};

// Pseudo-random but reproducible.
inline Bytes MakeBytes(std::size_t size, std::uint64_t seed) {
  std::vector<std::uint64_t> words(size / sizeof(std::uint64_t) + 1);
  std::uint64_t state = seed * 0x9e3779b97f4a7c15ULL + 1;
  for (std::uint64_t& word : words) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    word = state ^ (state >> 29);
  }
  Bytes bytes(size);
  if (size > 0) std::memcpy(bytes.data(), words.data(), size);
  return bytes;
}

// The tests' machine may be busy: what is not about time is not to fail by it.
inline pool::PoolOptions Patient() {
  pool::PoolOptions options;
  options.connect_timeout = std::chrono::seconds(10);
  options.greeting_timeout = std::chrono::seconds(15);
  options.queue_timeout = std::chrono::seconds(30);
  options.operation_timeout = std::chrono::seconds(30);
  options.operation_limit = std::chrono::seconds(55);
  return options;
}
using ChangeOptions = std::function<void(pool::PoolOptions&)>;

// kInternal when there was no callback at all.
inline Result<PoolAnswer> Get(ChunkPool& pool, const std::string& key, std::span<std::byte> into,
                              ChunkPool::OnMiss on_miss) {
  auto promise = std::make_shared<std::promise<Result<PoolAnswer>>>();
  auto future = promise->get_future();
  pool.Get(key, into, on_miss,
           [promise](Result<PoolAnswer> answer) { promise->set_value(std::move(answer)); });
  if (future.wait_for(kNoAnswer) == std::future_status::ready) return future.get();
  return Fail(Code::kInternal, "no callback of Get " + key);
}

inline Status Put(ChunkPool& pool, const std::string& key, const PoolVersion& lease,
                  std::span<const std::byte> value, std::uint32_t checksum) {
  auto promise = std::make_shared<std::promise<Status>>();
  auto future = promise->get_future();
  pool.Put(key, lease, value, checksum,
           [promise](Status status) { promise->set_value(std::move(status)); });
  if (future.wait_for(kNoAnswer) == std::future_status::ready) return future.get();
  return Fail(Code::kInternal, "no callback of Put " + key);
}

inline Result<PoolVersion> Renew(ChunkPool& pool, const std::string& key,
                                 const PoolVersion& lease) {
  auto promise = std::make_shared<std::promise<Result<PoolVersion>>>();
  auto future = promise->get_future();
  pool.Renew(key, lease,
             [promise](Result<PoolVersion> renewed) { promise->set_value(std::move(renewed)); });
  if (future.wait_for(kNoAnswer) == std::future_status::ready) return future.get();
  return Fail(Code::kInternal, "no callback of Renew " + key);
}

// False when there was no callback.
inline bool Drop(ChunkPool& pool, const std::string& key, const PoolVersion& version) {
  auto promise = std::make_shared<std::promise<void>>();
  auto future = promise->get_future();
  pool.Drop(key, version, [promise] { promise->set_value(); });
  return future.wait_for(kNoAnswer) == std::future_status::ready;
}

inline PoolAnswer::Kind KindOf(const Result<PoolAnswer>& answer) {
  return answer.value_or(PoolAnswer{}).kind;
}

// Takes the lease and stores; false when either was not to be had.
inline bool Fill(ChunkPool& pool, const std::string& key, std::span<const std::byte> value,
                 std::uint32_t checksum) {
  Bytes into(value.size());
  const auto answer = Get(pool, key, into, ChunkPool::OnMiss::kLease);
  if (!answer || answer->kind != PoolAnswer::Kind::kFill) return false;
  return Put(pool, key, answer->lease, value, checksum).has_value();
}

}  // namespace sluice::test
