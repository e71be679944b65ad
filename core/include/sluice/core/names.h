// Names that are a contract: labels, object names and paths that users, Fluid's tools and our own
// programs must spell alike (shared reference: api.md 2.7 and 2.10, webhook.md 1.6, node-plane.md
// A2).
#pragma once

#include <string>
#include <string_view>

namespace sluice::names {

inline constexpr std::string_view kCsiDriver = "fuse.csi.fluid.io";
inline constexpr std::string_view kStorageClass = "fluid";
inline constexpr std::string_view kMountRoot = "/runtime-mnt";
inline constexpr std::string_view kSluiceRuntimeType = "sluice";
inline constexpr std::string_view kSluiceMountType = "fuse.sluice";
inline constexpr std::string_view kSluiceMountVolume = "sluice-fuse-mount";
// Where sluice-csi keeps one socket directory per volume:
// <kBrokerRoot>/<BrokerDirectory(handle)>/s.
inline constexpr std::string_view kBrokerRoot = "/run/fuse.csi.fluid.io";
inline constexpr std::string_view kBrokerSocket = "s";
// Files inside the FUSE container.
inline constexpr std::string_view kFuseConfigFile = "/etc/fluid/config/config.json";
inline constexpr std::string_view kPoolMembersFile = "/etc/fluid/config/workers.json";
inline constexpr std::string_view kSecretRoot = "/etc/fluid/secrets";

// `<prefix><ns>-<name>` while that is shorter than 63 characters, else `<prefix><uid>`.
std::string ScopedName(std::string_view prefix, std::string_view ns, std::string_view name,
                       std::string_view uid);

std::string WorkerLabel(std::string_view ns, std::string_view name,
                        std::string_view uid);  // fluid.io/s-…
std::string FuseLabel(std::string_view ns, std::string_view name,
                      std::string_view uid);  // fluid.io/f-…
std::string DatasetId(std::string_view ns, std::string_view name, std::string_view uid);
std::string PersistentVolumeName(std::string_view ns, std::string_view name);  // <ns>-<name>
// Host path of the native runtime's mount: /runtime-mnt/sluice/<ns>/<name>/sluice-fuse.
std::string SluiceMountPath(std::string_view mount_root, std::string_view ns,
                            std::string_view name);
// Directory name, at most 32 characters, for a volume's broker socket (socket paths are limited to
// 107 bytes): the first 32 hex digits of SHA-256 of the volume handle.
std::string BrokerDirectory(std::string_view volume_handle);

}  // namespace sluice::names
