#include "model.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "sluice/core/fnv.h"

namespace sluice::reading_model {
namespace {

// A prime, so that no two blocks of an object, however far apart, begin at the same place in it.
constexpr std::uint64_t kPeriod = kMiB + 7;
constexpr std::size_t kMostVersions = 4;

// Around the sizes of blocks (256 KiB), chunks (1 MiB, 4 MiB from 64 MiB on), reads, and 32 bits.
constexpr std::array kSizes = {
    std::uint64_t{0},  std::uint64_t{1},     std::uint64_t{100'000},
    256 * kKiB - 1,    256 * kKiB,           kMiB - 1,
    kMiB + 1,          3 * kMiB + 77,        4 * kMiB,
    9 * kMiB + 12'345, 16 * kMiB - 4 * kKiB, 24 * kMiB - 1,
    70 * kMiB + 3,     5 * kGiB + 4'321,
};

}  // namespace

Pattern::Pattern(std::uint64_t seed) : seed_(seed), noise_(kPeriod) {
  std::uint64_t word = 0;
  for (std::size_t i = 0; i < noise_.size(); ++i) {
    if (i % 8 == 0) word = Mix(seed + i);
    noise_[i] = static_cast<std::byte>(word >> (8 * (i % 8)));
  }
}

std::uint64_t Pattern::Begin(const OriginObject& object, std::uint64_t offset) const {
  const std::uint64_t salt = Mix(seed_ ^ Fnv1a(object.path + '\n' + object.version));
  return (salt % kPeriod + offset) % kPeriod;
}

void Pattern::Fill(const OriginObject& object, std::uint64_t offset,
                   std::span<std::byte> into) const {
  for (std::uint64_t at = Begin(object, offset); !into.empty(); at = 0) {
    const std::size_t n = std::min<std::size_t>(into.size(), kPeriod - at);
    std::memcpy(into.data(), noise_.data() + at, n);
    into = into.subspan(n);
  }
}

std::optional<std::uint64_t> Pattern::Mismatch(const OriginObject& object, std::uint64_t offset,
                                               std::span<const std::byte> bytes) const {
  for (std::uint64_t at = Begin(object, offset); !bytes.empty(); at = 0) {
    const std::size_t n = std::min<std::size_t>(bytes.size(), kPeriod - at);
    if (std::memcmp(bytes.data(), noise_.data() + at, n) != 0) {
      const auto differs = std::mismatch(bytes.begin(), bytes.end(),
                                         noise_.begin() + static_cast<std::ptrdiff_t>(at));
      return offset + static_cast<std::uint64_t>(differs.first - bytes.begin());
    }
    bytes = bytes.subspan(n);
    offset += n;
  }
  return std::nullopt;
}

Model::Model(std::uint64_t seed) : pattern_(seed), count_(kSizes.size()) {
  for (const std::uint64_t size : kSizes) {
    Object object;
    object.path = fmt::format("objects/{:02}.bin", objects_.size());
    object.usual_size = size;
    AddVersion(object, size);
    objects_.push_back(std::move(object));
  }
}

// Names of versions are those of other objects, too.
void Model::AddVersion(Object& object, std::uint64_t size) {
  object.versions.push_back({object.path, size, fmt::format("v{}", ++object.named), {}});
  if (object.versions.size() > kMostVersions) object.versions.erase(object.versions.begin());
}

void Model::Changed(Object& object) {
  ++object.changes;
  object.changed_in_round = true;
}

Model::Seen Model::Latest(std::size_t index) const {
  std::lock_guard lock(mutex_);
  const Object& object = objects_[index];
  return {index, object.versions.back(), object.changes, true};
}

Model::Seen Model::Earlier(std::size_t index, std::uint64_t random) const {
  std::lock_guard lock(mutex_);
  const Object& object = objects_[index];
  const std::size_t which = random % object.versions.size();
  return {index, object.versions[which], object.changes, which + 1 == object.versions.size()};
}

std::optional<Error> Model::Refusal(const OriginObject& asked) const {
  std::lock_guard lock(mutex_);
  const auto found =
      std::ranges::find_if(objects_, [&](const Object& o) { return o.path == asked.path; });
  if (found == objects_.end() || found->deleted) {
    return Error{Code::kNotFound, asked.path + " does not exist"};
  }
  if (found->versions.back().version != asked.version) {
    return Error{Code::kConflict, asked.path + " has another version"};
  }
  return std::nullopt;
}

void Model::Replace(std::size_t index, std::uint64_t random) {
  std::lock_guard lock(mutex_);
  Object& object = objects_[index];
  const std::uint64_t more = random % 3 == 0 ? random / 3 % (100 * kKiB) : 0;
  AddVersion(object, object.usual_size + more);
  object.deleted = false;
  Changed(object);
}

bool Model::Delete(std::size_t index) {
  std::lock_guard lock(mutex_);
  Object& object = objects_[index];
  object.missing_in_round = true;
  return !std::exchange(object.deleted, true);
}

bool Model::Restore(std::size_t index) {
  std::lock_guard lock(mutex_);
  return std::exchange(objects_[index].deleted, false);
}

bool Model::RollBack(std::size_t index) {
  std::lock_guard lock(mutex_);
  Object& object = objects_[index];
  if (object.versions.size() < 2) return false;
  std::swap(object.versions.back(), object.versions[object.versions.size() - 2]);
  Changed(object);
  return true;
}

void Model::BeginRound() {
  std::lock_guard lock(mutex_);
  for (Object& object : objects_) {
    object.changed_in_round = false;
    object.missing_in_round = object.deleted;
  }
}

bool Model::MayConflict(const Seen& seen) const {
  std::lock_guard lock(mutex_);
  const Object& object = objects_[seen.index];
  return !seen.latest || object.changed_in_round || object.changes != seen.changes;
}

bool Model::MayBeMissing(const Seen& seen) const {
  std::lock_guard lock(mutex_);
  return objects_[seen.index].missing_in_round;
}

}  // namespace sluice::reading_model
