#include "sluice/core/fuse_config.h"

#include <algorithm>
#include <charconv>
#include <string_view>

#include <fmt/format.h>

#include "sluice/core/mount_options.h"
#include "sluice/core/path_pattern.h"

#include "hub_uri.h"

namespace sluice {
namespace {

constexpr std::string_view kSchemes = "s3, oss, cos, obs, minio, http, https, hf, file, local, pvc";
constexpr std::size_t kMaxComponent = 255;

bool IsDirectory(std::string_view scheme) { return scheme == "file" || scheme == "local"; }

bool IsAlnum(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

// Every '/'-separated component of `path` is a file name other than "." and "..".
Status CheckComponents(std::string_view path) {
  while (true) {
    const std::size_t slash = path.find('/');
    const std::string_view part = path.substr(0, slash);
    if (part.empty()) return Fail(Code::kInvalidArgument, "has an empty component (\"//\")");
    if (part == "." || part == "..") {
      return Fail(Code::kInvalidArgument, fmt::format("must not contain \"{}\"", part));
    }
    if (part.size() > kMaxComponent) {
      return Fail(Code::kInvalidArgument, "has a component of more than 255 bytes");
    }
    if (part.find('\0') != std::string_view::npos) {
      return Fail(Code::kInvalidArgument, "contains a NUL byte");
    }
    if (slash == std::string_view::npos) return Ok();
    path.remove_prefix(slash + 1);
  }
}

Status CheckBucket(std::string_view scheme, std::string_view bucket) {
  if (bucket.empty()) {
    return Fail(Code::kInvalidArgument,
                fmt::format("the bucket is missing; write {0}://<bucket>/<prefix>", scheme));
  }
  const bool well_formed = bucket.size() >= 3 && bucket.size() <= 63 && IsAlnum(bucket.front()) &&
                           IsAlnum(bucket.back()) &&
                           std::all_of(bucket.begin(), bucket.end(), [](char c) {
                             return IsAlnum(c) || c == '-' || c == '.' || c == '_';
                           });
  if (!well_formed) {
    return Fail(Code::kInvalidArgument,
                "the bucket's name must be 3 to 63 letters, digits, '.', '-' or '_' and begin and "
                "end with a letter or digit");
  }
  return Ok();
}

Status CheckClaim(std::string_view claim) {
  const bool well_formed =
      !claim.empty() && claim.size() <= 253 && std::all_of(claim.begin(), claim.end(), [](char c) {
        return (IsAlnum(c) && !(c >= 'A' && c <= 'Z')) || c == '-' || c == '.';
      });
  if (!well_formed) {
    return Fail(Code::kInvalidArgument,
                "the name of the claim is missing or malformed; write pvc://<claim>/<sub path>");
  }
  return Ok();
}

Result<MountUri> ParseDirectory(MountUri uri, std::string_view rest) {
  if (rest.empty() || rest.front() != '/') {
    return Fail(Code::kInvalidArgument,
                fmt::format("needs an absolute directory; write {}:///<directory>", uri.scheme));
  }
  while (rest.size() > 1 && rest.back() == '/') rest.remove_suffix(1);
  if (rest != "/") SLUICE_CHECK(CheckComponents(rest.substr(1)), "the directory");
  uri.path = rest;
  return uri;
}

Status CheckNoEscapedDots(std::string_view path) {
  for (std::size_t at = path.find('%'); at != std::string_view::npos; at = path.find('%', at + 1)) {
    const std::string_view digits = path.substr(at + 1, 2);
    const bool hex = digits.size() == 2 && std::all_of(digits.begin(), digits.end(), [](char c) {
                       return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f');
                     });
    if (!hex) return Fail(Code::kInvalidArgument, "has a '%' without two hexadecimal digits");
    if (digits == "00" || digits == "2e" || digits == "2E" || digits == "2f" || digits == "2F") {
      return Fail(Code::kInvalidArgument, "must not encode a NUL, '.' or '/'");
    }
  }
  return Ok();
}

// A URL, as a browser shows it: percent-encoding stays as it is.
Result<MountUri> ParseWeb(MountUri uri, std::string_view rest) {
  const std::size_t end = rest.find_first_of("/?#");
  uri.authority = rest.substr(0, end);
  if (uri.authority.find('@') != std::string::npos) {
    return Fail(Code::kInvalidArgument,
                "must not carry credentials; put a bearer token in a Secret and name it in "
                "encryptOptions as \"token\"");
  }
  if (auto host = ParseEndpoint(uri.scheme + "://" + uri.authority); !host) {
    return Fail(
        Code::kInvalidArgument,
        fmt::format("has no host or a malformed one; write {}://<host>[:<port>]/<directory>/",
                    uri.scheme));
  }
  rest = end == std::string_view::npos ? "" : rest.substr(end);
  if (rest.find_first_of("?#") != std::string_view::npos) {
    return Fail(Code::kInvalidArgument,
                "must not have a query or fragment ('?', '#'); write the URL of a directory");
  }
  if (!IsUrlText(rest)) {
    return Fail(Code::kInvalidArgument,
                "has characters that a URL does not have; percent-encode them (a blank is %20)");
  }
  SLUICE_CHECK(CheckNoEscapedDots(rest), "the path");
  if (!rest.empty()) rest.remove_prefix(1);
  while (!rest.empty() && rest.back() == '/') rest.remove_suffix(1);
  if (!rest.empty()) SLUICE_CHECK(CheckComponents(rest), "the path");
  uri.path = rest;
  return uri;
}

Result<MountUri> ParseHub(MountUri uri, std::string_view rest) {
  while (!rest.empty() && rest.back() == '/') rest.remove_suffix(1);
  auto hub = ParseHubUri(rest);
  if (!hub) return Fail(hub.error());
  if (!hub->revision.empty()) SLUICE_CHECK(CheckComponents(hub->revision), "the revision");
  if (!hub->path.empty()) SLUICE_CHECK(CheckComponents(hub->path), "the path");
  uri.authority = fmt::format("{}/{}", hub->kind, hub->repository);
  uri.path = std::move(hub->path);
  return uri;
}

// ---- JSON fields -------------------------------------------------------------------------------

Error Wrong(const std::string& field, std::string_view wanted) {
  return {Code::kInvalidArgument, fmt::format("{}: must be {}", field, wanted)};
}

// An absent or null field leaves `out` as it is.
Status ReadString(const Json& object, const char* key, const std::string& field, std::string& out) {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return Ok();
  if (!found->is_string()) return Fail(Wrong(field + "." + key, "a string"));
  out = found->get<std::string>();
  return Ok();
}

Status ReadBool(const Json& object, const char* key, const std::string& field, bool& out) {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return Ok();
  if (!found->is_boolean()) return Fail(Wrong(field + "." + key, "true or false"));
  out = found->get<bool>();
  return Ok();
}

Status ReadBytes(const Json& object, const char* key, const std::string& field,
                 std::uint64_t& out) {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return Ok();
  if (!found->is_number_unsigned()) {
    return Fail(Wrong(field + "." + key, "a whole number of bytes, 0 or more"));
  }
  out = found->get<std::uint64_t>();
  return Ok();
}

Status ReadStringMap(const Json& object, const char* key, const std::string& field,
                     std::map<std::string, std::string>& out) {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return Ok();
  const std::string name = field + "." + key;
  if (!found->is_object()) return Fail(Wrong(name, "an object of strings"));
  for (const auto& [option, value] : found->items()) {
    if (!value.is_string()) return Fail(Wrong(fmt::format("{}[\"{}\"]", name, option), "a string"));
    out[option] = value.get<std::string>();
  }
  return Ok();
}

Result<MountConfig> ParseMount(const Json& object, const std::string& field) {
  if (!object.is_object()) return Fail(Wrong(field, "an object"));
  MountConfig mount;
  for (const Status& status : {ReadString(object, "mountPoint", field, mount.mount_point),
                               ReadString(object, "name", field, mount.name),
                               ReadString(object, "path", field, mount.path),
                               ReadStringMap(object, "options", field, mount.options),
                               ReadStringMap(object, "secretFiles", field, mount.secret_files),
                               ReadBool(object, "readOnly", field, mount.read_only)}) {
    if (!status) return Fail(status.error());
  }
  return mount;
}

Status ParseMounts(const Json& document, FuseConfig& config) {
  const auto found = document.find("mounts");
  if (found == document.end() || !found->is_array()) {
    return Fail(Wrong("mounts", "a list with at least one mount"));
  }
  for (const Json& object : *found) {
    auto mount = ParseMount(object, fmt::format("mounts[{}]", config.mounts.size()));
    if (!mount) return Fail(mount.error());
    config.mounts.push_back(std::move(*mount));
  }
  if (auto status = ValidateMounts(config.mounts, "mounts"); !status) return status;
  for (MountConfig& mount : config.mounts) mount.path = EffectivePath(mount);
  return Ok();
}

Status ParseAccessModes(const Json& document, FuseConfig& config) {
  const auto found = document.find("accessModes");
  if (found == document.end() || found->is_null()) return Ok();
  if (!found->is_array()) return Fail(Wrong("accessModes", "a list of strings"));
  for (const Json& mode : *found) {
    if (!mode.is_string()) return Fail(Wrong("accessModes", "a list of strings"));
    config.access_modes.push_back(mode.get<std::string>());
  }
  return Ok();
}

Status ParsePinned(const Json& cache, std::vector<std::string>& pinned) {
  const auto found = cache.find("pinned");
  if (found == cache.end() || found->is_null()) return Ok();
  if (!found->is_array()) return Fail(Wrong("cache.pinned", "a list of paths"));
  for (const Json& path : *found) {
    if (!path.is_string()) return Fail(Wrong("cache.pinned", "a list of paths"));
    pinned.push_back(path.get<std::string>());
    SLUICE_CHECK(CheckPinned(pinned.back()), "cache.pinned");
  }
  return Ok();
}

Status ParseCache(const Json& document, CacheConfig& cache) {
  const auto found = document.find("cache");
  if (found == document.end() || found->is_null()) return Ok();
  if (!found->is_object()) return Fail(Wrong("cache", "an object"));
  for (const Status& status :
       {ReadString(*found, "dir", "cache", cache.directory),
        ReadBytes(*found, "quotaBytes", "cache", cache.quota_bytes),
        ReadBytes(*found, "memoryBudgetBytes", "cache", cache.memory_budget_bytes),
        ParsePinned(*found, cache.pinned)}) {
    if (!status) return status;
  }
  if (!cache.directory.empty() && cache.directory.front() != '/') {
    return Fail(Wrong("cache.dir", "an absolute path"));
  }
  if (cache.memory_budget_bytes == 0) {
    return Fail(Wrong("cache.memoryBudgetBytes", "more than 0; leave it out for the default"));
  }
  return Ok();
}

Status ParsePool(const Json& document, PoolConfig& pool) {
  const auto found = document.find("pool");
  if (found == document.end() || found->is_null()) return Ok();
  if (!found->is_object()) return Fail(Wrong("pool", "an object"));
  for (const auto& [key, file] :
       {std::pair("membersFile", &pool.members_file),
        std::pair("credentialsFile", &pool.credentials_file),
        std::pair("tlsDirectory", &pool.tls_directory), std::pair("keyFile", &pool.key_file)}) {
    if (auto status = ReadString(*found, key, "pool", *file); !status) return status;
    if (!file->empty() && file->front() != '/') {
      return Fail(Wrong(fmt::format("pool.{}", key), "an absolute path"));
    }
  }
  return ReadString(*found, "tlsDomain", "pool", pool.tls_domain);
}

Status ReadMode(const Json& document, const char* key, std::uint32_t& out) {
  const auto found = document.find(key);
  if (found == document.end() || found->is_null()) return Ok();
  SLUICE_TRY(mode, ParseMode(found->is_string() ? found->get<std::string>() : ""), key);
  out = mode;
  return Ok();
}

Status ParseAppearance(const Json& document, Appearance& appearance) {
  if (const auto found = document.find("owner"); found != document.end() && !found->is_null()) {
    if (!found->is_object()) return Fail(Wrong("owner", "an object"));
    if (auto status = ReadOwner(*found, "owner", appearance); !status) return status;
  }
  for (const Status& status : {ReadMode(document, "fileMode", appearance.file_mode),
                               ReadMode(document, "directoryMode", appearance.directory_mode)}) {
    if (!status) return status;
  }
  return Ok();
}

Status ParseDataset(const Json& document, FuseConfig& config) {
  const auto found = document.find("dataset");
  if (found == document.end() || found->is_null()) return Ok();
  if (!found->is_object()) return Fail(Wrong("dataset", "an object"));
  for (const Status& status : {ReadString(*found, "namespace", "dataset", config.dataset_namespace),
                               ReadString(*found, "name", "dataset", config.dataset_name),
                               ReadString(*found, "uid", "dataset", config.dataset_uid)}) {
    if (!status) return status;
  }
  return Ok();
}

// `inner` lies below `outer`: "/" and "/a", "/a" and "/a/b".
bool LiesBelow(const std::string& inner, const std::string& outer) {
  const std::string prefix = outer == "/" ? outer : outer + "/";
  return inner.size() > prefix.size() && inner.compare(0, prefix.size(), prefix) == 0;
}

}  // namespace

Status ReadOwner(const Json& owner, std::string_view field, Appearance& appearance) {
  for (const auto& [key, id] :
       {std::pair("uid", &appearance.uid), std::pair("gid", &appearance.gid)}) {
    const auto found = owner.find(key);
    if (found == owner.end() || found->is_null()) continue;
    // The last number of 32 bits means "none" to the kernel.
    if (!found->is_number_integer() || *found < 0 || *found >= UINT32_MAX) {
      return Fail(Wrong(fmt::format("{}.{}", field, key), "a whole number from 0 to 4294967294"));
    }
    *id = found->get<std::uint32_t>();
  }
  return Ok();
}

Result<std::uint32_t> ParseMode(std::string_view text) {
  constexpr std::uint32_t kMost = 0777;
  std::uint32_t mode = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), mode, 8);
  if (error != std::errc() || end != text.data() + text.size() || mode > kMost) {
    return Fail(Code::kInvalidArgument, "must be octal permission bits such as 0440");
  }
  return mode;
}

