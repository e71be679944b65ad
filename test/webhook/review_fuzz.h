// One body through decoding, decision and encoding. Crashes, or does not.
#pragma once

#include <string_view>

namespace sluice::test {

void FuzzReview(std::string_view body);

}  // namespace sluice::test
