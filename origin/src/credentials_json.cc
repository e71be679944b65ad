#include "credentials_json.h"

#include <fmt/format.h>

#include "sluice/core/json_access.h"

#include "xml_walk.h"

namespace sluice::origin {

Result<TemporaryCredentials> ParseCredentialsJson(std::string_view json) {
  // An answer is flat: deeper levels are nobody's, and would cost memory.
  const auto flat = [](int depth, Json::parse_event_t /*event*/, Json& /*parsed*/) {
    return depth <= 1;
  };
  const Json answer = Json::parse(json, flat, /*allow_exceptions=*/false);
  if (!answer.is_object()) {
    return Fail(Code::kUnavailable, "the answer is no JSON object of credentials");
  }
  const std::string code = PlainWord(StringOf(answer, "Code"));
  if (!code.empty() && code != "Success") {
    return Fail(Code::kUnavailable, fmt::format("the answer says \"{}\"", code));
  }
  return CheckCredentials({.access_key_id = StringOf(answer, "AccessKeyId"),
                           .secret_access_key = StringOf(answer, "SecretAccessKey"),
                           .session_token = StringOf(answer, "Token"),
                           .expiration = StringOf(answer, "Expiration")});
}

}  // namespace sluice::origin
