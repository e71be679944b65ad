// CRC-32C (Castagnoli), the checksum of every block in the node cache.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace sluice::cache {

// Extends `crc` (0 to begin with) by `data`; by the processor's instruction where there is one.
std::uint32_t Crc32c(std::span<const std::byte> data, std::uint32_t crc = 0);

// The same by tables, on any processor.
std::uint32_t Crc32cPortable(std::span<const std::byte> data, std::uint32_t crc = 0);

}  // namespace sluice::cache
