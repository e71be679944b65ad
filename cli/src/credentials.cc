#include "credentials.h"

#include <map>
#include <sstream>

#include <fmt/format.h>

namespace sluice::cli {
namespace {

std::string Trim(const std::string& text) {
  const auto begin = text.find_first_not_of(" \t\r");
  if (begin == std::string::npos) return "";
  return text.substr(begin, text.find_last_not_of(" \t\r") - begin + 1);
}

Result<Credentials> FromPair(std::string id, std::string secret, std::string token,
                             const std::string& where) {
  if (id.empty() != secret.empty()) {
    return Fail(Code::kInvalidArgument,
                fmt::format("{}: {} is missing; give both keys or none", where,
                            id.empty() ? "the access key id" : "the secret access key"));
  }
  return Credentials{platform::Secret(std::move(id)), platform::Secret(std::move(secret)),
                     platform::Secret(std::move(token))};
}

}  // namespace

Result<Credentials> CredentialsFromEnvironment(const Environment& environment) {
  return FromPair(environment("AWS_ACCESS_KEY_ID").value_or(""),
                  environment("AWS_SECRET_ACCESS_KEY").value_or(""),
                  environment("AWS_SESSION_TOKEN").value_or(""), "environment");
}

Result<Credentials> ParseCredentialsFile(const std::string& text, const std::string& profile) {
  std::istringstream lines(text);
  std::map<std::string, std::string> values;
  std::string section;
  bool found = false;
  int number = 0;
  for (std::string raw; std::getline(lines, raw);) {
    ++number;
    const std::string line = Trim(raw);
    if (line.empty() || line[0] == '#' || line[0] == ';') continue;
    if (line.front() == '[' && line.back() == ']') {
      section = Trim(line.substr(1, line.size() - 2));
      found = found || section == profile;
      continue;
    }
    const auto equals = line.find('=');
    if (equals == std::string::npos) {
      return Fail(
          Code::kInvalidArgument,
          fmt::format("credentials file, line {}: neither [profile] nor key = value", number));
    }
    if (section == profile) values[Trim(line.substr(0, equals))] = Trim(line.substr(equals + 1));
  }
  if (!found) {
    return Fail(Code::kNotFound, fmt::format("credentials file: no profile [{}]", profile));
  }
  if (!values.contains("aws_access_key_id") && !values.contains("aws_secret_access_key")) {
    return Fail(Code::kInvalidArgument,
                fmt::format("credentials file: [{}] has no aws_access_key_id", profile));
  }
  return FromPair(values["aws_access_key_id"], values["aws_secret_access_key"],
                  values["aws_session_token"], fmt::format("credentials file, [{}]", profile));
}

}  // namespace sluice::cli
