// The pool of a dataset's cache workers, each of them a memcached that has the meta commands (run
// against 1.6.18). Which worker has a key depends on the workers' names alone; how, and what goes
// over the wire, is in docs/pool.md.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "sluice/core/pool_members.h"
#include "sluice/platform/log.h"
#include "sluice/platform/metrics.h"
#include "sluice/ports/chunk_pool.h"

namespace sluice::pool {

// Bounds of one client. The defaults suit chunks of 1 to 8 MiB in one cluster.
struct PoolOptions {
  unsigned loops = 2;             // threads; a worker's connections stay on one
  unsigned connections = 4;       // to one worker, at most; further ones when all are busy
  unsigned pipelined = 4;         // operations on one connection at a time
  std::size_t max_pending = 256;  // operations of one worker; further ones are refused
  std::chrono::milliseconds connect_timeout{200};  // per address
  // Until a name is resolved, and until a connected worker says its settings.
  std::chrono::milliseconds greeting_timeout{1'000};
  std::chrono::milliseconds queue_timeout{2'000};  // of an operation, until it is sent
  // Without a byte on a connection that has something under way. Many may share it, so who is slow
  // but gets on is left alone.
  std::chrono::milliseconds operation_timeout{2'000};
  std::chrono::milliseconds operation_limit{20'000};  // of one operation, in all
  // A connection without an operation is closed after so long, unless it is the worker's only one.
  std::chrono::milliseconds idle_timeout{60'000};
  // For so long nobody else is asked to fill a key, unless the lease is renewed; a worker's clock
  // may take up to a second of it. Who dies while it fills holds the others up for so long.
  std::chrono::seconds lease{3};
  std::chrono::seconds keep{0};  // of values; 0: until evicted. At most 30 days.
  // For so long after the list of workers changed, what a key's worker has not got is looked for
  // where it was before.
  std::chrono::seconds grace{300};
  // A worker that failed is left out for a while, doubling; the next worker of a key stands in.
  unsigned failures_to_leave_out = 3;
  std::chrono::milliseconds first_left_out{1'000};
  std::chrono::milliseconds longest_left_out{30'000};
  // "user:password" in the first line, read at each connect; empty: workers that want it are of no
  // use. It is given only to a worker that asks for it.
  std::string credentials_file{};
  // TLS with every worker, by the files ca.crt, tls.crt and tls.key of this directory, which are
  // read at each connect, so that renewed ones are used by the next connection; empty: none.
  // Handshake and greeting together have greeting_timeout.
  std::string tls_directory{};
  // A worker's certificate must name "<its name>.<tls_domain>", or just its name when this is
  // empty. A worker whose certificate ends within 30 days is told to load its files anew.
  std::string tls_domain{};
};

class MemcachedPool final : public ChunkPool {
 public:
  // Starts the threads; there are no workers yet. `metrics` must outlive the pool.
  MemcachedPool(const PoolOptions& options, platform::Metrics& metrics, platform::Log log);
  // Answers what is under way by kUnavailable. Not from a callback.
  ~MemcachedPool() override;
  MemcachedPool(const MemcachedPool&) = delete;
  MemcachedPool& operator=(const MemcachedPool&) = delete;

  // Replaces the list of workers, as ParsePoolMembers gives it. Who stays with name and address
  // keeps its connections; who is gone ends what it has under way. Threads: any.
  void SetMembers(const std::vector<PoolMember>& members);

  void Get(const std::string& key, std::span<std::byte> into, OnMiss on_miss,
           GetDone done) override;
  void Renew(const std::string& key, const PoolVersion& lease, RenewDone done) override;
  void Put(const std::string& key, const PoolVersion& lease, std::span<const std::byte> value,
           std::uint32_t checksum, Done done) override;
  void Drop(const std::string& key, const PoolVersion& version,
            std::function<void()> done) override;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sluice::pool
