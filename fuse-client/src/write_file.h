// One file while it is written: what the application writes becomes blocks, blocks go to the
// origin, and the object is made when a descriptor is closed or synced.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "sluice/platform/log.h"
#include "sluice/platform/metrics.h"
#include "sluice/ports/object_writer.h"

namespace sluice::fuse_client {

// Told once, with the errno for the application; 0 when it is done. From any thread.
using WriteAnswer = std::function<void(int error)>;

// What all files that are being written hold in memory. Threads: any.
class WriteMemory {
 public:
  explicit WriteMemory(std::uint64_t budget) : budget_(budget) {}
  void Take(std::uint64_t bytes) { used_ += bytes; }
  void Give(std::uint64_t bytes) { used_ -= bytes; }
  void AddFile() { ++files_; }
  void RemoveFile() { --files_; }
  [[nodiscard]] std::uint64_t Files() const { return files_; }
  [[nodiscard]] bool IsOver() const { return used_ > budget_; }
  [[nodiscard]] std::uint64_t Budget() const { return budget_; }
  [[nodiscard]] std::uint64_t Used() const { return used_; }

 private:
  const std::uint64_t budget_;
  std::atomic<std::uint64_t> used_ = 0;
  std::atomic<std::uint64_t> files_ = 0;  // being written
};

struct WriteMetrics {
  explicit WriteMetrics(platform::Metrics& metrics);
  platform::Counter& bytes;
  platform::Counter& made;
  platform::Counter& failed;
};

// Threads: any.
//
// Bytes that are not sent may be written in any order, without gaps; those before them are refused.
// A file of one block is sent when it is closed and kept until its release, so that it can go on
// growing after that: a shell closes copies of a descriptor while others write to it.
class WriteFile : public std::enable_shared_from_this<WriteFile> {
 public:
  struct Parts {
    std::string name;  // for messages: the object and its origin
    ObjectWriter& writer;
    UploadRecords& records;
    std::shared_ptr<WriteMemory> memory;
    WriteMetrics& metrics;
    const platform::Log& log;
    // Both are called under no lock. The first again for each time that the object is made anew.
    std::function<void(const OriginObject&)> on_made;
    std::function<void(std::uint64_t size)> on_size;
  };
  WriteFile(std::string path_in_origin, Parts parts);
  ~WriteFile();
  WriteFile(const WriteFile&) = delete;
  WriteFile& operator=(const WriteFile&) = delete;

  // `owner` is the table of descriptors of the process that writes, as the kernel numbers it. The
  // answer waits while too much is on its way.
  void Write(std::uint64_t offset, std::span<const std::byte> bytes, std::uint64_t owner,
             WriteAnswer answer);
  // One of the descriptors is closed. Only when its owner was the last to write the object is made
  // now, and the answer tells how that went: another process closes a copy that it inherited.
  void Flush(std::uint64_t owner, WriteAnswer answer);
  // Makes the object now, unless it is there.
  void Complete(WriteAnswer answer);
  // An errno; only to where it ends already, or to nothing while nothing is sent.
  int Truncate(std::uint64_t size);
  // The name is another object's by now: what was made stays, what is written from now on fails.
  void Seal();
  // Nothing comes of it any more; answers that wait are given EIO.
  void GiveUp();

  [[nodiscard]] std::uint64_t Size() const;
  // For the application; what the origin did not answer is EIO.
  static int ErrnoOf(const Error& error, Shortage shortage);

  enum class Phase {
    kOpen,       // there is something that the origin does not have
    kFinishing,  // it is asked to make the object
    kComplete,   // it has all that was written
    kFailed,
  };
  [[nodiscard]] Phase Now() const;

 private:
  using Lock = std::unique_lock<std::mutex>;
  // Came while the object was being made.
  struct LateWrite {
    std::uint64_t offset = 0;
    std::vector<std::byte> bytes;
    std::uint64_t owner = 0;
    WriteAnswer answer;
  };

  void SendBlocks(Lock& lock);
  void SendFullBlocks(Lock& lock);
  void Finish(Lock& lock);
  void OnBlock(std::uint64_t bytes, const Written& written);
  void OnFinished(const Written& written);
  bool Begin();
  void NoteFailure(const Error& error, Shortage shortage);
  [[nodiscard]] bool MustWait() const;

  const std::string path_;
  const Parts parts_;

  mutable std::mutex mutex_;
  std::shared_ptr<ObjectUpload> upload_;          // shared with a call of it under way
  std::shared_ptr<std::vector<std::byte>> rest_;  // not sent
  std::uint64_t sent_ = 0;                        // bytes before it
  unsigned in_flight_ = 0;
  std::uint64_t last_owner_ = 0;
  bool changed_ = true;  // there is something that the origin does not have
  bool finishing_ = false;
  bool sending_ = false;  // a thread is in SendBlocks
  bool sealed_ = false;
  int failed_ = 0;                    // an errno
  std::vector<WriteAnswer> held_;     // of writes that wait
  std::vector<WriteAnswer> waiting_;  // for the object to be made
  std::vector<LateWrite> later_;
};

}  // namespace sluice::fuse_client
