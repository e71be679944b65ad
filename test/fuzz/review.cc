// The webhook's whole way: any bytes as the body of a request.
#include <string_view>

#include "json_mutator.h"
#include "review_fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  sluice::test::FuzzReview({reinterpret_cast<const char*>(data), size});
  return 0;
}

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size,
                                               std::size_t max_size, unsigned seed) {
  return sluice::test::MutateJson(data, size, max_size, seed, 0);
}
