// What hands out credentials answers, through the readers of JSON and XML.
#pragma once

#include <string_view>

namespace sluice::test {

// Aborts unless credentials that are read fit into the headers that carry them, what is written
// reads back, and an error is one that may be shown.
void FuzzIdentity(std::string_view answer);

}  // namespace sluice::test
