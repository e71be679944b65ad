// What `sluice mount` was asked for, checked and turned into files for the holder and the client.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sluice/core/fuse_config.h"
#include "sluice/core/result.h"

#include "credentials.h"

namespace sluice::cli {

struct MountRequest {
  std::string origin;
  std::string path;  // canonical
  std::string cache_directory;
  std::uint64_t cache_bytes = 0;
  std::uint64_t memory_bytes = 256ULL << 20;
  std::vector<std::string> pinned;  // paths that stay in the cache directory
  std::string pool_members;         // file of the cache workers (core/pool_members.h)
  std::string pool_credentials;     // file
  std::string pool_tls;             // directory of ca.crt, tls.crt and tls.key
  std::string pool_key;             // file
  std::string pool_domain;          // what follows the workers' names in their certificates
  Appearance appearance{};
  bool passthrough = true;
  bool read_write = false;  // new files can be made
  std::string endpoint;
  std::string region;
  bool path_style = false;
  std::string credentials;  // the option of that name; empty: not said
  bool requester_pays = false;
  std::string bandwidth;  // the options of these names; empty: not said
  std::string max_connections;
  bool hedge = true;
  std::string token_file;  // absolute; of a bearer token for http, https and hf; empty: none
  std::string metrics;     // further address; empty: only the private socket
  unsigned start_timeout_seconds = 60;
  unsigned refresh_seconds = 60;
};

// The client's configuration. Credentials of an object store are referred to as files in
// `secrets_directory`; a token stays where the user keeps it, so that a renewed one is found.
Result<FuseConfig> MakeConfig(const MountRequest& request, bool with_credentials, bool with_token,
                              const std::string& secrets_directory);

// kInvalidArgument when the cache is no directory, or when mount, cache and a directory that is
// mounted lie inside one another: reading would wait for itself.
Status CheckDirectories(const MountRequest& request);

// Creates the mount's private directory with config.json, request.json and the secrets in it. An
// earlier one of a dead holder is replaced.
Status PrepareDirectory(const MountRequest& request, const Credentials& credentials,
                        const std::string& directory);

// What the holder needs to know again.
Result<MountRequest> ReadRequest(const std::string& directory);

}  // namespace sluice::cli
