// New objects at an origin, written once and whole. Adapters are in origin/.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sluice/core/result.h"
#include "sluice/ports/origin.h"

namespace sluice {

// Bytes on their way to the origin; never changed once they are given away.
using Block = std::shared_ptr<const std::vector<std::byte>>;

// What the origin has too little of, where it says so.
enum class Shortage { kNone, kSpace, kQuota };

struct Written {
  Status status;
  Shortage shortage = Shortage::kNone;
  OriginObject object{};  // of a finished upload, as the next listing has it
};

// Called exactly once, from a thread of the adapter or from within the call. Must not block.
using WriteDone = std::function<void(Written)>;

// Keeps a note of each upload under way where it survives this process, so that the next one can
// give up what a killed one left. Threads: any.
class UploadRecords {
 public:
  virtual ~UploadRecords() = default;
  // Nothing when there is no room; the upload goes on without.
  virtual std::optional<std::uint32_t> Keep(const std::string& token) = 0;
  virtual void Drop(std::uint32_t record) = 0;
};

// One object while it is written. Nothing of it can be seen at the origin before Finish has
// answered, and all of it after that. Threads: one call at a time, from any; after a failure every
// call fails. Retries and deadlines are the adapter's. Destroying it before Finish is called gives
// the upload up; callbacks that are under way still come.
class ObjectUpload {
 public:
  virtual ~ObjectUpload() = default;

  // How many bytes the next block must have, unless it is the last; 0 when the object would become
  // larger than the origin takes.
  [[nodiscard]] virtual std::uint64_t NextBlock() const = 0;
  // Sends the next block. Several may be under way.
  virtual void Append(Block block, WriteDone done) = 0;
  // Sends the rest, of any size up to NextBlock(), and makes the object.
  virtual void Finish(Block last, WriteDone done) = 0;
};

// Threads: every method may be called from any thread, while the origin lives.
class ObjectWriter {
 public:
  virtual ~ObjectWriter() = default;

  // Talks to nobody yet. No block is larger than `largest_block`, which is a bound on memory and so
  // on the size of an object. `records` must outlive the origin.
  virtual Result<std::unique_ptr<ObjectUpload>> Begin(const std::string& path,
                                                      std::uint64_t largest_block,
                                                      UploadRecords& records) = 0;

  // Gives the object another name, in place of what is there; kConflict when it is not this version
  // any more. Blocks within the adapter's deadlines. `object` is the renamed one.
  virtual Written Rename(const OriginObject& from, const std::string& to) = 0;

  // Gives up the upload of a record that another process left. Ok when it is not there. Blocks.
  virtual Status GiveUp(const std::string& token) = 0;
};

}  // namespace sluice
