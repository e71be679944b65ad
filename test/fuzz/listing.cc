// Any bytes as an object store's answer to a listing.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "listing_fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  sluice::test::FuzzListing({reinterpret_cast<const char*>(data), size});
  return 0;
}
