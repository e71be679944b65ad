// What tests of identities share: answers of those who hand out credentials, and files of tokens.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include <fmt/format.h>

namespace sluice::test {

inline constexpr std::string_view kFarEnd = "2199-01-01T00:00:00Z";

inline std::string CredentialsJson(std::string_view id, std::string_view end = kFarEnd) {
  return fmt::format(
      R"({{"Code":"Success","Type":"AWS-HMAC","AccessKeyId":"{0}","SecretAccessKey":"secret-of-{0}",)"
      R"("Token":"session-of-{0}","Expiration":"{1}","Other":{{"Deep":[1]}}}})",
      id, end);
}

inline std::string AssumedRoleXml(std::string_view id, std::string_view end = kFarEnd) {
  return fmt::format(
      "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">"
      "<AssumeRoleWithWebIdentityResult><Credentials><SessionToken>session-of-{0}</SessionToken>"
      "<SecretAccessKey>secret-of-{0}</SecretAccessKey><Expiration>{1}</Expiration>"
      "<AccessKeyId>{0}</AccessKeyId></Credentials></AssumeRoleWithWebIdentityResult>"
      "</AssumeRoleWithWebIdentityResponse>",
      id, end);
}

inline std::string StsErrorXml(std::string_view code) {
  return fmt::format(
      "<ErrorResponse><Error><Type>Sender</Type><Code>{}</Code><Message>m</Message></Error>"
      "</ErrorResponse>",
      code);
}

// A file of a token that is gone with the test.
class TokenFile {
 public:
  explicit TokenFile(std::string_view token) {
    std::string pattern = (std::filesystem::temp_directory_path() / "sluice-token-XXXXXX").string();
    directory_ = ::mkdtemp(pattern.data());
    Write(token);
  }
  ~TokenFile() { std::filesystem::remove_all(directory_); }
  TokenFile(const TokenFile&) = delete;
  TokenFile& operator=(const TokenFile&) = delete;

  void Write(std::string_view token) const { std::ofstream(Path()) << token << "\n"; }
  [[nodiscard]] std::string Path() const { return directory_ / "token"; }

 private:
  std::filesystem::path directory_;
};

}  // namespace sluice::test
