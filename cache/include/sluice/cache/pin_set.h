// Which object versions the node cache keeps for as long as they are meant, whatever others need
// room.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "sluice/ports/origin.h"

namespace sluice::cache {

// Eight bytes for each object. Threads: as for a container.
class PinSet {
 public:
  // `identity` is that of the object's source (chunk_source.h).
  void Add(const std::string& identity, const OriginObject& object);
  // After the last Add, before the first Contains or comparison. Reader does so.
  void Seal();

  // By the name of the file that holds it; object_index.h.
  [[nodiscard]] bool Contains(std::string_view file_name) const;
  [[nodiscard]] std::size_t size() const { return names_.size(); }
  bool operator==(const PinSet&) const = default;

 private:
  // The first 64 bits of each name: two objects that share them would only be kept both.
  std::vector<std::uint64_t> names_;
};

}  // namespace sluice::cache
