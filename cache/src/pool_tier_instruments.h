// The series that the pool tier keeps.
#pragma once

#include "pool_tier.h"

namespace sluice::cache {

struct PoolTier::Instruments {
  explicit Instruments(platform::Metrics& metrics)
      : from_pool(metrics.AddCounter(kBytes, kBytesHelp, {{"from", "pool"}})),
        from_fill(metrics.AddCounter(kBytes, kBytesHelp, {{"from", "fill"}})),
        from_behind(metrics.AddCounter(kBytes, kBytesHelp, {{"from", "origin"}})),
        fills(metrics.AddCounter("sluice_pooled_fills_total",
                                 "Chunks read from the origin for the pool")),
        moved(metrics.AddCounter("sluice_pooled_moved_total",
                                 "Chunks copied from the worker that had them before another one")),
        filled_by_others(metrics.AddCounter(kWaits, kWaitsHelp, {{"end", "filled"}})),
        takeovers(metrics.AddCounter(kWaits, kWaitsHelp, {{"end", "takeover"}})),
        given_up(metrics.AddCounter(kWaits, kWaitsHelp, {{"end", "given_up"}})),
        corrupt(metrics.AddCounter("sluice_pooled_corrupt_chunks_total",
                                   "Chunks of the pool that failed their check")),
        lost_leases(metrics.AddCounter("sluice_pooled_lost_leases_total",
                                       "Leases that were over before their chunk was read")),
        get_errors(metrics.AddCounter(kErrors, kErrorsHelp, {{"call", "get"}})),
        put_errors(metrics.AddCounter(kErrors, kErrorsHelp, {{"call", "put"}})),
        buffers(metrics.AddGauge("sluice_pooled_buffer_bytes", "Memory of chunks")) {}

  static constexpr const char* kBytes = "sluice_pooled_read_bytes_total";
  static constexpr const char* kBytesHelp =
      "Bytes given to reads: out of the pool, while a chunk was read for the pool, or from the "
      "origin alone";
  static constexpr const char* kWaits = "sluice_pooled_waits_total";
  static constexpr const char* kWaitsHelp =
      "Chunks that another client was filling, by how waiting for them ended";
  static constexpr const char* kErrors = "sluice_pooled_errors_total";
  static constexpr const char* kErrorsHelp = "Calls that the pool failed";

  platform::Counter& from_pool;
  platform::Counter& from_fill;
  platform::Counter& from_behind;
  platform::Counter& fills;
  platform::Counter& moved;
  platform::Counter& filled_by_others;
  platform::Counter& takeovers;
  platform::Counter& given_up;
  platform::Counter& corrupt;
  platform::Counter& lost_leases;
  platform::Counter& get_errors;
  platform::Counter& put_errors;
  platform::Gauge& buffers;
};

}  // namespace sluice::cache
