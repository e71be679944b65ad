#include "mount_request.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "sluice/core/mount_options.h"

#include "runtime_directory.h"

namespace sluice::cli {
namespace {

namespace fs = std::filesystem;

constexpr const char* kKeyFile = "/access-key-id";
constexpr const char* kSecretFile = "/secret-access-key";
constexpr const char* kTokenFile = "/session-token";

Json RequestToJson(const MountRequest& request) {
  return Json::object({{"origin", request.origin},
                       {"path", request.path},
                       {"passthrough", request.passthrough},
                       {"readWrite", request.read_write},
                       {"metrics", request.metrics},
                       {"startTimeoutSeconds", request.start_timeout_seconds},
                       {"refreshSeconds", request.refresh_seconds}});
}

Status CheckOrigin(const std::string& origin) {
  const auto uri = ParseMountUri(origin);
  std::error_code error;
  if (!uri && origin.find("://") == std::string::npos && fs::is_directory(origin, error)) {
    return Fail(Code::kInvalidArgument, fmt::format("a directory is written file://{}",
                                                    fs::canonical(origin, error).string()));
  }
  if (!uri) return Fail(uri.error());
  if (uri->scheme == "pvc") {
    return Fail(Code::kInvalidArgument, "a claim is in a cluster; mount the bucket or directory");
  }
  return Ok();
}

// "/a/b" lies in "/a/b" and in "/a"; as far as the paths exist, symlinks are resolved.
bool LiesIn(const std::string& inner, const std::string& outer) {
  std::error_code error;
  const fs::path given = fs::weakly_canonical(inner, error);
  const fs::path place = fs::weakly_canonical(outer, error);
  const auto [end, ignored] = std::mismatch(place.begin(), place.end(), given.begin(), given.end());
  return end == place.end();
}

}  // namespace

Status CheckDirectories(const MountRequest& request) {
  const std::string& cache = request.cache_directory;
  std::error_code error;
  if (!cache.empty() && fs::exists(cache, error) && !fs::is_directory(cache, error)) {
    return Fail(Code::kInvalidArgument, fmt::format("--cache-dir {} is not a directory", cache));
  }
  if (!cache.empty() && LiesIn(cache, request.path)) {
    return Fail(Code::kInvalidArgument,
                fmt::format("--cache-dir {} would be hidden by the mount", cache));
  }
  const auto uri = ParseMountUri(request.origin);
  if (!uri || !uri->authority.empty()) return Ok();  // a bucket
  if (LiesIn(uri->path, request.path) || LiesIn(request.path, uri->path)) {
    return Fail(Code::kInvalidArgument,
                fmt::format("{} and {} lie inside one another: the mount would read itself",
                            uri->path, request.path));
  }
  if (!cache.empty() && LiesIn(cache, uri->path)) {
    return Fail(Code::kInvalidArgument,
                fmt::format("--cache-dir {} lies in the directory that is mounted", cache));
  }
  return Ok();
}

Result<FuseConfig> MakeConfig(const MountRequest& request, bool with_credentials, bool with_token,
                              const std::string& secrets_directory) {
  SLUICE_CHECK(CheckOrigin(request.origin), request.origin);
  const std::string scheme = ParseMountUri(request.origin)->scheme;
  MountConfig mount;
  mount.mount_point = request.origin;
  mount.name = "data";
  mount.path = "/";
  if (request.read_write && (IsWeb(scheme) || scheme == "hf")) {
    return Fail(Code::kInvalidArgument,
                "--read-write is for object stores and directories only: a web server and the Hub "
                "take no files");
  }
  mount.read_only = !request.read_write;
  if (!request.endpoint.empty()) mount.options["endpoint"] = request.endpoint;
  if (!request.region.empty()) mount.options["region"] = request.region;
  if (request.path_style) mount.options["pathStyle"] = "true";
  if (!request.credentials.empty() || request.requester_pays) {
    if (!IsObjectStore(scheme)) {
      return Fail(Code::kInvalidArgument,
                  "--credentials and --requester-pays are for object stores only");
    }
    if (!request.credentials.empty()) mount.options["credentials"] = request.credentials;
    if (request.requester_pays) mount.options["requesterPays"] = "true";
  }
  if (!request.bandwidth.empty()) mount.options["bandwidth"] = request.bandwidth;
  if (!request.max_connections.empty()) mount.options["maxConnections"] = request.max_connections;
  if (!request.hedge) mount.options["hedge"] = "false";
  if (!request.token_file.empty()) {
    if (!IsWeb(scheme) && scheme != "hf") {
      return Fail(Code::kInvalidArgument, "--token-file is for http, https and hf only");
    }
    mount.secret_files["token"] = request.token_file;
  }
  if (with_credentials && IsObjectStore(scheme)) {
    mount.secret_files["accessKeyId"] = secrets_directory + kKeyFile;
    mount.secret_files["secretAccessKey"] = secrets_directory + kSecretFile;
    if (with_token) mount.secret_files["sessionToken"] = secrets_directory + kTokenFile;
  }
  SLUICE_CHECK(CheckMountOptions(mount), "mount");
  FuseConfig config;
  config.mounts.push_back(std::move(mount));
  config.target_path = request.path;
  config.access_modes = {request.read_write ? "ReadWriteMany" : "ReadOnlyMany"};
  config.cache.directory = request.cache_directory;
  config.cache.quota_bytes = request.cache_bytes;
  config.cache.memory_budget_bytes = request.memory_bytes;
  for (const std::string& path : request.pinned) SLUICE_CHECK(CheckPinned(path), "--pin");
  config.cache.pinned = request.pinned;
  config.pool = {.members_file = request.pool_members,
                 .credentials_file = request.pool_credentials,
                 .tls_directory = request.pool_tls,
                 .tls_domain = request.pool_domain,
                 .key_file = request.pool_key};
  config.appearance = request.appearance;
  return config;
}

Status PrepareDirectory(const MountRequest& request, const Credentials& credentials,
                        const std::string& directory) {
  SLUICE_TRY(
      config,
      MakeConfig(request, credentials.Given(), !credentials.session_token.Empty(), directory),
      "mount");
  std::error_code ignored;
  fs::remove_all(directory, ignored);
  if (::mkdir(directory.c_str(), 0700) != 0) {
    return Fail(Code::kInternal, fmt::format("create {}: {}", directory, std::strerror(errno)));
  }
  if (credentials.Given()) {
    SLUICE_CHECK(WritePrivateFile(directory + kKeyFile, credentials.access_key_id.Reveal()),
                 "credentials");
    SLUICE_CHECK(WritePrivateFile(directory + kSecretFile, credentials.secret_access_key.Reveal()),
                 "credentials");
    SLUICE_CHECK(WritePrivateFile(directory + kTokenFile, credentials.session_token.Reveal()),
                 "credentials");
  }
  SLUICE_CHECK(WritePrivateFile(directory + "/config.json", RenderFuseConfig(config).dump(2)),
               "mount");
  SLUICE_CHECK(WritePrivateFile(directory + "/request.json", RequestToJson(request).dump(2)),
               "mount");
  return Ok();
}

Result<MountRequest> ReadRequest(const std::string& directory) {
  std::ifstream file(directory + "/request.json");
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const Json document = Json::parse(text, nullptr, false);
  if (!document.is_object() || !document.contains("path")) {
    return Fail(Code::kInvalidArgument, directory + "/request.json is missing or damaged");
  }
  MountRequest request;
  request.origin = document.value("origin", "");
  request.path = document.value("path", "");
  request.passthrough = document.value("passthrough", true);
  request.read_write = document.value("readWrite", false);
  request.metrics = document.value("metrics", "");
  request.start_timeout_seconds = document.value("startTimeoutSeconds", 60U);
  request.refresh_seconds = document.value("refreshSeconds", 60U);
  return request;
}

}  // namespace sluice::cli
