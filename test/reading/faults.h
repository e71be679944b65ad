// What can go wrong in a run: how often it shall, and how often it did.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace sluice::reading_model {

enum class Fault : std::uint8_t {
  // The origin.
  kOriginRefuses,    // an error that may pass, before any byte
  kOriginBreaksOff,  // the same after some bytes
  kOriginEndsShort,  // success after too few bytes, against the contract of its port
  kOriginGivesMore,  // bytes behind those asked for, against the contract of its port
  kOriginForbids,    // an error that does not pass
  kOriginIsSlow,
  kOriginIsDown,    // refuses everything for a while
  kOriginHangs,     // answers nothing for a while
  kObjectReplaced,  // another version, often of the same size
  kObjectDeleted,
  kObjectRestored,
  kObjectRolledBack,  // the version before is back, under its old name
  // The pool.
  kPoolGetFails,
  kPoolPutFails,
  kPoolRenewFails,
  kPoolMisses,  // answers that it has not got what it has
  kPoolLosesValue,
  kPoolSpoilsValue,  // a bit of the value has turned
  kPoolSpoilsChecksum,
  kPoolScribbles,        // leaves rubbish in the buffer of a get that is no hit
  kPoolForgetsPut,       // says that it has stored, and has not: its lease stays, too
  kPoolForgetsDrop,      // so a lease that is not going to be used stays
  kPoolOtherClientDies,  // one that had a lease, so that all others wait
  kPoolKeepsWaiting,     // says for a while that another client fills the chunk
  kPoolIsSlow,
  kPoolIsDown,
  // The cache directory, system call by system call.
  kDiskReadFails,     // EIO
  kDiskReadsShort,    // fewer bytes than asked for, as a call may
  kDiskWriteFails,    // EIO
  kDiskIsFull,        // ENOSPC
  kDiskWriteTears,    // a part is written, then EIO
  kDiskWritesShort,   // a part is written, and it says so
  kDiskWriteLies,     // a part is written, and it says that all was
  kDiskOpenFails,     // EMFILE
  kDiskRenameFails,   // EIO
  kDiskResizeFails,   // ENOSPC
  kDiskProtectFails,  // EPERM
  // The files in the cache directory, while it is in use or between two uses.
  kFileFlipped,    // one bit
  kFileTruncated,  // at any length
  kFileZeroed,     // a part of it, as after a power cut
  kFileGarbage,
  kFileRemoved,
  kFilesExchanged,    // two of a kind, so that each lies under the other's name
  kFileBesideItself,  // the whole file has a part beside it
  kDirectoryLost,
  kDirectoryBlocked,  // a file lies where it should be
  kCount,
};

inline constexpr std::size_t kFaultCount = static_cast<std::size_t>(Fault::kCount);

std::string_view NameOf(Fault fault);  // "origin refuses"

// Draws every decision from the seed: the nth chance of a fault comes out the same in every run
// with it, whichever thread has it. Threads: any.
class Faults {
 public:
  // The faults named in `without` ("pool is slow") never happen.
  Faults(std::uint64_t seed, std::span<const std::string> without);

  // Happens once in `every` chances from now on; 0: never.
  void Set(Fault fault, std::uint64_t every);
  void ClearAll();

  // Whether it happens now; counted if so.
  bool Happens(Fault fault);
  // The same for one that is due anyhow, unless it was excluded.
  bool Make(Fault fault);
  // From 0 to below `bound`.
  std::uint64_t Draw(std::uint64_t bound);

  [[nodiscard]] std::uint64_t Count(Fault fault) const;

 private:
  struct Entry {
    std::atomic<std::uint64_t> every = 0;
    std::atomic<std::uint64_t> chances = 0;
    std::atomic<std::uint64_t> count = 0;
    bool excluded = false;
  };

  Entry& Of(Fault fault) { return entries_[static_cast<std::size_t>(fault)]; }

  const std::uint64_t seed_;
  std::array<Entry, kFaultCount> entries_;
  std::atomic<std::uint64_t> draws_ = 0;
};

// A good hash of numbers (splitmix64).
std::uint64_t Mix(std::uint64_t value);

}  // namespace sluice::reading_model
