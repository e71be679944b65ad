// One answer of an object store through the XML reader and the rules for names.
#pragma once

#include <string_view>

namespace sluice::test {

// Aborts unless what is read is what was written, an error is one that may be shown, and the
// listing holds file paths only, each once, none both file and directory.
void FuzzListing(std::string_view answer);

}  // namespace sluice::test
