// A web server's part of a request: where it goes, its token, and what a refusal means.
#pragma once

#include <string>

#include "sluice/core/mount_options.h"

#include "origin_context.h"

namespace sluice::origin {

// Keys are what follows the server in a URL: "/a%20b/c", with a query where there is one.
// Redirects are followed; the token does not go to another server.
class WebContext : public OriginContext {
 public:
  struct Server {
    std::string url;  // "https://host:port"
    CredentialSource token_source;
    platform::Secret token;  // as read from the source; empty: none
  };
  WebContext(Server server, const OriginLimits& limits, platform::Metrics& metrics,
             platform::Log log);

  HttpRequest Request(const std::string& key, const Query& query, Headers headers) override;
  [[nodiscard]] Verdict JudgeRefusal(const HttpHead& head, const std::string& body) const override;
  [[nodiscard]] std::string Place(const std::string& key) const override;
  [[nodiscard]] bool FollowsRedirects() const override { return true; }

 private:
  Result<Renewal> RenewRefused() override;

  Server server_;
};

// The version of an object is its oid there, which a file's answer has as its ETag, or the redirect
// to the store as X-Linked-Etag.
class HubContext final : public WebContext {
 public:
  using WebContext::WebContext;

  // The store does not know the version, and the Hub's URLs name a commit.
  [[nodiscard]] Headers ConditionOf(const OriginObject& object) const override;
  [[nodiscard]] std::optional<Verdict> CheckRead(const HttpHead& head, const OriginObject& object,
                                                 std::uint64_t offset,
                                                 std::uint64_t length) const override;
};

}  // namespace sluice::origin
