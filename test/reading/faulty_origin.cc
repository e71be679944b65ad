#include "faulty_origin.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace sluice::reading_model {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr std::uint64_t kMostPiece = 128 * kKiB;
constexpr std::uint64_t kMostPauseMicros = 60'000;

}  // namespace

FaultyOrigin::FaultyOrigin(const Model& model, Faults& faults, unsigned threads)
    : model_(model), faults_(faults) {
  for (unsigned i = 0; i < threads; ++i) threads_.emplace_back([this] { Serve(); });
}

FaultyOrigin::~FaultyOrigin() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  threads_.clear();
}

void FaultyOrigin::BeDown(milliseconds time) {
  std::lock_guard lock(mutex_);
  down_until_ = steady_clock::now() + time;
}

void FaultyOrigin::Hang(milliseconds time) {
  std::lock_guard lock(mutex_);
  hangs_until_ = steady_clock::now() + time;
}

void FaultyOrigin::Recover() {
  {
    std::lock_guard lock(mutex_);
    down_until_ = hangs_until_ = {};
  }
  changed_.notify_all();
}

void FaultyOrigin::BeginRound() {
  std::lock_guard lock(mutex_);
  given_.clear();
  away_ = false;
}

bool FaultyOrigin::Gave(const std::string& path, Code code) const {
  std::lock_guard lock(mutex_);
  const auto found = given_.find(path);
  return found != given_.end() && found->second.contains(code);
}

bool FaultyOrigin::WasAway() const {
  std::lock_guard lock(mutex_);
  return away_;
}

std::size_t FaultyOrigin::UnderWay() const {
  std::lock_guard lock(mutex_);
  return under_way_;
}

std::uint64_t FaultyOrigin::ReadCount() const {
  std::lock_guard lock(mutex_);
  return reads_;
}

Result<Listing> FaultyOrigin::List() {
  Listing listing;
  for (std::size_t i = 0; i < model_.ObjectCount(); ++i) {
    listing.objects.push_back(model_.Latest(i).object);
  }
  return listing;
}

void FaultyOrigin::ReadAsync(const OriginObject& object, std::uint64_t offset, std::uint64_t length,
                             ReadSink sink, ReadDone done) {
  Read read{object, offset, length, std::move(sink), std::move(done)};
  bool down = false;
  {
    std::lock_guard lock(mutex_);
    ++under_way_;
    ++reads_;
    down = steady_clock::now() < down_until_;
  }
  // Some are refused from within the call.
  const bool at_once = faults_.Draw(2) == 0;
  if (at_once && down && faults_.Make(Fault::kOriginIsDown)) {
    return Finish(read, Fail(MayPass(read)));
  }
  if (at_once && faults_.Happens(Fault::kOriginRefuses)) return Finish(read, Fail(MayPass(read)));
  {
    std::lock_guard lock(mutex_);
    queue_.push_back(std::move(read));
  }
  changed_.notify_one();
}

// The end of the origin answers what waits.
void FaultyOrigin::Serve() {
  for (;;) {
    std::optional<Read> read;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return stopping_ || !queue_.empty(); });
      if (queue_.empty()) return;
      read = std::move(queue_.front());
      queue_.pop_front();
    }
    Answer(*read);
  }
}

void FaultyOrigin::Answer(const Read& read) {
  AwaitAnswering();
  if (auto refusal = model_.Refusal(read.object)) return Finish(read, Fail(*std::move(refusal)));
  const Course course = Plan(read);
  Finish(read, Deliver(read, course));
}

FaultyOrigin::Course FaultyOrigin::Plan(const Read& read) {
  Course course{.bytes = read.length, .error = {}};
  {
    std::unique_lock lock(mutex_);
    const bool down = steady_clock::now() < down_until_;
    lock.unlock();
    if ((down && faults_.Make(Fault::kOriginIsDown)) || faults_.Happens(Fault::kOriginRefuses)) {
      return {.bytes = 0, .error = MayPass(read)};
    }
  }
  if (faults_.Happens(Fault::kOriginForbids)) {
    Note(read.object.path, Code::kPermissionDenied);
    return {.bytes = 0, .error = Error{Code::kPermissionDenied, "the credentials are refused"}};
  }
  if (faults_.Happens(Fault::kOriginIsSlow)) course.slow_at = faults_.Draw(read.length);
  if (faults_.Happens(Fault::kOriginBreaksOff)) {
    course.bytes = faults_.Draw(read.length + 1);
    course.error = MayPass(read);
  } else if (faults_.Happens(Fault::kOriginEndsShort)) {
    course.bytes = faults_.Draw(read.length);
    Note(read.object.path, Code::kInternal);
  } else if (faults_.Happens(Fault::kOriginGivesMore)) {
    course.bytes += 1 + faults_.Draw(kMiB);
    Note(read.object.path, Code::kInternal);
  }
  return course;
}

// A piece is the sink's for the time of its call only.
Status FaultyOrigin::Deliver(const Read& read, const Course& course) {
  std::vector<std::byte> piece(kMostPiece);
  for (std::uint64_t at = 0; at < course.bytes;) {
    const std::uint64_t most = faults_.Draw(4) == 0 ? 1 + faults_.Draw(kMostPiece) : kMostPiece;
    const std::uint64_t n = std::min(most, course.bytes - at);
    if (course.slow_at >= at && course.slow_at < at + n) {
      Sleep(microseconds(faults_.Draw(kMostPauseMicros)));
    }
    // One that changes under way goes on as it was, or is noticed.
    auto refusal = model_.Refusal(read.object);
    if (refusal && faults_.Draw(2) == 0) return Fail(*std::move(refusal));
    const std::span<std::byte> bytes = std::span(piece).first(n);
    model_.Bytes().Fill(read.object, read.offset + at, bytes);
    const bool wanted = read.sink(bytes);
    std::memset(bytes.data(), 0xdb, bytes.size());
    if (!wanted) return Fail(Code::kUnavailable, "cancelled");
    at += n;
  }
  return course.error ? Status(Fail(*course.error)) : Ok();
}

void FaultyOrigin::Finish(const Read& read, const Status& status) {
  read.done(status);
  std::lock_guard lock(mutex_);
  --under_way_;
}

Error FaultyOrigin::MayPass(const Read& read) {
  const Code code = faults_.Draw(2) == 0 ? Code::kUnavailable : Code::kDeadlineExceeded;
  Note(read.object.path, code);
  std::lock_guard lock(mutex_);
  away_ = true;
  return {code, "the origin is away"};
}

void FaultyOrigin::Note(const std::string& path, Code code) {
  std::lock_guard lock(mutex_);
  given_[path].insert(code);
}

void FaultyOrigin::Sleep(microseconds time) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, time, [&] { return stopping_; });
}

void FaultyOrigin::AwaitAnswering() {
  std::unique_lock lock(mutex_);
  if (steady_clock::now() >= hangs_until_) return;
  if (!faults_.Make(Fault::kOriginHangs)) return;
  away_ = true;
  while (!stopping_ && steady_clock::now() < hangs_until_) {
    changed_.wait_until(lock, hangs_until_);
  }
}

}  // namespace sluice::reading_model
