#include "sluice/origin/s3_origin.h"

#include <utility>

#include <fmt/format.h>

#include "make_credentials.h"
#include "object_names.h"
#include "open_s3_origin.h"
#include "origin_call.h"
#include "s3_context.h"
#include "s3_upload.h"
#include "s3_xml.h"

namespace sluice::origin {
namespace {

// A page has at most 1000 keys of at most 1024 bytes, thrice that when encoded, and a few hundred
// bytes around each.
constexpr std::size_t kMaxPage = 16U << 20;
constexpr unsigned kMaxEmptyPages = 100;

class S3Origin final : public Origin {
 public:
  S3Origin(const S3Options& options, std::unique_ptr<CredentialsProvider> credentials,
           const OriginLimits& limits, platform::Metrics& metrics, platform::Log log)
      : context_(options, std::move(credentials), limits, metrics, std::move(log)),
        transport_(limits, options.ca_file),
        writer_(transport_, context_) {}

  Result<Listing> List() override;
  void ReadAsync(const OriginObject& object, std::uint64_t offset, std::uint64_t length,
                 ReadSink sink, ReadDone done) override;
  [[nodiscard]] std::string Describe() const override { return context_.Name(Prefix()); }
  [[nodiscard]] std::string Identity() const override {
    return fmt::format("{} {}/{}/{}", context_.Options().scheme, context_.Options().endpoint,
                       context_.Options().bucket, Prefix());
  }
  ObjectWriter* Writer() override { return &writer_; }

 private:
  [[nodiscard]] const std::string& Prefix() const { return context_.Options().prefix; }

  Result<ListPage> ListPageAfter(const std::optional<std::string>& token);
  Status Collect(ListPage page, ObjectCollector& objects, std::uint64_t& skipped) const;

  S3Context context_;
  HttpTransport transport_;  // behind the context, which its thread uses
  S3Writer writer_;
};

Result<ListPage> S3Origin::ListPageAfter(const std::optional<std::string>& token) {
  Fetch::Question question;
  question.operation = "list";
  question.max_body = kMaxPage;
  // Without the encoding, a key with a control character makes the XML malformed.
  question.query = {{"list-type", "2"}, {"max-keys", "1000"}, {"encoding-type", "url"}};
  if (!Prefix().empty()) question.query.emplace_back("prefix", Prefix());
  if (token) question.query.emplace_back("continuation-token", *token);
  const Fetch::Reply answer = AskOne(transport_, context_, std::move(question));
  if (!answer.status) return Fail(answer.status.error());
  auto page = ParseListPage(answer.body);
  if (!page) return Fail(page.error().Wrap(Describe()));
  return page;
}

Status S3Origin::Collect(ListPage page, ObjectCollector& objects, std::uint64_t& skipped) const {
  for (ListedKey& listed : page.keys) {
    if (!listed.key.starts_with(Prefix())) {
      return Fail(Code::kUnavailable,
                  fmt::format("{}: the server lists keys outside the prefix", Describe()));
    }
    listed.key.erase(0, Prefix().size());
    if (listed.key.ends_with('/') || listed.key.empty()) {
      const std::string_view marker(listed.key);
      if (!marker.empty() && !IsFilePath(marker.substr(0, marker.size() - 1))) ++skipped;
      continue;
    }
    OriginObject object;
    object.path = std::move(listed.key);
    object.size = listed.size;
    object.modified = listed.modified;
    object.version = VersionOf(listed.etag, listed.size, listed.modified);
    SLUICE_CHECK(objects.Add(std::move(object)), Describe());
  }
  return Ok();
}

Result<Listing> S3Origin::List() {
  ObjectCollector objects(context_.Limits().max_listing_bytes());
  std::uint64_t skipped = 0;
  std::optional<std::string> token;
  unsigned empty_pages = 0;  // in a row; legal, but not for ever
  while (true) {
    auto page = ListPageAfter(token);
    if (!page) return Fail(page.error());
    std::optional<std::string> next = std::move(page->next_token);
    empty_pages = page->keys.empty() ? empty_pages + 1 : 0;
    const bool stuck = next && (next == token || empty_pages > kMaxEmptyPages);
    if (auto status = Collect(std::move(*page), objects, skipped); !status) {
      return Fail(status.error());
    }
    if (stuck) {
      return Fail(Code::kUnavailable,
                  fmt::format("{}: the server's listing does not end", Describe()));
    }
    if (!next) break;
    token = std::move(next);
  }
  Listing listing = MakeListing(std::move(objects).Take());
  listing.skipped += skipped;
  return listing;
}

void S3Origin::ReadAsync(const OriginObject& object, std::uint64_t offset, std::uint64_t length,
                         ReadSink sink, ReadDone done) {
  const std::string key = Prefix() + object.path;
  if (!WorthReading(object, offset, length, context_.Name(key), done)) return;
  SubmitRead(transport_, context_,
             {.key = key, .object = object, .offset = offset, .length = length}, std::move(sink),
             std::move(done));
}

}  // namespace

Result<std::unique_ptr<Origin>> MakeS3Origin(const S3Options& options, const OriginLimits& limits,
                                             platform::Metrics& metrics, platform::Log log) {
  static const SystemClock kClock;
  auto credentials = MakeCredentials(
      options, {.environment = ReadIdentityEnvironment(), .limits = {}, .clock = kClock}, metrics,
      log);
  if (!credentials) {
    return Fail(credentials.error().Wrap(fmt::format("{}://{}", options.scheme, options.bucket)));
  }
  return OpenS3Origin(options, std::move(*credentials), limits, metrics, std::move(log));
}

std::unique_ptr<Origin> OpenS3Origin(const S3Options& options,
                                     std::unique_ptr<CredentialsProvider> credentials,
                                     const OriginLimits& limits, platform::Metrics& metrics,
                                     platform::Log log) {
  return std::make_unique<S3Origin>(options, std::move(credentials), limits, metrics,
                                    std::move(log));
}

}  // namespace sluice::origin
