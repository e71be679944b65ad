#include "secret_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include <fmt/format.h>

#include "sluice/platform/unique_fd.h"

#include "temporary_credentials.h"

namespace sluice::origin {
namespace {

constexpr std::size_t kMaxSecret = 16U << 10;  // session tokens have a few KiB

Result<std::string> ReadSmallFile(const std::string& path) {
  const platform::UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file.Valid()) {
    return Fail(Code::kPermissionDenied, std::generic_category().message(errno));
  }
  std::string text(kMaxSecret + 1, '\0');
  std::size_t size = 0;
  while (size < text.size()) {
    const ssize_t got = ::read(file.Get(), text.data() + size, text.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Fail(Code::kPermissionDenied, std::generic_category().message(errno));
    if (got == 0) break;
    size += static_cast<std::size_t>(got);
  }
  if (size > kMaxSecret) return Fail(Code::kPermissionDenied, "is longer than 16 KiB");
  text.resize(size);
  return text;
}

std::string Trim(const std::string& text) {
  constexpr const char* kBlank = " \t\r\n";
  const std::size_t begin = text.find_first_not_of(kBlank);
  if (begin == std::string::npos) return "";
  return text.substr(begin, text.find_last_not_of(kBlank) - begin + 1);
}

}  // namespace

Result<std::string> ReadSecret(const CredentialSource& source) {
  if (!source.Given()) return std::string();
  std::string value = Trim(source.value);
  if (!source.file.empty()) {
    auto text = ReadSmallFile(source.file);
    if (!text) {
      return Fail(text.error().Wrap(
          fmt::format("read the Secret of option \"{}\" ({})", source.option, source.file)));
    }
    value = Trim(*text);
  }
  // It goes into a header.
  const bool plain =
      std::all_of(value.begin(), value.end(), [](char c) { return c > ' ' && c < '\x7f'; });
  if (value.empty() || !plain) {
    return Fail(Code::kPermissionDenied,
                fmt::format("the value of option \"{}\" is empty or has characters that no key "
                            "has; check the Secret",
                            source.option));
  }
  return value;
}

Result<platform::Secret> ReadTokenFile(const std::string& path, std::string_view variable) {
  auto text = ReadSmallFile(path);
  if (!text) {
    return Fail(text.error().Wrap(fmt::format("read the token of {} ({})", variable, path)));
  }
  std::string value = Trim(*text);
  if (value.empty() || !IsHeaderText(value, value.size())) {
    return Fail(Code::kPermissionDenied,
                fmt::format("the token of {} ({}) is empty or has characters that no token has",
                            variable, path));
  }
  return platform::Secret(std::move(value));
}

}  // namespace sluice::origin
