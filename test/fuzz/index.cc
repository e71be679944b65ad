// Any bytes as a web server's listing: an index page, a manifest, a page of the Hub's tree.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "index_fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  sluice::test::FuzzIndex({reinterpret_cast<const char*>(data), size});
  return 0;
}
