#include "read_planner.h"

#include <algorithm>
#include <utility>

namespace sluice::cache {
namespace {

// A gap up to this is a reader skipping padding or the kernel reordering requests; beyond it the
// reader jumps, though it may stay in its stream.
constexpr std::uint64_t kAdjacent = 1ULL << 20;

// A window grows each time this part of it has been consumed: often enough to reach full speed
// within a few round trips, while one short burst does not run away.
constexpr std::uint64_t kGrowthDivisor = 4;

// After an eighth of the object has been read in sequence, within these bounds, or half of a small
// one, the rest is taken to follow.
constexpr std::uint64_t kWholeObjectLeast = 32ULL << 20;
constexpr std::uint64_t kWholeObjectMost = 256ULL << 20;

std::uint64_t Distance(std::uint64_t a, std::uint64_t b) { return a > b ? a - b : b - a; }

}  // namespace

ReadPlanner::Stream* ReadPlanner::Match(std::uint64_t offset) {
  auto best = streams_.end();
  for (auto it = streams_.begin(); it != streams_.end(); ++it) {
    const bool near = offset >= it->next ? offset - it->next <= options_.forward_tolerance
                                         : it->next - offset <= options_.backward_tolerance;
    if (!near) continue;
    if (best == streams_.end() || Distance(offset, it->next) < Distance(offset, best->next)) {
      best = it;
    }
  }
  if (best == streams_.end()) return nullptr;
  std::rotate(streams_.begin(), best, best + 1);
  return &streams_.front();
}

ReadPlanner::Stream& ReadPlanner::Begin(std::uint64_t offset) {
  Stream stream;
  stream.next = offset;
  stream.inherited = options_.first_window;
  // A reader that jumps and reads on keeps half of what it had earned.
  if (!streams_.empty()) {
    const Stream& last = streams_.front();
    stream.inherited = std::max(options_.first_window, std::max(last.window, last.inherited) / 2);
  }
  // Who begins at the beginning will read on.
  if (offset == 0) stream.window = options_.first_window;
  if (streams_.size() == options_.max_streams) streams_.pop_back();
  streams_.insert(streams_.begin(), stream);
  return streams_.front();
}

void ReadPlanner::Advance(Stream& stream, const Range& read, std::uint64_t max_window) {
  const std::uint64_t gap = read.begin > stream.next ? read.begin - stream.next : 0;
  if (gap > kAdjacent) {
    if (stream.window > 0) stream.window = std::max(options_.first_window, stream.window / 2);
    stream.consumed = 0;
  } else {
    const std::uint64_t fresh =
        read.end > stream.next ? std::min(read.Size(), read.end - stream.next) : 0;
    if (stream.window == 0 && fresh > 0) stream.window = stream.inherited;
    stream.consumed += fresh;
    sequential_bytes_ += fresh;
    if (stream.window > 0 && stream.consumed >= stream.window / kGrowthDivisor) {
      stream.consumed = 0;
      stream.window = std::max(options_.first_window, std::min(stream.window * 2, max_window));
    }
  }
  stream.next = std::max(stream.next, read.end);
}

Range ReadPlanner::FetchFor(const Stream& stream, std::uint64_t offset, std::uint64_t size) const {
  const std::uint64_t begin = AlignDown(offset, kBlockBytes);
  std::uint64_t end = AlignUp(offset + size, kBlockBytes);
  if (stream.window > 0) {
    std::uint64_t ahead = std::min(AlignDown(stream.next + stream.window, kBlockBytes),
                                   AlignDown(begin, options_.fetch_bytes) + options_.fetch_bytes);
    if (options_.object_size <= options_.small_object) ahead = options_.object_size;
    end = std::max(end, ahead);
  }
  return {begin, std::min(end, options_.object_size)};
}

ReadPlanner::Access ReadPlanner::OnRead(std::uint64_t offset, std::uint64_t size,
                                        std::uint64_t max_window) {
  Access access;
  Stream* stream = Match(offset);
  if (stream != nullptr) {
    access.seek = offset > stream->next + kAdjacent;
    Advance(*stream, {offset, offset + size}, max_window);
    access.sequential = stream->window > 0;
    access.reads_on = access.sequential && !access.seek;
  } else {
    access.seek = !streams_.empty();
    stream = &Begin(offset);
    access.reads_on = access.sequential = stream->window > 0;
    if (access.sequential) sequential_bytes_ += size;
    stream->next = offset + size;
  }
  access.fetch = FetchFor(*stream, offset, size);
  return access;
}

std::optional<Range> ReadPlanner::NextAhead(std::uint64_t max_window) {
  for (Stream& stream : streams_) {
    const std::uint64_t window = std::min(stream.window, max_window);
    if (window == 0) continue;
    const std::uint64_t limit = std::min(options_.object_size, stream.next + window);
    const std::uint64_t begin = std::max(stream.issued, AlignDown(stream.next, kBlockBytes));
    if (begin >= limit) continue;
    const std::uint64_t boundary = AlignDown(begin, options_.fetch_bytes) + options_.fetch_bytes;
    std::uint64_t end = std::min(boundary, limit);
    if (end < boundary && end < options_.object_size) {
      // The window moves with every read; wait until a range worth a request has come into it.
      end = AlignDown(end, kBlockBytes);
      const std::uint64_t grain =
          std::clamp(AlignDown(window / 2, kBlockBytes), kBlockBytes, options_.fetch_bytes);
      if (end < begin + grain) continue;
    }
    stream.issued = end;
    return Range{begin, end};
  }
  return std::nullopt;
}

void ReadPlanner::OnFetch(const Range& range) {
  for (Stream& stream : streams_) {
    const std::uint64_t at = std::max(stream.issued, AlignDown(stream.next, kBlockBytes));
    if (at >= range.begin && at < range.end) stream.issued = range.end;
    // A demand read ends inside its own range, so the stream may already stand at its end.
    if (stream.next >= range.begin && stream.next <= range.end) {
      stream.issued = std::max(stream.issued, range.end);
    }
  }
}

void ReadPlanner::OnPressure() {
  for (Stream& stream : streams_) {
    if (stream.window > 0) stream.window = std::max(options_.first_window, stream.window / 2);
    stream.consumed = 0;
  }
}

bool ReadPlanner::Wants(const Range& range) const {
  return std::any_of(streams_.begin(), streams_.end(), [&](const Stream& stream) {
    if (stream.window == 0) return false;
    const std::uint64_t behind =
        stream.next > options_.backward_tolerance ? stream.next - options_.backward_tolerance : 0;
    return range.end > behind && range.begin < stream.next + stream.window;
  });
}

bool ReadPlanner::WantsWholeObject() const {
  if (streams_.empty()) return false;
  if (options_.object_size <= options_.small_object) return true;
  const std::uint64_t share =
      std::clamp(options_.object_size / 8, kWholeObjectLeast, kWholeObjectMost);
  return sequential_bytes_ >= std::min(share, options_.object_size / 2);
}

std::uint64_t ReadPlanner::WindowBytes() const {
  std::uint64_t sum = 0;
  for (const Stream& stream : streams_) sum += stream.window;
  return sum;
}

std::size_t ReadPlanner::StreamCount() const {
  return static_cast<std::size_t>(std::count_if(streams_.begin(), streams_.end(),
                                                [](const Stream& s) { return s.window > 0; }));
}

}  // namespace sluice::cache
