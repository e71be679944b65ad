#include "s3_response.h"

#include <array>
#include <string_view>
#include <utility>

#include <fmt/format.h>

namespace sluice::origin {
namespace {

// What the server's <Code> means, and what to do about it.
constexpr auto kKnown = std::to_array<KnownRefusal>({
    {"NoSuchBucket", Code::kNotFound, Retry::kNo,
     "the bucket does not exist: check its name, the endpoint and the region"},
    {"NoSuchKey", Code::kNotFound, Retry::kNo, "no such object"},
    {"NoSuchVersion", Code::kNotFound, Retry::kNo, "no such object"},
    {"InvalidAccessKeyId", Code::kPermissionDenied, Retry::kNewCredentials,
     "access key unknown: check the Secret's accessKeyId"},
    {"SignatureDoesNotMatch", Code::kPermissionDenied, Retry::kNewCredentials,
     "access key refused: check the Secret's accessKeyId/secretAccessKey"},
    {"AccessDenied", Code::kPermissionDenied, Retry::kNewCredentials,
     "access denied: the key needs s3:ListBucket on the bucket and s3:GetObject on its objects"},
    {"ExpiredToken", Code::kPermissionDenied, Retry::kNewCredentials,
     "the session token has expired: renew the Secret"},
    {"InvalidToken", Code::kPermissionDenied, Retry::kNewCredentials,
     "the session token is not valid: check the Secret's sessionToken"},
    {"RequestTimeTooSkewed", Code::kPermissionDenied, Retry::kNo,
     "the clocks of client and server differ by too much: set the node's clock"},
    {"AuthorizationHeaderMalformed", Code::kInvalidArgument, Retry::kNo,
     "the region of the signature is wrong: set option \"region\""},
    {"PermanentRedirect", Code::kInvalidArgument, Retry::kNo,
     "the bucket is served by another endpoint: set options \"endpoint\" and \"region\""},
    {"InvalidBucketName", Code::kInvalidArgument, Retry::kNo, "the bucket's name is not valid"},
    {"PreconditionFailed", Code::kConflict, Retry::kNo, "the object has changed"},
    {"InvalidRange", Code::kConflict, Retry::kNo, "the object has become shorter"},
    {"InvalidObjectState", Code::kUnavailable, Retry::kNo,
     "the object is archived: restore it to a class that can be read"},
    {"SlowDown", Code::kUnavailable, Retry::kYes, "the server asks to slow down"},
    {"RequestTimeout", Code::kUnavailable, Retry::kYes, "the server gave up waiting"},
});

// The same where no Secret is to blame.
constexpr auto kKnownOfIdentity = std::to_array<KnownRefusal>({
    {"AccessDenied", Code::kPermissionDenied, Retry::kNo,
     "access denied: the client's role needs s3:ListBucket on the bucket and s3:GetObject on its "
     "objects"},
    {"InvalidAccessKeyId", Code::kPermissionDenied, Retry::kNewCredentials,
     "the temporary key is unknown: the role of option \"credentials\" must be one of this store"},
    {"SignatureDoesNotMatch", Code::kPermissionDenied, Retry::kNewCredentials,
     "the temporary key is refused: check that the role of option \"credentials\" is one of this "
     "store"},
    {"ExpiredToken", Code::kPermissionDenied, Retry::kNewCredentials,
     "the temporary key has expired: check the node's clock"},
    {"InvalidToken", Code::kPermissionDenied, Retry::kNewCredentials,
     "the temporary key's token is not valid: the role of option \"credentials\" must be one of "
     "this store"},
});

KnownRefusal ByStatus(int status, KeysOf keys) {
  switch (status) {
    case 301:
    case 302:
    case 307:
    case 308:
      return {"", Code::kInvalidArgument, Retry::kNo,
              "the server redirects elsewhere, which is not followed: set options \"endpoint\" and "
              "\"region\""};
    case 400:
      return {"", Code::kInvalidArgument, Retry::kNo, "the server does not understand the request"};
    case 401:
    case 403:
      return {"", Code::kPermissionDenied, Retry::kNewCredentials,
              keys == KeysOf::kSecret
                  ? "access denied: check the Secret and the bucket's policy"
                  : "access denied: check the client's role and the bucket's policy"};
    default:
      return OrdinaryRefusal(status);
  }
}

}  // namespace

Verdict JudgeStatus(int status, const S3Error& error, KeysOf keys) {
  KnownRefusal known = ByStatus(status, keys);
  for (const KnownRefusal& row : kKnown) {
    if (row.error_code == error.code) known = row;
  }
  for (const KnownRefusal& row : kKnownOfIdentity) {
    if (keys == KeysOf::kIdentity && row.error_code == error.code) known = row;
  }
  // A 5xx is worth another try whatever the code says.
  if (status >= 500 && known.retry == Retry::kNo && status != 501) known.retry = Retry::kYes;
  if (status == 507) known.retry = Retry::kNo;  // it is full
  std::string message(known.message);
  if (!error.region.empty() && known.code == Code::kInvalidArgument) {
    message += fmt::format(" (the server says region \"{}\")", error.region);
  }
  message += error.code.empty() ? fmt::format(" (HTTP {})", status)
                                : fmt::format(" ({}, HTTP {})", error.code, status);
  return {Error{known.code, std::move(message)}, known.retry};
}

}  // namespace sluice::origin
