#include "credentials.h"

#include <algorithm>

#include <fmt/format.h>

#include "sluice/platform/read_file.h"

namespace sluice::pool {
namespace {

constexpr std::size_t kLongestFile = 16U << 10;
constexpr std::size_t kLongestWord = 256;

// The request separates them by a blank and ends with the line.
bool IsWord(const std::string& word) {
  return !word.empty() && word.size() <= kLongestWord &&
         std::all_of(word.begin(), word.end(), [](char c) { return c > ' ' && c != '\x7f'; });
}

}  // namespace

Result<PoolCredentials> ReadPoolCredentials(const std::string& path) {
  const auto text = platform::ReadFile(path, kLongestFile);
  if (!text) {
    return Fail(Code::kPermissionDenied,
                fmt::format("credentials of the pool: {}", text.error().message));
  }
  std::string line = text->substr(0, text->find('\n'));
  if (line.ends_with('\r')) line.pop_back();
  const std::size_t colon = line.find(':');
  if (colon != std::string::npos) {
    const std::string user = line.substr(0, colon);
    const std::string password = line.substr(colon + 1);
    if (IsWord(user) && IsWord(password)) return PoolCredentials{user, platform::Secret(password)};
  }
  return Fail(Code::kPermissionDenied,
              fmt::format("credentials of the pool: the first line of {} must be "
                          "<user>:<password>, both without blanks and of at most {} characters",
                          path, kLongestWord));
}

}  // namespace sluice::pool
