// What the origin holds, as a function: the bytes of an object are given by its path, its version
// and the offset, so that nothing is stored and every answer can be judged.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "sluice/core/result.h"
#include "sluice/ports/origin.h"

#include "faults.h"

namespace sluice::reading_model {

inline constexpr std::uint64_t kKiB = 1ULL << 10;
inline constexpr std::uint64_t kMiB = 1ULL << 20;
inline constexpr std::uint64_t kGiB = 1ULL << 30;

// The bytes. Threads: any.
class Pattern {
 public:
  explicit Pattern(std::uint64_t seed);

  void Fill(const OriginObject& object, std::uint64_t offset, std::span<std::byte> into) const;
  // The first place where `bytes` are not the object's; nothing when all are.
  [[nodiscard]] std::optional<std::uint64_t> Mismatch(const OriginObject& object,
                                                      std::uint64_t offset,
                                                      std::span<const std::byte> bytes) const;

 private:
  [[nodiscard]] std::uint64_t Begin(const OriginObject& object, std::uint64_t offset) const;

  const std::uint64_t seed_;
  std::vector<std::byte> noise_;
};

// The objects and their versions over time. Threads: any.
class Model {
 public:
  explicit Model(std::uint64_t seed);

  // A version as somebody learnt of it.
  struct Seen {
    std::size_t index = 0;
    OriginObject object;
    std::uint64_t changes = 0;  // of the object until then
    bool latest = true;         // it was the last one put
  };

  [[nodiscard]] const Pattern& Bytes() const { return pattern_; }
  [[nodiscard]] std::size_t ObjectCount() const { return count_; }
  // As a listing tells it; one that was made a moment ago, so that the object may be gone by now.
  [[nodiscard]] Seen Latest(std::size_t index) const;
  // An old listing's.
  [[nodiscard]] Seen Earlier(std::size_t index, std::uint64_t random) const;

  // What an origin answers to whoever asks for this version now; nothing: it has it.
  [[nodiscard]] std::optional<Error> Refusal(const OriginObject& object) const;

  void Replace(std::size_t index, std::uint64_t random);
  // False when it is deleted already.
  bool Delete(std::size_t index);
  // The version that was deleted comes back; false when none was.
  bool Restore(std::size_t index);
  // To the version before; false when there is none.
  bool RollBack(std::size_t index);

  // What was on its way has arrived, so that errors from now on have causes from now on.
  void BeginRound();
  // Whether the origin may have answered a read of it, in this round or since it was seen, that it
  // has another version, or none.
  [[nodiscard]] bool MayConflict(const Seen& seen) const;
  [[nodiscard]] bool MayBeMissing(const Seen& seen) const;

 private:
  struct Object {
    std::string path;
    std::uint64_t usual_size = 0;
    std::vector<OriginObject> versions;  // the last one is what the origin has
    std::uint64_t named = 0;             // versions that got a name
    std::uint64_t changes = 0;
    bool deleted = false;
    bool changed_in_round = false;
    bool missing_in_round = false;
  };

  static void AddVersion(Object& object, std::uint64_t size);
  static void Changed(Object& object);

  const Pattern pattern_;
  mutable std::mutex mutex_;
  std::vector<Object> objects_;
  const std::size_t count_;
};

}  // namespace sluice::reading_model
