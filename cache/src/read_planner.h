// What to fetch for one object, from the reads seen so far. Pure: no I/O, no clock, no lock.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "geometry.h"

namespace sluice::cache {

// Follows several streams of sequential reads through one object. A stream has a window: how far
// ahead of the reader to fetch. It starts at first_window, doubles while the reader consumes it,
// and halves when the reader jumps or memory is short. A read that continues no stream is random:
// only its own blocks are fetched, until a second read next to it shows a stream.
//
// All ranges returned lie within the object and begin and end at block boundaries (or its end).
class ReadPlanner {
 public:
  struct Options {
    std::uint64_t object_size = 0;
    std::uint64_t fetch_bytes = 4ULL << 20;  // largest range; a multiple of the block
    std::uint64_t first_window = 1ULL << 20;
    std::uint64_t forward_tolerance = 16ULL << 20;  // a jump so far ahead stays in its stream
    std::uint64_t backward_tolerance = 1ULL << 20;
    std::uint64_t small_object = 4ULL << 20;  // up to this size one read wants all of it
    std::size_t max_streams = 16;             // the one not read for longest is forgotten
  };
  struct Access {
    Range fetch;              // to fetch if the read misses: its blocks, and more in a stream
    bool sequential = false;  // continues a stream: its data will hardly be read again
    // Stands where its stream does, or begins at the beginning: what follows will be read. Who
    // jumps on within its stream, as a reader of columns does, wants no more than it asks for.
    bool reads_on = false;
    bool seek = false;  // jumped: ranges that Wants() denies now need not arrive
  };

  explicit ReadPlanner(const Options& options) : options_(options) {}

  // A read of [offset, offset + size) within the object, size > 0. Windows grow up to max_window.
  Access OnRead(std::uint64_t offset, std::uint64_t size, std::uint64_t max_window);

  // The next range to fetch ahead with windows cut to max_window, each range once; the stream read
  // last comes first. Nothing: everything wanted now has been handed out.
  std::optional<Range> NextAhead(std::uint64_t max_window);

  // This range is being fetched for another reason; do not hand it out.
  void OnFetch(const Range& range);

  // Memory is short: every window halves, down to first_window.
  void OnPressure();

  // Whether some stream is about to read in this range.
  [[nodiscard]] bool Wants(const Range& range) const;

  // Whether reading looks like a load of the whole object.
  [[nodiscard]] bool WantsWholeObject() const;

  [[nodiscard]] std::uint64_t WindowBytes() const;  // of all streams together
  [[nodiscard]] std::size_t StreamCount() const;    // those with a window

 private:
  struct Stream {
    std::uint64_t next = 0;       // where the reader has got to
    std::uint64_t issued = 0;     // up to here everything was handed out
    std::uint64_t window = 0;     // 0: one lone read so far
    std::uint64_t consumed = 0;   // since the window last grew
    std::uint64_t inherited = 0;  // the window to begin with when a second read follows
  };

  Stream* Match(std::uint64_t offset);
  void Advance(Stream& stream, const Range& read, std::uint64_t max_window);
  Stream& Begin(std::uint64_t offset);
  [[nodiscard]] Range FetchFor(const Stream& stream, std::uint64_t offset,
                               std::uint64_t size) const;

  Options options_;
  std::vector<Stream> streams_;  // most recently read first
  std::uint64_t sequential_bytes_ = 0;
};

}  // namespace sluice::cache
