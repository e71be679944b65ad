#include "identity_fuzz.h"

#include <algorithm>
#include <chrono>
#include <string>

#include <fmt/format.h>

#include "sluice/core/timestamp.h"
#include "sluice/origin/sigv4.h"

#include "credentials_json.h"
#include "demand.h"
#include "sts_xml.h"

namespace sluice::test {
namespace {

bool IsPrintable(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c < '\x7f'; });
}

// What stands between quotes, and between tags.
std::string Escaped(std::string_view text, bool xml) {
  std::string out;
  for (const char c : text) {
    if (xml && (c == '&' || c == '<' || c == '>')) {
      out += fmt::format("&#{};", static_cast<unsigned>(c));
    } else if (!xml && (c == '"' || c == '\\')) {
      out += std::string("\\") + c;
    } else {
      out += c;
    }
  }
  return out;
}

std::string Written(const origin::TemporaryCredentials& read, bool xml) {
  const origin::Credentials& keys = read.credentials;
  const std::string id = Escaped(keys.access_key_id, xml);
  const std::string secret = Escaped(keys.secret_access_key.Reveal(), xml);
  const std::string token = Escaped(keys.session_token.Reveal(), xml);
  const std::string end = FormatTime(read.expires);
  if (!xml) {
    return fmt::format(
        R"({{"AccessKeyId":"{}","SecretAccessKey":"{}","Token":"{}","Expiration":"{}"}})", id,
        secret, token, end);
  }
  return fmt::format(
      "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>"
      "<AccessKeyId>{}</AccessKeyId><SecretAccessKey>{}</SecretAccessKey>"
      "<SessionToken>{}</SessionToken><Expiration>{}</Expiration></Credentials>"
      "</AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>",
      id, secret, token, end);
}

void DemandHeaders(const origin::Credentials& credentials, std::string_view answer) {
  origin::SigV4 signer("us-east-1");
  const origin::Headers headers = signer.Sign({.method = "GET",
                                               .host = "host",
                                               .path = "/",
                                               .query = nullptr,
                                               .payload_hash = origin::kEmptyPayloadHash,
                                               .headers = nullptr},
                                              credentials, TimeFromUnix(1'700'000'000));
  for (const auto& [name, value] : headers) {
    Demand(IsPrintable(value), "a header is one line", answer);
    if (name != "Authorization") continue;
    Demand(std::count(value.begin(), value.end(), ',') == 2, "the fields are three", answer);
  }
}

void DemandCredentials(const Result<origin::TemporaryCredentials>& read, bool xml,
                       std::string_view answer) {
  if (!read) {
    Demand(read.error().code == Code::kUnavailable, "a bad answer is a bad server", answer);
    Demand(IsPrintable(read.error().message) && read.error().message.size() < 200,
           "an error is fit to be shown", read.error().message);
    return;
  }
  DemandHeaders(read->credentials, answer);
  const std::string written = Written(*read, xml);
  const auto back = xml ? origin::ParseAssumedRole(written) : origin::ParseCredentialsJson(written);
  Demand(back && back->credentials.access_key_id == read->credentials.access_key_id &&
             back->credentials.secret_access_key.Reveal() ==
                 read->credentials.secret_access_key.Reveal() &&
             back->credentials.session_token.Reveal() == read->credentials.session_token.Reveal() &&
             std::chrono::floor<std::chrono::seconds>(read->expires) == back->expires,
         "what is written reads back", written);
}

}  // namespace

void FuzzIdentity(std::string_view answer) {
  DemandCredentials(origin::ParseCredentialsJson(answer), /*xml=*/false, answer);
  DemandCredentials(origin::ParseAssumedRole(answer), /*xml=*/true, answer);
  const std::string code = origin::ParseStsError(answer);
  Demand(IsPrintable(code) && code.size() <= 64, "a code is fit for a message", answer);
}

}  // namespace sluice::test
