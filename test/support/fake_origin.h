// An origin in memory whose answers a test scripts: delays, pieces, failures, new versions. By
// default reads are answered from a pool of threads; Hold() lets the test answer them by hand.
#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "sluice/ports/origin.h"

namespace sluice::testing {

using Content = std::vector<std::byte>;

// Pseudo-random but reproducible bytes; another seed gives other bytes at every offset.
inline Content MakeContent(std::size_t size, std::uint64_t seed) {
  Content content(size);
  std::uint64_t state = seed * 0x9e3779b97f4a7c15ULL + 1;
  for (std::size_t i = 0; i < size; ++i) {
    if (i % 8 == 0) state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    content[i] = static_cast<std::byte>(state >> (8 * (i % 8)));
  }
  return content;
}

class FakeOrigin final : public Origin {
 public:
  struct Read {
    OriginObject object;
    std::uint64_t offset = 0;
    std::uint64_t length = 0;
    ReadSink sink;
    ReadDone done;
  };
  // What becomes of one read: fail (after `bytes_first` bytes) or nothing for a good answer.
  struct Fault {
    Error error;
    std::uint64_t bytes_first = 0;
  };
  using Script = std::function<std::optional<Fault>(const Read&)>;

  explicit FakeOrigin(unsigned threads = 8) {
    for (unsigned i = 0; i < threads; ++i) threads_.emplace_back([this] { Serve(); });
  }
  ~FakeOrigin() override {
    {
      std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    changed_.notify_all();
    threads_.clear();
    for (Read& read : queue_) read.done(Fail(Code::kUnavailable, "the origin is gone"));
  }

  // Puts a new version of `path` and returns it.
  OriginObject Put(const std::string& path, Content content) {
    std::lock_guard lock(mutex_);
    Stored& stored = objects_[path];
    stored.content = std::make_shared<const Content>(std::move(content));
    stored.version = "v" + std::to_string(++versions_);
    return Describe(path, stored);
  }

  // Deletes the object; Restore puts the same version back.
  void Delete(const std::string& path) {
    std::lock_guard lock(mutex_);
    deleted_.insert(objects_.extract(path));
  }
  void Restore(const std::string& path) {
    std::lock_guard lock(mutex_);
    objects_.insert(deleted_.extract(path));
  }

  // Pieces in which bytes are handed over, and the time before each.
  void SetPace(std::uint64_t piece, std::chrono::microseconds delay) {
    std::lock_guard lock(mutex_);
    piece_ = piece;
    delay_ = delay;
  }
  void SetScript(Script script) {
    std::lock_guard lock(mutex_);
    script_ = std::move(script);
  }
  // Answers within ReadAsync, on the caller's thread.
  void SetInline() {
    std::lock_guard lock(mutex_);
    inline_ = true;
  }

  // From now on reads wait until they are taken by TakeHeld or let go by Release.
  void Hold() {
    std::lock_guard lock(mutex_);
    held_ = true;
  }
  void Release() {
    {
      std::lock_guard lock(mutex_);
      held_ = false;
    }
    changed_.notify_all();
  }
  // The first held read that satisfies `wanted`, waiting at most 10 s for it.
  std::optional<Read> TakeHeld(const std::function<bool(const Read&)>& wanted) {
    std::unique_lock lock(mutex_);
    auto found = queue_.end();
    changed_.wait_for(lock, std::chrono::seconds(10), [&] {
      found = std::find_if(queue_.begin(), queue_.end(), wanted);
      return found != queue_.end();
    });
    if (found == queue_.end()) return std::nullopt;
    Read read = std::move(*found);
    queue_.erase(found);
    return read;
  }
  // Gives the sink [begin, end) of the read's range; returns what the sink said.
  bool Feed(const Read& read, std::uint64_t begin, std::uint64_t end) {
    const auto content = ContentOf(read.object.path);
    return read.sink(std::span(*content).subspan(read.offset + begin, end - begin));
  }

  // All reads so far, as (offset, length).
  std::vector<std::pair<std::uint64_t, std::uint64_t>> Reads() const {
    std::lock_guard lock(mutex_);
    return reads_;
  }
  std::uint64_t BytesServed() const {
    std::lock_guard lock(mutex_);
    return bytes_served_;
  }
  std::uint64_t Cancelled() const {
    std::lock_guard lock(mutex_);
    return cancelled_;
  }

  Result<Listing> List() override {
    std::lock_guard lock(mutex_);
    Listing listing;
    for (const auto& [path, stored] : objects_) listing.objects.push_back(Describe(path, stored));
    return listing;
  }
  void ReadAsync(const OriginObject& object, std::uint64_t offset, std::uint64_t length,
                 ReadSink sink, ReadDone done) override {
    Read read{object, offset, length, std::move(sink), std::move(done)};
    bool now = false;
    {
      std::lock_guard lock(mutex_);
      reads_.emplace_back(offset, length);
      now = inline_;
      if (!now) queue_.push_back(std::move(read));
    }
    if (now) {
      Answer(read);
    } else {
      changed_.notify_all();
    }
  }
  [[nodiscard]] std::string Describe() const override { return "fake://origin"; }

 private:
  struct Stored {
    std::shared_ptr<const Content> content;
    std::string version;
  };

  static OriginObject Describe(const std::string& path, const Stored& stored) {
    return {path, stored.content->size(), stored.version, {}};
  }
  std::shared_ptr<const Content> ContentOf(const std::string& path) const {
    std::lock_guard lock(mutex_);
    return objects_.at(path).content;
  }

  void Serve() {
    for (;;) {
      std::optional<Read> read;
      {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return stopping_ || (!held_ && !queue_.empty()); });
        if (stopping_) return;
        read = std::move(queue_.front());
        queue_.pop_front();
      }
      Answer(*read);
    }
  }

