// What survives the process: one memory file per connection, kept by the holder
// (docs/fuse-state.md). It holds the negotiated INIT, the request journal's slots, the table of
// open files and the current index.
//
// Everything in it was written by a client of ours, perhaps of another version, perhaps killed in
// the middle: Attach checks what it reads, and falls back to a fresh state where it can.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "sluice/core/result.h"
#include "sluice/platform/unique_fd.h"

#include "index_builder.h"

namespace sluice::fuse_client {

inline constexpr std::uint32_t kJournalSlots = 256;
inline constexpr std::size_t kSlotBytes = 8192;  // the kernel's smallest read buffer
inline constexpr std::uint32_t kMaxOpenInodes = 253'952;
inline constexpr std::uint32_t kUploadRecords = 64;
inline constexpr std::size_t kMaxInitBytes = 256;

// One inode with open handles; opens == 0 marks a free entry.
struct OpenEntry {
  std::uint64_t id = 0;
  std::int32_t backing_id = 0;  // 0: opened through the page cache
  std::uint32_t opens = 0;
};
static_assert(sizeof(OpenEntry) == 16);

// An upload under way (upload_journal.h); `length` is written last, and 0 marks a free record.
struct UploadRecord {
  std::uint32_t length = 0;
  char text[2044] = {};
};
static_assert(sizeof(UploadRecord) == 2048);

struct StateHeader {
  char magic[8] = {};
  std::uint32_t layout = 0;
  std::uint32_t init_done = 0;  // the INIT reply has reached the kernel
  std::uint32_t init_request_bytes = 0;
  std::uint32_t init_reply_bytes = 0;
  std::uint64_t takeovers = 0;
  std::uint64_t index_offset = 0;  // 0: none
  std::uint64_t index_bytes = 0;
  std::uint64_t index_checksum = 0;
  std::uint64_t index_config = 0;  // fingerprint of the mounts it was made from
  std::uint32_t opens_used = 0;    // entries behind this index were never used
  std::uint32_t reserved = 0;
  std::byte init_request[kMaxInitBytes] = {};
  std::byte init_reply[kMaxInitBytes] = {};
  std::uint32_t replays[kJournalSlots] = {};  // how often each slot was found armed in a row
  std::uint64_t effects[kJournalSlots] = {};  // what each slot's request did (open_table.h)
  std::uint64_t listing_bytes = 0;            // what the listing behind the index took in memory
};
static_assert(sizeof(StateHeader) <= 4096);

class StateFile {
 public:
  // A file of this process only, for a mount without a holder.
  static Result<std::unique_ptr<StateFile>> Create();
  // Of a bundle, also of an earlier layout. kInvalidArgument when a later one is in there, which
  // only its own version can serve.
  static Result<std::unique_ptr<StateFile>> Attach(platform::UniqueFd file);
  ~StateFile();
  StateFile(const StateFile&) = delete;
  StateFile& operator=(const StateFile&) = delete;

  // True when a predecessor has finished INIT with the kernel.
  [[nodiscard]] bool IsTakeover() const { return Header().init_done != 0; }
  StateHeader& Header() { return *reinterpret_cast<StateHeader*>(fixed_); }
  [[nodiscard]] const StateHeader& Header() const {
    return *reinterpret_cast<const StateHeader*>(fixed_);
  }
  std::span<std::byte> Slot(std::uint32_t slot);
  std::span<OpenEntry> Opens();
  std::span<UploadRecord> Uploads();

  // The saved index, when it was made from the same mounts and is intact; null otherwise.
  std::shared_ptr<const Index> LoadIndex(std::uint64_t config);
  // Writes the index behind all others and makes it the current one. Memory of the one before is
  // given back when its last user drops it. The current index itself when that says the same. One
  // thread at a time, as LoadIndex.
  Result<std::shared_ptr<const Index>> StoreIndex(const IndexDraft& draft, std::uint64_t config);

 private:
  struct Mapping;
  StateFile() = default;
  static Result<std::unique_ptr<StateFile>> Map(platform::UniqueFd file);
  struct MappedIndex {
    std::shared_ptr<Mapping> mapping;
    std::shared_ptr<const Index> index;
  };
  Result<MappedIndex> MapIndex(std::uint64_t offset, std::uint64_t bytes) const;
  Result<MappedIndex> WriteIndex(const IndexDraft& draft, std::uint64_t offset) const;
  void MakeCurrent(const MappedIndex& mapped, std::uint64_t config);

  std::shared_ptr<platform::UniqueFd> file_;  // mappings of indexes keep it too
  std::weak_ptr<Mapping> current_mapping_;
  std::weak_ptr<const Index> current_;
  std::uint64_t next_offset_ = 0;  // behind all indexes; 0: not known yet
  std::byte* fixed_ = nullptr;     // header, slots, open table, upload records
};

}  // namespace sluice::fuse_client
