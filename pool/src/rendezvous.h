// Rendezvous hashing over the workers' names: an order of the workers for each key. When a worker
// joins or leaves, the order of the others stays.
//
// Every client of a dataset must come to the same order, older and newer builds too: the hash is
// part of the format of the pool and never changes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace sluice::pool {

class Rendezvous {
 public:
  // Well mixed.
  static std::uint64_t Hash(std::string_view text);

  Rendezvous() = default;
  explicit Rendezvous(const std::vector<std::string>& names);

  // Indices into the names. First: not for an empty list.
  [[nodiscard]] std::size_t First(std::string_view key) const;
  [[nodiscard]] std::vector<std::size_t> Order(std::string_view key) const;

 private:
  [[nodiscard]] std::uint64_t Score(std::uint64_t key, std::size_t index) const;

  std::vector<std::uint64_t> hashes_;  // of the names
};

}  // namespace sluice::pool
