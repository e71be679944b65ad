// SipHash-2-4 with a fixed key: 64-bit identities that are the same in every process.
#pragma once

#include <cstdint>
#include <string_view>

namespace sluice::fuse_client {

std::uint64_t SipHash(std::string_view bytes);

}  // namespace sluice::fuse_client
