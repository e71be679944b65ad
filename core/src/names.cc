#include "sluice/core/names.h"

#include <array>

#include <fmt/format.h>
#include <openssl/sha.h>

namespace sluice::names {
namespace {
constexpr std::size_t kMaxLabelLength = 63;
}

std::string ScopedName(std::string_view prefix, std::string_view ns, std::string_view name,
                       std::string_view uid) {
  std::string full = fmt::format("{}{}-{}", prefix, ns, name);
  return full.size() < kMaxLabelLength ? full : fmt::format("{}{}", prefix, uid);
}

std::string WorkerLabel(std::string_view ns, std::string_view name, std::string_view uid) {
  return ScopedName("fluid.io/s-", ns, name, uid);
}

std::string FuseLabel(std::string_view ns, std::string_view name, std::string_view uid) {
  return ScopedName("fluid.io/f-", ns, name, uid);
}

std::string DatasetId(std::string_view ns, std::string_view name, std::string_view uid) {
  return ScopedName("", ns, name, uid);
}

std::string PersistentVolumeName(std::string_view ns, std::string_view name) {
  return fmt::format("{}-{}", ns, name);
}

std::string SluiceMountPath(std::string_view mount_root, std::string_view ns,
                            std::string_view name) {
  return fmt::format("{}/{}/{}/{}/{}-fuse", mount_root, kSluiceRuntimeType, ns, name,
                     kSluiceRuntimeType);
}

std::string BrokerDirectory(std::string_view volume_handle) {
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest{};
  SHA256(reinterpret_cast<const unsigned char*>(volume_handle.data()), volume_handle.size(),
         digest.data());
  std::string hex;
  for (std::size_t i = 0; i < 16; ++i) hex += fmt::format("{:02x}", digest[i]);
  return hex;
}

}  // namespace sluice::names
