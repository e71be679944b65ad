// The configuration of one FUSE client: what the controller writes into the ConfigMap
// `<dataset>-fuse-config` (key config.json) and `sluice-fuse --config` reads. The same shape as
// Fluid's thin runtime gives its clients (api.md 1.9), plus `secretFiles`, `cache` and `pool`.
//
//   {"mounts": [{"mountPoint": "s3://bucket/prefix", "name": "m", "path": "/",
//                "options": {"endpoint": "http://…", "region": "…"},
//                "secretFiles": {"aws.accessKeyId": "/etc/fluid/secrets/<secret>/<key>"},
//                "readOnly": true}],
//    "targetPath": "/runtime-mnt/sluice/ns/name/sluice-fuse",
//    "accessModes": ["ReadOnlyMany"],
//    "cache": {"dir": "/cache", "quotaBytes": 0, "memoryBudgetBytes": 268435456,
//              "pinned": ["base/**", "**/tokenizer.json"]},
//    "pool": {"membersFile": "/etc/fluid/config/workers.json"},
//    "owner": {"uid": 1000, "gid": 1000}, "fileMode": "0444", "directoryMode": "0555",
//    "dataset": {"namespace": "ns", "name": "name", "uid": "…"}}
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "sluice/core/resource.h"
#include "sluice/core/result.h"

namespace sluice {

struct MountConfig {
  std::string mount_point;  // URI of the source
  std::string name;
  std::string path;  // absolute, below the dataset root; "/" is the root itself
  std::map<std::string, std::string> options;
  std::map<std::string, std::string> secret_files;  // option name -> file that holds its value
  bool read_only = true;
};

struct CacheConfig {
  std::string directory;          // empty: no node cache
  std::uint64_t quota_bytes = 0;  // 0: as much as the file system has, less a reserve
  std::uint64_t memory_budget_bytes = 256ULL << 20;  // buffers of the whole process
  // Paths below the dataset's root (path_pattern.h) that are never evicted.
  std::vector<std::string> pinned{};
};

// The dataset's cache workers.
struct PoolConfig {
  std::string members_file;      // pool_members.h; followed while it changes; empty: no pool
  std::string credentials_file;  // "user:password", a line; empty: the workers ask for none
  // ca.crt, tls.crt and tls.key of the client, for TLS with the workers; empty: none. Their
  // certificates name "<worker>.<domain>".
  std::string tls_directory{};
  std::string tls_domain{};
  std::string
      key_file{};  // 64 hexadecimal digits, by which chunks are encrypted; empty: they are not
};

// How files and directories look to who reads them; the kernel checks access by it. A mount that is
// read-only is that whatever the modes say.
struct Appearance {
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::uint32_t file_mode = 0444;
  std::uint32_t directory_mode = 0555;
};

struct FuseConfig {
  std::vector<MountConfig> mounts;
  std::string target_path;
  std::vector<std::string> access_modes;
  CacheConfig cache;
  PoolConfig pool{};
  Appearance appearance{};
  std::string dataset_namespace;
  std::string dataset_name;
  std::string dataset_uid;
};

// A mount point taken apart: "s3://bucket/a/b" is {"s3", "bucket", "a/b"}, "file:///dir" is
// {"file", "", "/dir"}, "pvc://claim/sub" is {"pvc", "claim", "sub"}, "https://host:1/a%20b/" is
// {"https", "host:1", "a%20b"}, "hf://org/name@rev/dir" is {"hf", "models/org/name", "dir"}. Taken
// literally: no percent decoding, no query.
struct MountUri {
  std::string scheme;
  std::string authority;  // bucket, claim, host or repository; empty for directories
  std::string path;       // absolute for directories, else without leading and trailing slash
};
// kInvalidArgument for a scheme that the native runtime does not know, a missing or malformed
// bucket or host, credentials in the URI (not echoed), "." or ".." or an empty component in the
// path.
Result<MountUri> ParseMountUri(const std::string& mount_point);

// The ids of `owner`, as a Dataset's spec.owner has them; absent ones leave theirs as they are.
// Names
// ("user", "group") are not read: the kernel knows numbers only. kInvalidArgument names the field
// below `field`.
Status ReadOwner(const Json& owner, std::string_view field, Appearance& appearance);

// Permission bits as chmod takes them, "0444" or "755". kInvalidArgument for what is none.
Result<std::uint32_t> ParseMode(std::string_view text);

// A path of CacheConfig::pinned. kInvalidArgument for a pattern that is too long, or means
// everything.
Status CheckPinned(const std::string& path);

bool IsObjectStore(std::string_view scheme);  // s3, oss, cos, obs, minio
bool IsWeb(std::string_view scheme);          // http, https

// Where the mount appears below the dataset's root: `path`, or "/<name>" when that is empty, or
// "/".
std::string EffectivePath(const MountConfig& mount);

// Errors name the field ("mounts[0].mountPoint: …") and the fix. Unknown fields are ignored. In
// the result every mount's `path` is its effective path.
Result<FuseConfig> ParseFuseConfig(const Json& document);
Json RenderFuseConfig(const FuseConfig& config);

// A mount of a Dataset's spec checked on its own: scheme known to the native runtime (s3, oss, cos,
// obs, minio, http, https, hf, file, local, pvc), bucket, host or directory present, path absolute
// and without "..". `field` names the place in the object for the message, as in "spec.mounts[0]".
Status ValidateMount(const MountConfig& mount, const std::string& field);

// All mounts of a Dataset: at least one, each valid, no two at the same path or one inside another.
// `field` is "spec.mounts" or the like.
Status ValidateMounts(const std::vector<MountConfig>& mounts, const std::string& field);

}  // namespace sluice