  void Answer(const Read& read) {
    std::shared_ptr<const Content> content;
    std::optional<Fault> fault;
    std::uint64_t piece = 0;
    std::chrono::microseconds delay{};
    Script script;
    {
      std::lock_guard lock(mutex_);
      piece = piece_;
      delay = delay_;
      script = script_;
      const auto found = objects_.find(read.object.path);
      if (found == objects_.end()) {
        fault = Fault{{Code::kNotFound, read.object.path + " does not exist"}, 0};
      } else if (found->second.version != read.object.version) {
        fault = Fault{{Code::kConflict, read.object.path + " has another version"}, 0};
      } else {
        content = found->second.content;
      }
    }
    if (!fault && script) fault = script(read);
    const std::uint64_t length = fault ? std::min(fault->bytes_first, read.length) : read.length;
    for (std::uint64_t at = 0; at < length;) {
      const std::uint64_t n = std::min(piece, length - at);
      if (delay.count() > 0) std::this_thread::sleep_for(delay);
      {
        std::lock_guard lock(mutex_);
        bytes_served_ += n;
      }
      if (!read.sink(std::span(*content).subspan(read.offset + at, n))) {
        std::lock_guard lock(mutex_);
        ++cancelled_;
        fault = Fault{{Code::kUnavailable, "cancelled"}, 0};
        break;
      }
      at += n;
    }
    read.done(fault ? Status(Fail(fault->error)) : Ok());
  }

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, Stored> objects_;
  std::map<std::string, Stored> deleted_;
  std::uint64_t versions_ = 0;
  std::deque<Read> queue_;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> reads_;
  std::uint64_t bytes_served_ = 0;
  std::uint64_t cancelled_ = 0;
  std::uint64_t piece_ = 64U << 10;
  std::chrono::microseconds delay_{0};
  Script script_;
  bool inline_ = false;
  bool held_ = false;
  bool stopping_ = false;
  std::vector<std::jthread> threads_;
};

}  // namespace sluice::testing
