// What a mount says about its object store, in one shape: users write it in the dialects of
// Alluxio, Jindo, JuiceFS or plainly, and all of them are understood (semantics in s3_options.cc's
// table; api.md of the shared reference, 1.5).
#pragma once

#include <string>

#include "sluice/core/fuse_config.h"
#include "sluice/core/mount_options.h"
#include "sluice/core/result.h"

namespace sluice {

struct S3Options {
  std::string scheme;  // s3, oss, cos, obs, minio
  std::string bucket;
  std::string prefix;       // empty, or ends with '/'
  std::string endpoint;     // "https://host[:port]", no path
  std::string region;       // of the signature
  bool path_style = false;  // http://endpoint/bucket/key instead of http://bucket.endpoint/key
  std::string ca_file;      // empty: the system's certificates
  // Neither key given: anonymous access.
  CredentialSource access_key_id;
  CredentialSource secret_access_key;
  CredentialSource session_token;

  [[nodiscard]] bool Anonymous() const { return !access_key_id.Given(); }
};

// kInvalidArgument for: not an object-store scheme, endpoint missing or malformed, one half of a
// key pair, an option given both plainly and as a Secret. Unknown options are ignored. Messages
// name the option, never its value. When several spellings are given, the plain one wins, then the
// one of the mount's own scheme (fs.oss.* for oss://), then the others.
Result<S3Options> ResolveS3Options(const MountConfig& mount);

}  // namespace sluice
