#include "sluice/platform/random_text.h"

#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <openssl/rand.h>

namespace sluice::platform {

Result<std::string> RandomText(std::size_t bytes) {
  std::vector<unsigned char> random(bytes);
  if (RAND_priv_bytes(random.data(), static_cast<int>(bytes)) != 1) {
    return Fail(Code::kInternal, "the machine gives no randomness (OpenSSL RAND_priv_bytes)");
  }
  return fmt::format("{:02x}", fmt::join(random, ""));
}

}  // namespace sluice::platform
