// What a web server or the Hub lists, through the readers of index pages, manifests and trees.
#pragma once

#include <string_view>

namespace sluice::test {

// Aborts unless every name is a file's, every link leads below its page, what is asked for next is
// a URL of the same server, and an error is one that may be shown.
void FuzzIndex(std::string_view answer);

}  // namespace sluice::test
