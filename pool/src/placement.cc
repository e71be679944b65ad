#include "placement.h"

#include <algorithm>
#include <charconv>

namespace sluice::pool {
namespace {

// Beyond it, stripes would cost more than they bring.
constexpr std::size_t kMostNumbered = 256;

struct Numbered {
  std::string_view stem;
  std::size_t number = 0;
};

// "<stem>-<number>", the number as a StatefulSet writes it.
std::optional<Numbered> NumberOf(std::string_view name) {
  const std::size_t dash = name.rfind('-');
  if (dash == std::string_view::npos) return std::nullopt;
  const std::string_view digits = name.substr(dash + 1);
  if (digits.empty() || (digits.size() > 1 && digits.front() == '0')) return std::nullopt;
  Numbered numbered{name.substr(0, dash)};
  const auto [end, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), numbered.number);
  if (error != std::errc{} || end != digits.data() + digits.size()) return std::nullopt;
  if (numbered.number >= kMostNumbered) return std::nullopt;
  return numbered;
}

// The indices by number; empty when some name has none, or another stem.
std::vector<std::optional<std::size_t>> ByNumber(const std::vector<std::string>& names) {
  std::vector<std::optional<std::size_t>> indices;
  std::optional<std::string_view> stem;
  for (std::size_t i = 0; i < names.size(); ++i) {
    const auto numbered = NumberOf(names[i]);
    if (!numbered || stem.value_or(numbered->stem) != numbered->stem) return {};
    stem = numbered->stem;
    indices.resize(std::max(indices.size(), numbered->number + 1));
    indices[numbered->number] = i;
  }
  return indices;
}

}  // namespace

Placement::Placement(const std::vector<std::string>& names)
    : rendezvous_(names), indices_(ByNumber(names)) {
  if (indices_.empty()) return;
  stripes_.emplace(indices_.size());
  std::size_t others = indices_.size() - 1;
  while (others > 0 && !indices_[others - 1]) --others;
  if (others > 0) without_last_.emplace(others);
}

std::optional<std::size_t> Placement::Striped(std::string_view key, const Stripes& over) const {
  return indices_[over.OwnerOf(PlaceOf(key))];
}

std::size_t Placement::First(std::string_view key) const {
  const auto striped = stripes_ ? Striped(key, *stripes_) : std::nullopt;
  return striped ? *striped : rendezvous_.First(key);
}

std::vector<std::size_t> Placement::Order(std::string_view key) const {
  std::vector<std::size_t> order = rendezvous_.Order(key);
  if (!stripes_) return order;
  const auto put = [&order](std::ptrdiff_t place, std::size_t index) {
    const auto found = std::ranges::find(order, index);
    std::rotate(order.begin() + place, found, std::next(found));
  };
  const std::size_t first = First(key);
  put(0, first);
  // Without its last worker the circle is another one; without one in between its keys go by
  // rendezvous.
  if (without_last_ && first == indices_.back()) {
    if (const auto second = Striped(key, *without_last_)) put(1, *second);
  }
  return order;
}

}  // namespace sluice::pool
