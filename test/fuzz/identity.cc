// Any bytes as the answer of who hands out credentials: an STS, an agent, a metadata service.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "identity_fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  sluice::test::FuzzIdentity({reinterpret_cast<const char*>(data), size});
  return 0;
}