Status CheckPinned(const std::string& path) {
  auto pattern = PathPattern::Parse(path);
  if (!pattern) return Fail(pattern.error().Wrap(fmt::format("\"{}\"", path)));
  if (!pattern->Matches(pattern->Start())) return Ok();
  return Fail(Code::kInvalidArgument,
              fmt::format("\"{}\" means the whole dataset; without a pin nothing of it is evicted "
                          "either while the cache has room",
                          path));
}

bool IsObjectStore(std::string_view scheme) {
  return scheme == "s3" || scheme == "oss" || scheme == "cos" || scheme == "obs" ||
         scheme == "minio";
}

bool IsWeb(std::string_view scheme) { return scheme == "http" || scheme == "https"; }

Result<MountUri> ParseMountUri(const std::string& mount_point) {
  const std::size_t colon = mount_point.find("://");
  if (mount_point.empty() || colon == std::string::npos || colon == 0) {
    return Fail(
        Code::kInvalidArgument,
        fmt::format("must be a URI such as s3://bucket/prefix; known schemes: {}", kSchemes));
  }
  MountUri uri;
  uri.scheme = mount_point.substr(0, colon);
  std::string_view rest = std::string_view(mount_point).substr(colon + 3);
  if (IsDirectory(uri.scheme)) return ParseDirectory(std::move(uri), rest);
  if (IsWeb(uri.scheme)) return ParseWeb(std::move(uri), rest);
  if (uri.scheme == "hf") return ParseHub(std::move(uri), rest);
  if (!IsObjectStore(uri.scheme) && uri.scheme != "pvc") {
    return Fail(Code::kInvalidArgument,
                fmt::format("scheme \"{}\" is not known to the native runtime; known schemes: {}",
                            uri.scheme, kSchemes));
  }
  const std::size_t slash = rest.find('/');
  uri.authority = rest.substr(0, slash);
  rest = slash == std::string_view::npos ? "" : rest.substr(slash + 1);
  while (!rest.empty() && rest.back() == '/') rest.remove_suffix(1);
  uri.path = rest;
  if (uri.authority.find('@') != std::string::npos) {
    return Fail(Code::kInvalidArgument,
                "must not carry credentials; put them in a Secret and name it in encryptOptions");
  }
  if (auto status =
          uri.scheme == "pvc" ? CheckClaim(uri.authority) : CheckBucket(uri.scheme, uri.authority);
      !status) {
    return Fail(status.error());
  }
  if (!uri.path.empty()) SLUICE_CHECK(CheckComponents(uri.path), "the path");
  return uri;
}

