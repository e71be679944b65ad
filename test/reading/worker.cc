#include "worker.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <utility>

#include <fmt/format.h>

#include "damaged_files.h"

namespace sluice::reading_model {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr std::size_t kMostStreams = 5;
constexpr std::size_t kMostAbandoned = 8;

}  // namespace

class JudgedRead : public std::enable_shared_from_this<JudgedRead> {
 public:
  JudgedRead(Node& node, Referee& referee, std::shared_ptr<cache::File> file, Attempt attempt,
             bool keep)
      : node_(node),
        referee_(referee),
        file_(std::move(file)),
        attempt_(std::move(attempt)),
        keep_(keep) {}

  void Begin() {
    ++node_.outstanding;
    attempt_.begin = steady_clock::now();
    auto file = file_;
    file->ReadAsync(attempt_.offset, attempt_.size,
                    [self = shared_from_this()](Result<cache::Bytes> outcome) {
                      self->End(std::move(outcome));
                    });
  }
  // The watch is what bounds it.
  void Wait() {
    std::unique_lock lock(mutex_);
    ended_.wait(lock, [&] { return calls_ > 0; });
  }
  // Whether bytes that were kept are what they were; then they go.
  void Release() {
    cache::Bytes bytes;
    {
      std::lock_guard lock(mutex_);
      bytes = std::move(kept_);
    }
    referee_.JudgeBytes(attempt_.seen, attempt_.offset, bytes);
  }

 private:
  void End(Result<cache::Bytes> outcome) {
    Attempt attempt = attempt_;
    attempt.stopping = node_.Stopping();
    attempt.stale = !outcome && file_->Stale();
    referee_.Judge(attempt, outcome);
    std::shared_ptr<cache::File> file;  // perhaps the last one; not to be closed under the lock
    {
      std::lock_guard lock(mutex_);
      if (++calls_ > 1) referee_.Object("a read has called back twice");
      if (keep_ && outcome) kept_ = *std::move(outcome);
      file = std::move(file_);
      --node_.outstanding;
    }
    ended_.notify_all();
  }

  Node& node_;
  Referee& referee_;
  std::shared_ptr<cache::File> file_;
  Attempt attempt_;
  const bool keep_;
  std::mutex mutex_;
  std::condition_variable ended_;
  int calls_ = 0;
  cache::Bytes kept_;
};

Worker::Worker(std::uint64_t seed, Node& node, Model& model, Referee& referee, Faults& faults,
               HangWatch::Place& place)
    : random_(seed),
      node_(node),
      model_(model),
      referee_(referee),
      faults_(faults),
      place_(place) {}

Worker::~Worker() = default;

void Worker::Step() {
  ChangeObjects();
  if (streams_.empty()) OpenOne();
  const std::uint64_t what = Draw(1000);
  if (what < 40) {
    OpenOne();
  } else if (what < 60) {
    streams_.erase(streams_.begin() + static_cast<std::ptrdiff_t>(Draw(streams_.size())));
  } else if (what < 100) {
    ReadSeveral();
  } else if (what < 120) {
    ReadBlocking();
  } else if (what < 140) {
    Abandon();
  } else if (what < 150) {
    Hold();
  } else if (what < 180) {
    ReadAroundUs(AnyStream());
  } else {
    Read();
  }
  place_.End();
}

void Worker::ChangeObjects() {
  const std::size_t index = Draw(model_.ObjectCount());
  if (faults_.Happens(Fault::kObjectReplaced)) model_.Replace(index, random_());
  if (faults_.Happens(Fault::kObjectRolledBack)) model_.RollBack(index);
  if (faults_.Happens(Fault::kObjectDeleted)) model_.Delete(index);
  if (!faults_.Happens(Fault::kObjectRestored)) return;
  for (std::size_t i = 0; i < model_.ObjectCount(); ++i) model_.Restore(i);
}

void Worker::OpenOne() {
  Stream stream;
  // The large ones more often than the small ones.
  const std::size_t index = std::max(Draw(model_.ObjectCount()), Draw(model_.ObjectCount()));
  stream.seen = Draw(30) == 0 ? model_.Earlier(index, random_()) : model_.Latest(index);
  place_.Begin({"opens", stream.seen.object.path, 0, 0});
  stream.file = node_.Open(stream.seen.object);
  stream.order = static_cast<Order>(Draw(4));
  stream.at = Draw(2) == 0 ? 0 : SomeOffset(stream.seen.object.size);
  stream.usual_size = SomeSize();
  stream.stride = stream.usual_size + Draw(3 * kMiB);
  if (stream.order == Order::kBackward) stream.at = stream.seen.object.size;
  if (streams_.size() == kMostStreams) streams_.erase(streams_.begin());
  streams_.push_back(std::move(stream));
  // Before the blocks are checked by reading them.
  if (Draw(4) == 0) ReadAroundUs(streams_.back());
}

Worker::Stream& Worker::AnyStream() {
  if (streams_.empty()) OpenOne();
  return streams_[Draw(streams_.size())];
}

std::uint64_t Worker::SomeOffset(std::uint64_t size) {
  constexpr std::uint64_t kFourGiB = 4 * kGiB;
  if (size > kFourGiB && Draw(2) == 0) return kFourGiB - kMiB + Draw(2 * kMiB);
  return Draw(size + 1);
}

// Of every order of magnitude, and more of the largest.
std::size_t Worker::SomeSize() {
  if (Draw(4) == 0) return 1 + Draw(kMiB);
  const std::uint64_t most = 1ULL << Draw(21);
  return 1 + Draw(most);
}

