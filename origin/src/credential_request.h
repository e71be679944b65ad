// One question to a server that hands out credentials: small, rare and blocking, while the
// transport of the origin is for many large answers.
#pragma once

#include <chrono>
#include <stop_token>
#include <string>

#include "sluice/core/result.h"
#include "sluice/origin/sigv4.h"
#include "sluice/platform/log.h"

namespace sluice::origin {

struct CredentialRequest {
  enum class Method { kGet, kPut, kPostForm };
  enum class Route {
    kOrdinary,  // by the proxies of the environment, if any
    kDirect,    // to a neighbour: never by a proxy
  };
  std::string url;  // no secret: it is told in messages
  Method method = Method::kGet;
  Headers headers{};
  platform::Secret form{};  // of kPostForm, encoded
  Route route = Route::kOrdinary;
  std::string ca_file{};  // empty: the system's certificates
};

struct CredentialAnswer {
  int status = 0;
  std::string body;
};

// Waits for the whole answer, 5 s at most and not beyond the deadline or a stop. Redirects are not
// followed. kUnavailable or kDeadlineExceeded when there is no answer or it has more than 64 KiB,
// kPermissionDenied when the server's certificate is not trusted. Threads: any.
Result<CredentialAnswer> AskForCredentials(const CredentialRequest& request,
                                           std::chrono::steady_clock::time_point deadline,
                                           const std::stop_token& stop);

// What an answer without success means by its status alone: kUnavailable where another try may
// help, else kPermissionDenied with this fix in the message.
Error JudgeCredentialStatus(int status, std::string_view fix);

}  // namespace sluice::origin
