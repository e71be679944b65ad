#include "sts_xml.h"

#include <utility>

#include "xml_walk.h"

namespace sluice::origin {

Result<TemporaryCredentials> ParseAssumedRole(std::string_view xml) {
  constexpr std::string_view kCredentials =
      "AssumeRoleWithWebIdentityResponse/AssumeRoleWithWebIdentityResult/Credentials/";
  CredentialTexts texts;
  const Status status = WalkXml(xml, [&](std::string_view path, const std::string& text) {
    if (!path.starts_with(kCredentials)) return;
    path.remove_prefix(kCredentials.size());
    for (const auto& [name, field] : {std::pair("AccessKeyId", &texts.access_key_id),
                                      {"SecretAccessKey", &texts.secret_access_key},
                                      {"SessionToken", &texts.session_token},
                                      {"Expiration", &texts.expiration}}) {
      if (path == name) *field = text;
    }
  });
  if (!status) return Fail(status.error());
  return CheckCredentials(std::move(texts));
}

std::string ParseStsError(std::string_view xml) {
  std::string code;
  const Status status = WalkXml(xml, [&](std::string_view path, const std::string& text) {
    if (path == "ErrorResponse/Error/Code") code = PlainWord(text);
  });
  return status ? code : "";
}

}  // namespace sluice::origin