std::uint64_t Worker::NextOffset(Stream& stream, std::size_t size) {
  const std::uint64_t end = stream.seen.object.size;
  std::uint64_t at = stream.at;
  switch (stream.order) {
    case Order::kForward:
      stream.at = at >= end ? SomeOffset(end) : at + size;
      return at;
    case Order::kStride:
      stream.at = at >= end ? Draw(stream.stride) : at + stream.stride;
      return at;
    case Order::kBackward:
      at -= std::min<std::uint64_t>(at, size);
      stream.at = at == 0 ? end : at;
      return at;
    case Order::kRandom:
      return Draw(50) == 0 ? end - std::min<std::uint64_t>(end, Draw(size + 1)) + Draw(3)
                           : SomeOffset(end);
  }
  return at;
}

std::shared_ptr<JudgedRead> Worker::Begin(Stream& stream) {
  std::size_t size = Draw(4) == 0 ? SomeSize() : stream.usual_size;
  if (Draw(200) == 0) size = Draw(2) == 0 ? 0 : 1 + Draw(6 * kMiB);
  Attempt attempt;
  attempt.seen = stream.seen;
  attempt.offset = NextOffset(stream, size);
  attempt.size = size;
  attempt.deadline = node_.StartedWith().read_deadline;
  place_.Begin({"reads", stream.seen.object.path, attempt.offset, attempt.size});
  const bool keep = size <= 512 * kKiB;
  auto read = std::make_shared<JudgedRead>(node_, referee_, stream.file, attempt, keep);
  read->Begin();
  return read;
}

void Worker::Read() {
  Stream& stream = AnyStream();
  Begin(stream)->Wait();
  // Most readers do not try again.
  if (stream.file->Stale() && Draw(4) != 0) {
    streams_.erase(streams_.begin() + (&stream - streams_.data()));
  }
}

void Worker::ReadSeveral() {
  std::vector<std::shared_ptr<JudgedRead>> reads;
  for (std::uint64_t n = 2 + Draw(6); n > 0; --n) reads.push_back(Begin(AnyStream()));
  for (const auto& read : reads) {
    read->Wait();
    read->Release();
  }
}

// By the other call, which repeats itself until all is there.
void Worker::ReadBlocking() {
  Stream& stream = AnyStream();
  std::vector<std::byte> into(1 + Draw(2 * kMiB));
  Attempt attempt;
  attempt.seen = stream.seen;
  attempt.offset = NextOffset(stream, into.size());
  attempt.size = into.size();
  attempt.begin = steady_clock::now();
  attempt.deadline = node_.StartedWith().read_deadline;
  place_.Begin({"reads blocking", stream.seen.object.path, attempt.offset, attempt.size});
  const auto got = stream.file->Read(attempt.offset, into);
  attempt.stopping = node_.Stopping();
  attempt.stale = stream.file->Stale();
  if (!got) return referee_.Judge(attempt, Fail(got.error()));
  const std::uint64_t size = stream.seen.object.size;
  const std::uint64_t left = attempt.offset < size ? size - attempt.offset : 0;
  if (*got != std::min<std::uint64_t>(left, into.size())) {
    referee_.Object(fmt::format("{}: a blocking read gave {} bytes at {}", stream.seen.object.path,
                                *got, attempt.offset));
  }
  const auto bytes = std::span(into).first(*got);
  if (const auto at = model_.Bytes().Mismatch(stream.seen.object, attempt.offset, bytes)) {
    referee_.Object(fmt::format("{} {}: a wrong byte at {} in a blocking read at {}",
                                stream.seen.object.path, stream.seen.object.version, *at,
                                attempt.offset));
  }
}

void Worker::Abandon() {
  if (node_.outstanding < static_cast<std::int64_t>(kMostAbandoned)) Begin(AnyStream());
}

void Worker::LeaveReadsUnderWay() {
  for (std::uint64_t n = Draw(6); n > 0; --n) {
    Stream& stream = AnyStream();
    stream.at = SomeOffset(stream.seen.object.size);
    Begin(stream);
  }
  place_.End();
}

// Keeps the buffers of an answer in use.
void Worker::Hold() {
  DropAnswer();
  held_ = Begin(AnyStream());
  held_->Wait();
}

void Worker::DropAnswer() {
  if (!held_) return;
  held_->Release();
  held_.reset();
}

void Worker::CloseAll() {
  place_.Begin({"closes", {}, 0, 0});
  streams_.clear();
  place_.End();
}

// As the kernel does when all of a file is on the disk.
void Worker::ReadAroundUs(Stream& stream) {
  place_.Begin({"opens the cache file", stream.seen.object.path, 0, 0});
  const auto fd = stream.file->OpenComplete(milliseconds(Draw(2) * Draw(50)));
  if (!fd) return;
  const std::uint64_t size = stream.seen.object.size;
  // All of most files: what is damaged in one may be a single bit.
  constexpr std::uint64_t kMost = 16 * kMiB;
  const std::uint64_t offset = size <= kMost ? 0 : Draw(size + 1);
  std::vector<std::byte> into(std::min<std::uint64_t>(size - offset, kMost));
  // The position is this descriptor's own.
  lseek(fd->Get(), static_cast<off_t>(offset), SEEK_SET);
  const ssize_t got = ::read(fd->Get(), into.data(), into.size());
  const bool right = got == static_cast<ssize_t>(into.size()) &&
                     !model_.Bytes().Mismatch(stream.seen.object, offset, into);
  if (!right && !IsDamaged(fd->Get())) {
    referee_.Object(fmt::format("{} {}: the cache file that was handed out is wrong in {}+{}",
                                stream.seen.object.path, stream.seen.object.version, offset,
                                into.size()));
  }
}

}  // namespace sluice::reading_model
