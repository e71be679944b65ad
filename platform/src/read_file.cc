#include "sluice/platform/read_file.h"

#include <array>
#include <fstream>

#include <fmt/format.h>

namespace sluice::platform {

Result<std::string> ReadFile(const std::string& path, std::size_t most) {
  std::ifstream file(path, std::ios::binary);
  std::string text;
  std::array<char, 64U << 10> part;
  while (file.read(part.data(), part.size()) || file.gcount() > 0) {
    text.append(part.data(), static_cast<std::size_t>(file.gcount()));
    if (text.size() > most) {
      return Fail(Code::kInvalidArgument, fmt::format("{}: larger than {} bytes", path, most));
    }
  }
  if (!file.eof()) return Fail(Code::kNotFound, fmt::format("{}: cannot be read", path));
  return text;
}

}  // namespace sluice::platform
