// Where an HTTP/1.1 request ends, so that no thread waits for the rest of it.
#pragma once

#include <cstddef>
#include <string_view>

namespace sluice::webhook {

// Of a request's line and headers, and of a chunked body's trailers: many times a usual one.
inline constexpr std::size_t kMaxHeadBytes = 64U << 10;

// Follows one request while it comes.
class RequestBounds {
 public:
  enum class State {
    kUnfinished,
    kWhole,      // what follows in the text belongs to the next request
    kMalformed,  // nobody can say where it ends
  };
  // `text` begins with the request; each is the one before and more.
  State Look(std::string_view text);

 private:
  State LookAtChunks(std::string_view text);

  std::size_t chunk_ = 0;  // where the first one begins that was not passed; 0: not known yet
};

// Whether the client sends the body only when it is told to ("Expect: 100-continue").
bool WaitsToBeToldToGoOn(std::string_view text);

}  // namespace sluice::webhook
