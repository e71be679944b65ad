// What a mount says about its object store, in one shape: users write it in the dialects of
// Alluxio, Jindo, JuiceFS or plainly, and all of them are understood (semantics in s3_options.cc's
// table; api.md of the shared reference, 1.5).
#pragma once

#include <string>

#include "sluice/core/fuse_config.h"
#include "sluice/core/mount_options.h"
#include "sluice/core/result.h"

namespace sluice {

// Where the credentials come from; of option "credentials".
enum class S3Identity {
  kByEnvironment,  // not said: keys when given, else what the client's environment offers
  kKeys,           // accessKeyId and the others below
  kAnonymous,
  kWebIdentity,  // a service account's token, exchanged at STS (IRSA)
  kContainer,    // the agent of EKS Pod Identity or ECS
  kInstance,     // the machine's metadata service
};

struct S3Options {
  std::string scheme;  // s3, oss, cos, obs, minio
  std::string bucket;
  std::string prefix;       // empty, or ends with '/'
  std::string endpoint;     // "https://host[:port]", no path
  std::string region;       // of the signature
  bool path_style = false;  // http://endpoint/bucket/key instead of http://bucket.endpoint/key
  std::string ca_file;      // empty: the system's certificates
  S3Identity identity = S3Identity::kByEnvironment;  // kKeys exactly when they are given
  CredentialSource access_key_id;
  CredentialSource secret_access_key;
  CredentialSource session_token;

  std::string sts_endpoint;       // of kWebIdentity, as `endpoint`; empty: the region's
  std::string metadata_endpoint;  // of kInstance; empty: the address that all clouds use
  bool requester_pays = false;    // the reader, not the bucket's owner, pays for requests
};

// kInvalidArgument for: not an object-store scheme, endpoint missing or malformed, one half of a
// key pair, an option given both plainly and as a Secret, credentials of an unknown kind or of one
// that the scheme or the given keys exclude. Unknown options are ignored. Messages name the option,
// never the value of a credential. When several spellings are given, the plain one wins, then the
// one of the mount's own scheme (fs.oss.* for oss://), then the others.
Result<S3Options> ResolveS3Options(const MountConfig& mount);

}  // namespace sluice
