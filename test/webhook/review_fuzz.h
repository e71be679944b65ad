// One body through decoding, decision and encoding.
#pragma once

#include <string_view>

namespace sluice::test {

// Aborts unless the answer is an AdmissionReview, the same for the same bytes, with a patch that
// can be applied.
void FuzzReview(std::string_view body);

}  // namespace sluice::test
