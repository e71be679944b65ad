// Where an S3 origin gets its credentials from: the port. Behind it stand the Secrets of a mount
// (static_credentials.h) and those who hand out credentials for a while (renewed_credentials.h).
#pragma once

#include <memory>
#include <string_view>

#include "sluice/core/result.h"
#include "sluice/origin/sigv4.h"

namespace sluice::origin {

using SharedCredentials = std::shared_ptr<const Credentials>;

// What became of credentials that a server refused.
enum class Renewal {
  kUnchanged,  // there are no others
  kRenewed,    // Current() has others
  kUnderWay,   // Current() will have others, or an error
};

// No method waits for a server; keys are read from small files. Threads: any.
class CredentialsProvider {
 public:
  CredentialsProvider() = default;
  virtual ~CredentialsProvider() = default;
  CredentialsProvider(const CredentialsProvider&) = delete;
  CredentialsProvider& operator=(const CredentialsProvider&) = delete;

  // What to sign with now. Null: none yet, but they are being fetched; ask again in a moment. An
  // error names the source and the fix; kUnavailable when a later call may have better luck.
  virtual Result<SharedCredentials> Current() = 0;
  // The server has refused these, which Current() gave. An error when looking for others fails.
  virtual Result<Renewal> Renew(const SharedCredentials& refused) = 0;
  // The value of option "credentials": "keys", "web-identity", …
  [[nodiscard]] virtual std::string_view Source() const = 0;
};

}  // namespace sluice::origin
