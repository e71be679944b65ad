#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "sluice/certs/certificate_secret.h"
#include "sluice/platform/unique_fd.h"

namespace sluice::certs {
namespace {

Status WriteFile(const std::string& path, const std::string& text) {
  const auto failed = [&](const char* what) {
    return Fail(Code::kInternal, fmt::format("{} {}: {}", what, path, std::strerror(errno)));
  };
  const std::string fresh = path + ".new";
  {
    const platform::UniqueFd fd(
        ::open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!fd.Valid()) return failed("create");
    std::size_t written = 0;
    while (written < text.size()) {
      const ssize_t n = ::write(fd.Get(), text.data() + written, text.size() - written);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return failed("write");
      written += static_cast<std::size_t>(n);
    }
  }
  if (std::rename(fresh.c_str(), path.c_str()) != 0) return failed("replace");
  return Ok();
}

}  // namespace

Status WriteCertificateFiles(const std::string& directory, const Identity& identity) {
  const std::array<std::pair<const char*, const std::string*>, 6> files{{
      {"ca-key.pem", &identity.ca.key},
      {"ca-cert.pem", &identity.ca.certificate},
      {"key.pem", &identity.serving.key},
      {"cert.pem", &identity.serving.certificate},
      {"tls.key", &identity.serving.key},
      {"tls.crt", &identity.serving.certificate},
  }};
  for (const auto& [name, text] : files) {
    SLUICE_CHECK(WriteFile(directory + "/" + name, *text), "certificate files");
  }
  return Ok();
}

}  // namespace sluice::certs
