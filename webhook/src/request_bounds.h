// Where an HTTP/1.1 request ends, so that no thread waits for the rest of it.
#pragma once

#include <string_view>

namespace sluice::webhook {

// Whether the text holds a whole request, to its body's end. What only a parser can judge (a length
// that is no number, a head that does not end) counts as whole: the parser decides.
bool HoldsWholeRequest(std::string_view text);

// Whether the client sends the body only when it is told to ("Expect: 100-continue").
bool WaitsToBeToldToGoOn(std::string_view text);

}  // namespace sluice::webhook
