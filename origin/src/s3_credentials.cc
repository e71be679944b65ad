#include "s3_credentials.h"

#include <utility>

#include "secret_file.h"

namespace sluice::origin {
Result<Credentials> ReadCredentials(const S3Options& options) {
  Credentials credentials;
  auto id = ReadSecret(options.access_key_id);
  if (!id) return Fail(id.error());
  auto secret = ReadSecret(options.secret_access_key);
  if (!secret) return Fail(secret.error());
  auto token = ReadSecret(options.session_token);
  if (!token) return Fail(token.error());
  credentials.access_key_id = std::move(*id);
  credentials.secret_access_key = platform::Secret(std::move(*secret));
  credentials.session_token = platform::Secret(std::move(*token));
  return credentials;
}

bool Same(const Credentials& a, const Credentials& b) {
  return a.access_key_id == b.access_key_id &&
         a.secret_access_key.Reveal() == b.secret_access_key.Reveal() &&
         a.session_token.Reveal() == b.session_token.Reveal();
}

}  // namespace sluice::origin
