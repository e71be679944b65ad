// The series that the engine keeps.
#pragma once

#include "engine.h"

namespace sluice::cache {

struct Engine::Instruments {
  explicit Instruments(platform::Metrics& metrics)
      : memory_hits(metrics.AddCounter(kHits, kHitsHelp, {{"tier", "memory"}})),
        disk_hits(metrics.AddCounter(kHits, kHitsHelp, {{"tier", "disk"}})),
        misses(metrics.AddCounter("sluice_cache_miss_bytes_total",
                                  "Bytes of reads that had to wait for the origin")),
        prefetched(
            metrics.AddCounter("sluice_prefetch_bytes_total", "Bytes fetched ahead of the reader")),
        not_stored(metrics.AddCounter("sluice_cache_skipped_bytes_total",
                                      "Fetched bytes not kept because the disk was too slow")),
        window(metrics.AddGauge("sluice_read_window_bytes", "Read-ahead windows, together")),
        buffers(metrics.AddGauge("sluice_buffer_bytes", "Buffers in use")),
        demand_fetches(metrics.AddGauge(kFetches, kFetchesHelp, {{"kind", "demand"}})),
        ahead_fetches(metrics.AddGauge(kFetches, kFetchesHelp, {{"kind", "prefetch"}})),
        waiting(metrics.AddGauge("sluice_reads_waiting", "Reads that wait for data or memory")),
        retries(metrics.AddCounter("sluice_read_retries_total",
                                   "Reads tried again after the origin failed")) {}

  static constexpr const char* kHits = "sluice_cache_hit_bytes_total";
  static constexpr const char* kHitsHelp = "Bytes of reads answered from this node";
  static constexpr const char* kFetches = "sluice_fetches_in_flight";
  static constexpr const char* kFetchesHelp = "Ranges on their way from the origin";

  platform::Counter& memory_hits;
  platform::Counter& disk_hits;
  platform::Counter& misses;
  platform::Counter& prefetched;
  platform::Counter& not_stored;
  platform::Gauge& window;
  platform::Gauge& buffers;
  platform::Gauge& demand_fetches;
  platform::Gauge& ahead_fetches;
  platform::Gauge& waiting;
  platform::Counter& retries;
};

}  // namespace sluice::cache
