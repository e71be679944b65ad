// Which workers keep a key. When a worker joins or leaves, only the keys that it takes or had move.
//
// Workers that are numbered, as those of a StatefulSet are ("<name>-0", "<name>-1", ...), share the
// keys by stripes.h. A key whose worker is missing from the list goes by rendezvous hashing over
// the names, so that all others take its share of them; when the worker with the highest number
// comes or goes meanwhile, these keys move too. Where a name has no number below 256, or another
// stem than the others, all keys go by rendezvous hashing.
//
// Every client of a dataset must come to the same order, older and newer builds too: this is part
// of the format of the pool and never changes.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "rendezvous.h"
#include "stripes.h"

namespace sluice::pool {

class Placement {
 public:
  Placement() = default;
  explicit Placement(const std::vector<std::string>& names);

  // Indices into the names. First: not for an empty list.
  [[nodiscard]] std::size_t First(std::string_view key) const;
  // The second is the first of the list without the first.
  [[nodiscard]] std::vector<std::size_t> Order(std::string_view key) const;

 private:
  [[nodiscard]] std::optional<std::size_t> Striped(std::string_view key, const Stripes& over) const;

  Rendezvous rendezvous_;
  std::vector<std::optional<std::size_t>> indices_;  // by number; empty: not numbered
  std::optional<Stripes> stripes_;
  std::optional<Stripes> without_last_;  // as when the worker with the highest number has gone
};

}  // namespace sluice::pool
