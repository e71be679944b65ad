#include "sluice/cache/pin_set.h"

#include <algorithm>
#include <charconv>

#include "object_index.h"

namespace sluice::cache {
namespace {

std::uint64_t FirstBits(std::string_view file_name) {
  constexpr std::size_t kDigits = 16;
  const std::string_view digits = file_name.substr(0, kDigits);
  std::uint64_t bits = 0;
  std::from_chars(digits.data(), digits.data() + digits.size(), bits, 16);
  return bits;
}

}  // namespace

void PinSet::Add(const std::string& identity, const OriginObject& object) {
  names_.push_back(FirstBits(CacheFileName({identity, object.path, object.version, object.size})));
}

void PinSet::Seal() {
  std::ranges::sort(names_);
  names_.erase(std::ranges::unique(names_).begin(), names_.end());
}

bool PinSet::Contains(std::string_view file_name) const {
  return std::ranges::binary_search(names_, FirstBits(file_name));
}

}  // namespace sluice::cache
