#include "web_context.h"

#include <array>
#include <utility>

#include <fmt/format.h>

#include "secret_file.h"

namespace sluice::origin {
namespace {

// What the Hub says beside the status; a repository that may not be seen is "not found" there.
constexpr auto kHubRefusals = std::to_array<KnownRefusal>({
    {"RepoNotFound", Code::kNotFound, Retry::kNewCredentials,
     "no such repository, or it is private: check its name, and the Secret of option \"token\""},
    {"GatedRepo", Code::kPermissionDenied, Retry::kNewCredentials,
     "the repository is gated: accept its conditions on its page, and give a token in the Secret "
     "of option \"token\""},
    {"RevisionNotFound", Code::kNotFound, Retry::kNo,
     "no such revision: check what follows '@' in the mount point"},
    {"EntryNotFound", Code::kNotFound, Retry::kNo, "no such file or directory in this revision"},
});

KnownRefusal WebRefusal(int status) {
  switch (status) {
    case 401:
    case 403:
      return {"", Code::kPermissionDenied, Retry::kNewCredentials,
              "access denied: give a bearer token in the Secret of option \"token\", or check it"};
    case 410:
      return OrdinaryRefusal(404);
    case 425:
      return OrdinaryRefusal(429);
    default:
      return OrdinaryRefusal(status);
  }
}

}  // namespace

WebContext::WebContext(Server server, const OriginLimits& limits, platform::Metrics& metrics,
                       platform::Log log)
    : OriginContext(limits, metrics, std::move(log)), server_(std::move(server)) {}

HttpRequest WebContext::Request(const std::string& key, const Query& query, Headers headers) {
  HttpRequest request;
  request.url = server_.url + key;
  if (!query.empty()) request.url += "?" + CanonicalQuery(query);
  request.headers = std::move(headers);
  request.headers.emplace_back("User-Agent", "sluice");
  // Bytes are counted as they are stored.
  request.headers.emplace_back("Accept-Encoding", "identity");
  if (!server_.token.Empty()) {
    request.credentials.emplace_back("Authorization", "Bearer " + server_.token.Reveal());
  }
  return request;
}

Verdict WebContext::JudgeRefusal(const HttpHead& head, const std::string& /*body*/) const {
  KnownRefusal known = WebRefusal(head.status);
  for (const KnownRefusal& row : kHubRefusals) {
    if (head.status < 500 && row.error_code == head.error_code) known = row;
  }
  return {Error{known.code, fmt::format("{} (HTTP {})", known.message, head.status)}, known.retry};
}

std::string WebContext::Place(const std::string& key) const {
  return server_.url + key.substr(0, key.find('?'));
}

Result<Renewal> WebContext::RenewRefused() {
  auto token = ReadSecret(server_.token_source);
  if (!token) return Fail(token.error());
  if (*token == server_.token.Reveal()) return Renewal::kUnchanged;
  server_.token = platform::Secret(std::move(*token));
  return Renewal::kRenewed;
}

Headers HubContext::ConditionOf(const OriginObject& /*object*/) const { return {}; }

std::optional<Verdict> HubContext::CheckRead(const HttpHead& head, const OriginObject& object,
                                             std::uint64_t offset, std::uint64_t length) const {
  std::string_view tag = head.linked_etag.empty() ? head.etag : head.linked_etag;
  if (tag.starts_with("W/")) tag.remove_prefix(2);  // weakened on its way; an oid is strong
  const bool same = VersionOf(tag, object.size, {}) == object.version;
  return CheckRange(head, object, offset, length, same);
}

}  // namespace sluice::origin