std::string EffectivePath(const MountConfig& mount) {
  std::string path = mount.path;
  if (path.empty()) path = "/" + mount.name;
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

Status ValidateMount(const MountConfig& mount, const std::string& field) {
  if (auto uri = ParseMountUri(mount.mount_point); !uri) {
    return Fail(uri.error().Wrap(field + ".mountPoint"));
  }
  if (mount.path.empty()) {
    if (mount.name.find('/') != std::string::npos) {
      return Fail(Wrong(field + ".name", "without '/'"));
    }
    if (!mount.name.empty()) SLUICE_CHECK(CheckComponents(mount.name), field + ".name");
    return Ok();
  }
  if (mount.path.front() != '/') {
    return Fail(Wrong(field + ".path", "absolute (begin with '/')"));
  }
  const std::string path = EffectivePath(mount);
  if (path != "/") SLUICE_CHECK(CheckComponents(path.substr(1)), field + ".path");
  return Ok();
}

Status ValidateMounts(const std::vector<MountConfig>& mounts, const std::string& field) {
  if (mounts.empty()) {
    return Fail(Code::kInvalidArgument, field + ": must have at least one mount");
  }
  for (std::size_t i = 0; i < mounts.size(); ++i) {
    const std::string place = fmt::format("{}[{}]", field, i);
    if (auto status = ValidateMount(mounts[i], place); !status) return status;
    const std::string path = EffectivePath(mounts[i]);
    for (std::size_t j = 0; j < i; ++j) {
      const std::string other = EffectivePath(mounts[j]);
      if (path == other) {
        return Fail(Code::kInvalidArgument,
                    fmt::format("{}: appears at \"{}\" like {}[{}]; give each mount its own name "
                                "or path",
                                place, path, field, j));
      }
      if (LiesBelow(path, other) || LiesBelow(other, path)) {
        return Fail(Code::kInvalidArgument,
                    fmt::format("{}: \"{}\" and \"{}\" of {}[{}] lie inside one another", place,
                                path, other, field, j));
      }
    }
  }
  return Ok();
}

Result<FuseConfig> ParseFuseConfig(const Json& document) {
  if (!document.is_object()) return Fail(Wrong("the configuration", "a JSON object"));
  FuseConfig config;
  for (const auto& read :
       {ParseMounts(document, config), ParseAccessModes(document, config),
        ParseCache(document, config.cache), ParsePool(document, config.pool),
        ParseAppearance(document, config.appearance), ParseDataset(document, config)}) {
    if (!read) return Fail(read.error());
  }
  if (const auto found = document.find("targetPath"); found != document.end()) {
    if (!found->is_string()) return Fail(Wrong("targetPath", "a string"));
    config.target_path = found->get<std::string>();
    if (!config.target_path.empty() && config.target_path.front() != '/') {
      return Fail(Wrong("targetPath", "an absolute path"));
    }
  }
  return config;
}

Json RenderFuseConfig(const FuseConfig& config) {
  Json mounts = Json::array();
  for (const MountConfig& mount : config.mounts) {
    Json object = Json::object({{"mountPoint", mount.mount_point},
                                {"path", EffectivePath(mount)},
                                {"readOnly", mount.read_only}});
    if (!mount.name.empty()) object["name"] = mount.name;
    if (!mount.options.empty()) object["options"] = mount.options;
    if (!mount.secret_files.empty()) object["secretFiles"] = mount.secret_files;
    mounts.push_back(std::move(object));
  }
  Json document = Json::object();
  document["mounts"] = std::move(mounts);
  document["targetPath"] = config.target_path;
  document["accessModes"] = config.access_modes;
  document["cache"] = Json::object({{"dir", config.cache.directory},
                                    {"quotaBytes", config.cache.quota_bytes},
                                    {"memoryBudgetBytes", config.cache.memory_budget_bytes}});
  if (!config.cache.pinned.empty()) document["cache"]["pinned"] = config.cache.pinned;
  if (!config.pool.members_file.empty()) {
    Json& pool = document["pool"] = Json::object({{"membersFile", config.pool.members_file}});
    for (const auto& [key, value] : {std::pair("credentialsFile", &config.pool.credentials_file),
                                     std::pair("tlsDirectory", &config.pool.tls_directory),
                                     std::pair("tlsDomain", &config.pool.tls_domain),
                                     std::pair("keyFile", &config.pool.key_file)}) {
      if (!value->empty()) pool[key] = *value;
    }
  }
  const Appearance& appearance = config.appearance;
  document["owner"] = Json::object({{"uid", appearance.uid}, {"gid", appearance.gid}});
  document["fileMode"] = fmt::format("{:04o}", appearance.file_mode);
  document["directoryMode"] = fmt::format("{:04o}", appearance.directory_mode);
  document["dataset"] = Json::object({{"namespace", config.dataset_namespace},
                                      {"name", config.dataset_name},
                                      {"uid", config.dataset_uid}});
  return document;
}

}  // namespace sluice
