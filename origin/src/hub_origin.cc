#include "sluice/origin/hub_origin.h"

#include <utility>

#include <fmt/format.h>

#include "sluice/platform/guarded.h"

#include "hub_api.h"
#include "object_names.h"
#include "origin_call.h"
#include "secret_file.h"
#include "web_context.h"

namespace sluice::origin {
namespace {

constexpr std::size_t kMaxRevisionAnswer = 64U << 20;  // it lists every file
constexpr std::size_t kMaxTreePage = 16U << 20;        // of 1000 files, 50 when they are described
constexpr unsigned kMaxEmptyTreePages = 100;

class HubOrigin final : public Origin {
 public:
  HubOrigin(const HubOptions& options, platform::Secret token, const OriginLimits& limits,
            platform::Metrics& metrics, platform::Log log)
      : options_(options),
        context_({options.endpoint, options.token, std::move(token)}, limits, metrics,
                 std::move(log)),
        commit_(options.revision),
        transport_(limits, options.ca_file) {}

  Result<Listing> List() override;
  void ReadAsync(const OriginObject& object, std::uint64_t offset, std::uint64_t length,
                 ReadSink sink, ReadDone done) override;
  [[nodiscard]] std::string Describe() const override {
    return fmt::format("{}@{}{}", Repository(), options_.revision, Below());
  }
  // The revision does not matter: an object's version is that of its bytes.
  [[nodiscard]] std::string Identity() const override {
    return fmt::format("{} {}{}", options_.endpoint, Repository(), Below());
  }

 private:
  [[nodiscard]] std::string Repository() const {
    return fmt::format("hf://{}/{}", options_.kind, options_.repository);
  }
  [[nodiscard]] std::string Below() const {
    return options_.path.empty() ? "" : "/" + options_.path;
  }
  // "/api/models/organisation/name".
  [[nodiscard]] std::string Api() const {
    return fmt::format("/api/{}/{}", options_.kind, options_.repository);
  }
  Result<Fetch::Reply> Get(std::string key, std::size_t max_body);
  Result<HubRevision> ResolveRevision();
  // Adds the files of a page, as paths below the mount point.
  Status AddPage(std::string_view json, const HubRevision& revision, ObjectCollector& objects);

  const HubOptions options_;
  HubContext context_;
  platform::Guarded<std::string> commit_;
  HttpTransport transport_;  // last: its thread uses the context
};

Result<Fetch::Reply> HubOrigin::Get(std::string key, std::size_t max_body) {
  Fetch::Question question;
  question.operation = "list";
  question.key = std::move(key);
  question.max_body = max_body;
  Fetch::Reply answer = AskOne(transport_, context_, std::move(question));
  if (!answer.status) return Fail(answer.status.error().Wrap(Describe()));
  return answer;
}

Result<HubRevision> HubOrigin::ResolveRevision() {
  const std::string key = Api() + "/revision/" + UriEncode(options_.revision, /*keep_slash=*/false);
  auto answer = Get(key, kMaxRevisionAnswer);
  if (!answer) return Fail(answer.error());
  SLUICE_TRY(revision, ParseHubRevision(answer->body), Describe());
  return revision;
}

Status HubOrigin::AddPage(std::string_view json, const HubRevision& revision,
                          ObjectCollector& objects) {
  SLUICE_TRY(files, ParseHubTree(json), Describe());
  const std::string prefix = options_.path.empty() ? "" : options_.path + "/";
  for (OriginObject& file : files) {
    if (!file.path.starts_with(prefix)) {
      return Fail(Code::kUnavailable,
                  fmt::format("{}: the server lists files outside the directory", Describe()));
    }
    file.path.erase(0, prefix.size());
    file.modified = revision.modified;
    SLUICE_CHECK(objects.Add(std::move(file)), Describe());
  }
  return Ok();
}

Result<Listing> HubOrigin::List() {
  const auto revision = ResolveRevision();
  if (!revision) return Fail(revision.error());
  const std::string key =
      fmt::format("{}/tree/{}{}", Api(), revision->commit, UriEncode(Below(), /*keep_slash=*/true));
  ObjectCollector objects(context_.Limits().max_listing_bytes());
  std::string query = "recursive=true";
  unsigned empty_pages = 0;  // in a row; a page may be of directories, but not for ever
  while (true) {
    auto page = Get(key + "?" + query, kMaxTreePage);
    if (!page) return Fail(page.error());
    const std::size_t before = objects.Size();
    if (auto status = AddPage(page->body, *revision, objects); !status) {
      return Fail(status.error());
    }
    empty_pages = objects.Size() == before ? empty_pages + 1 : 0;
    auto link = NextPageQuery(page->head.link);
    if (!link) return Fail(link.error());
    auto& next = *link;
    if (!next) break;
    if (*next == query || empty_pages > kMaxEmptyTreePages) {
      return Fail(Code::kUnavailable,
                  fmt::format("{}: the server's listing does not end", Describe()));
    }
    query = std::move(*next);
  }
  commit_.With([&](std::string& commit) { commit = revision->commit; });
  return MakeListing(std::move(objects).Take());
}

void HubOrigin::ReadAsync(const OriginObject& object, std::uint64_t offset, std::uint64_t length,
                          ReadSink sink, ReadDone done) {
  const std::string commit = commit_.With([](const std::string& known) { return known; });
  // Models are at the server's root.
  const std::string kind = options_.kind == "models" ? "" : "/" + options_.kind;
  const std::string key = fmt::format(
      "{}/{}/resolve/{}{}/{}", kind, options_.repository, UriEncode(commit, /*keep_slash=*/false),
      UriEncode(Below(), /*keep_slash=*/true), UriEncode(object.path, /*keep_slash=*/true));
  if (!WorthReading(object, offset, length, context_.Place(key), done)) return;
  SubmitRead(transport_, context_,
             {.key = key, .object = object, .offset = offset, .length = length}, std::move(sink),
             std::move(done));
}

}  // namespace

Result<std::unique_ptr<Origin>> MakeHubOrigin(const HubOptions& options, const OriginLimits& limits,
                                              platform::Metrics& metrics, platform::Log log) {
  SLUICE_TRY(token, ReadSecret(options.token), "hf://" + options.repository);
  return std::make_unique<HubOrigin>(options, platform::Secret(std::move(token)), limits, metrics,
                                     std::move(log));
}

}  // namespace sluice::origin
