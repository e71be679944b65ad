#include "sluice/origin/http_origin.h"

#include <utility>

#include <fmt/format.h>

#include "sluice/platform/guarded.h"

#include "origin_call.h"
#include "secret_file.h"
#include "url.h"
#include "web_context.h"
#include "web_lister.h"

namespace sluice::origin {
namespace {

// A mount point as keys: "/a/b/" for the directory, or the directory and the name of a file.
struct WebPlace {
  std::string directory;
  std::string file;  // decoded; empty: the directory
};

class HttpOrigin final : public Origin {
 public:
  HttpOrigin(const WebOptions& options, const Url& url, platform::Secret token,
             const OriginLimits& limits, platform::Metrics& metrics, platform::Log log)
      : options_(options),
        path_(url.path),
        context_({url.Server(), options.token, std::move(token)}, limits, metrics, std::move(log)),
        place_(PlaceOf(/*is_directory=*/url.path.ends_with('/'))),
        transport_(limits, options.ca_file) {}

  Result<Listing> List() override;
  void ReadAsync(const OriginObject& object, std::uint64_t offset, std::uint64_t length,
                 ReadSink sink, ReadDone done) override;
  [[nodiscard]] std::string Describe() const override { return options_.url; }

 private:
  [[nodiscard]] WebPlace PlaceOf(bool is_directory) const;
  // Whether the server says that a mount point without a '/' at its end is a directory.
  Result<bool> IsDirectory();

  const WebOptions options_;
  const std::string path_;
  WebContext context_;
  platform::Guarded<WebPlace> place_;
  HttpTransport transport_;  // last: its thread uses the context
};

WebPlace HttpOrigin::PlaceOf(bool is_directory) const {
  if (is_directory) return {path_.ends_with('/') ? path_ : path_ + "/", ""};
  const std::size_t slash = path_.rfind('/');
  const std::string name = path_.substr(slash + 1);
  return {path_.substr(0, slash + 1), PercentDecode(name).value_or(name)};
}

Result<bool> HttpOrigin::IsDirectory() {
  if (path_.ends_with('/')) return true;
  Fetch::Question question;
  question.operation = "head";
  question.key = path_;
  question.method = Method::kHead;
  const Fetch::Reply reply = AskOne(transport_, context_, std::move(question));
  // A server without HEAD may have the file.
  const bool has_no_head = reply.head.status == 405 || reply.head.status == 501;
  if (!reply.status && !has_no_head) return Fail(reply.status.error());
  const auto url = ParseUrl(reply.url);
  return url && url->path == path_ + "/";
}

Result<Listing> HttpOrigin::List() {
  const auto is_directory = IsDirectory();
  if (!is_directory) return Fail(is_directory.error());
  const WebPlace place = PlaceOf(*is_directory);
  place_.With([&](WebPlace& shared) { shared = place; });
  WebLister lister(transport_, context_, place.directory);
  Status status;
  if (!place.file.empty()) {
    status = lister.AddFile(place.file);
  } else if (!options_.manifest.empty()) {
    status = lister.ReadManifest(options_.manifest);
  } else {
    status = lister.Walk();
  }
  if (!status) return Fail(status.error());
  return std::move(lister).Take();
}

void HttpOrigin::ReadAsync(const OriginObject& object, std::uint64_t offset, std::uint64_t length,
                           ReadSink sink, ReadDone done) {
  const std::string directory = place_.With([](const WebPlace& place) { return place.directory; });
  const std::string key = directory + UriEncode(object.path, /*keep_slash=*/true);
  if (!WorthReading(object, offset, length, context_.Place(key), done)) return;
  SubmitRead(transport_, context_,
             {.key = key, .object = object, .offset = offset, .length = length}, std::move(sink),
             std::move(done));
}

}  // namespace

Result<std::unique_ptr<Origin>> MakeHttpOrigin(const WebOptions& options,
                                               const OriginLimits& limits,
                                               platform::Metrics& metrics, platform::Log log) {
  SLUICE_TRY(url, ParseUrl(options.url), options.url);
  SLUICE_TRY(token, ReadSecret(options.token), options.url);
  return std::make_unique<HttpOrigin>(options, url, platform::Secret(std::move(token)), limits,
                                      metrics, std::move(log));
}

}  // namespace sluice::origin
