// Objects, and correct answers to requests for ranges of them, for tests with a FakeServer.
#pragma once

#include <cstdio>
#include <string>
#include <string_view>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "sluice/ports/origin.h"

#include "fake_server.h"

namespace sluice::test {

inline constexpr std::string_view kTag = "ETag: \"v1\"";

inline OriginObject Object(std::string path, std::uint64_t size) {
  OriginObject object;
  object.path = std::move(path);
  object.size = size;
  object.version = "v1";
  return object;
}

inline std::string Pattern(std::size_t size) {
  std::string bytes(size, '\0');
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>('a' + i % 23);
  return bytes;
}

struct Range {
  std::size_t first = 0;
  std::size_t last = 0;
};
inline Range RangeOf(const FakeRequest& request) {
  Range range;
  const std::string& text = request.headers.at("range");
  if (std::sscanf(text.c_str(), "bytes=%zu-%zu", &range.first, &range.last) != 2) ADD_FAILURE();
  return range;
}

// A correct answer to a ranged GET, of which a test may spoil parts.
inline FakeReply Partial(const std::string& object, Range range) {
  return Answer(206, object.substr(range.first, range.last - range.first + 1),
                {std::string(kTag), fmt::format("Content-Range: bytes {}-{}/{}", range.first,
                                                range.last, object.size())});
}

}  // namespace sluice::test
