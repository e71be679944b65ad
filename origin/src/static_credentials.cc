#include "static_credentials.h"

#include <utility>

#include "sluice/platform/guarded.h"

#include "secret_file.h"

namespace sluice::origin {
namespace {

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

class StaticCredentials final : public CredentialsProvider {
 public:
  StaticCredentials(const S3Options& options, Credentials credentials)
      : options_(options), current_(std::make_shared<const Credentials>(std::move(credentials))) {}

  Result<SharedCredentials> Current() override {
    return current_.With([](const SharedCredentials& current) { return current; });
  }

  Result<Renewal> Renew(const SharedCredentials& refused) override {
    if (*Current() != refused) return Renewal::kRenewed;
    auto fresh = ReadCredentials(options_);
    if (!fresh) return Fail(fresh.error());
    if (Same(*fresh, *refused)) return Renewal::kUnchanged;
    auto shared = std::make_shared<const Credentials>(std::move(*fresh));
    current_.With([&](SharedCredentials& current) { current = std::move(shared); });
    return Renewal::kRenewed;
  }

  [[nodiscard]] std::string_view Source() const override {
    return options_.access_key_id.Given() ? "keys" : "anonymous";
  }

 private:
  const S3Options options_;
  platform::Guarded<SharedCredentials> current_;
};

}  // namespace

Result<std::unique_ptr<CredentialsProvider>> MakeStaticCredentials(const S3Options& options) {
  auto credentials = ReadCredentials(options);
  if (!credentials) return Fail(credentials.error());
  return std::make_unique<StaticCredentials>(options, std::move(*credentials));
}

}  // namespace sluice::origin
