#include "web_lister.h"

#include <algorithm>
#include <set>
#include <utility>

#include <fmt/format.h>

namespace sluice::origin {
namespace {

constexpr std::size_t kMaxIndexPage = 16U << 20;
constexpr std::size_t kMaxManifest = 64U << 20;
// Of one walk. Who has more has a manifest, or several mounts.
constexpr unsigned kMaxLevels = 32;
constexpr std::size_t kMaxPages = 20'000;
constexpr std::uint64_t kMaxPageBytes = 256ULL << 20;

Status TooMuch(const std::string& place, const std::string& what) {
  return Fail(Code::kInvalidArgument,
              fmt::format("{}: index pages lead to more than {}: mount a directory below it, or "
                          "list the files in a manifest (option \"manifest\")",
                          place, what));
}

Fetch::Question PageQuestion(std::string key, std::size_t max_body) {
  Fetch::Question question;
  question.operation = "list";
  question.key = std::move(key);
  question.max_body = max_body;
  return question;
}

bool LooksLikeJson(const HttpHead& head, std::string_view body) {
  const std::size_t first = body.find_first_not_of(" \t\r\n");
  const char begin = first == std::string_view::npos ? '\0' : body[first];
  return begin == '[' || (begin != '<' && head.content_type.find("json") != std::string::npos);
}

// The object when the listing says all of it: size, and a time or an ETag that is fit for a
// version.
std::optional<OriginObject> ToldBy(const IndexEntry& file) {
  if (!file.size) return std::nullopt;
  OriginObject object;
  object.size = *file.size;
  if (file.modified) object.modified = *file.modified;
  object.version = VersionOf(file.etag, object.size, object.modified);
  if (IsByTime(object.version) && !file.modified) return std::nullopt;
  return object;
}

// Whether a failure to answer is about the file, not about the server or the way to it.
bool IsOfOneFile(int status) {
  return RefusalOf(status) != Refusal::kNone || status == 405 || status == 501;
}

}  // namespace

WebLister::WebLister(HttpTransport& transport, WebContext& context, std::string base)
    : transport_(transport),
      context_(context),
      base_(std::move(base)),
      at_once_(std::max(1U, context.Limits().max_connections / 2)),
      objects_(context.Limits().max_listing_bytes()) {}

std::string WebLister::KeyOf(const std::string& path) const {
  return base_ + UriEncode(path, /*keep_slash=*/true);
}

Result<IndexPage> WebLister::Parse(const std::string& key, const Fetch::Reply& page) const {
  const std::string place = context_.Place(key);
  if (LooksLikeJson(page.head, page.body)) {
    SLUICE_TRY(index, ParseJsonIndex(page.body), place);
    return index;
  }
  if (page.body.find('<') == std::string::npos) {
    return Fail(Code::kUnavailable,
                fmt::format("{}: no index page: turn the server's listing of directories on, or "
                            "list the files in a manifest (option \"manifest\")",
                            place));
  }
  SLUICE_TRY(url, ParseUrl(page.url), place);
  return ParseHtmlIndex(url, page.body);
}

Status WebLister::Walk() {
  std::vector<std::string> level = {""};
  std::set<std::string> known = {""};
  std::uint64_t bytes = 0;
  for (unsigned depth = 0; !level.empty(); ++depth) {
    if (depth > kMaxLevels)
      return TooMuch(context_.Place(base_), fmt::format("{} levels", kMaxLevels));
    std::vector<Fetch::Question> questions;
    for (const std::string& directory : level) {
      questions.push_back(PageQuestion(KeyOf(directory), kMaxIndexPage));
    }
    std::vector<std::string> next;
    std::vector<IndexEntry> files;
    const auto take = [&](std::size_t index, Fetch::Reply reply) -> Status {
      const std::string& directory = level[index];
      if (!reply.status) {
        if (!directory.empty() && RefusedAlone(reply, directory)) return Ok();
        return reply.status;
      }
      bytes += reply.body.size();
      if (bytes > kMaxPageBytes) {
        return TooMuch(context_.Place(base_), fmt::format("{} MiB of them", kMaxPageBytes >> 20U));
      }
      auto page = Parse(KeyOf(directory), reply);
      if (!page) return Fail(page.error());
      skipped_ += page->skipped;
      for (IndexEntry& entry : page->entries) {
        entry.path.insert(0, directory);
        if (!entry.directory) {
          files.push_back(std::move(entry));
        } else if (known.insert(entry.path + "/").second) {
          next.push_back(entry.path + "/");
        }
      }
      if (known.size() > kMaxPages) {
        return TooMuch(context_.Place(base_), fmt::format("{} directories", kMaxPages));
      }
      return Ok();
    };
    if (auto status = Ask(transport_, context_, std::move(questions), at_once_, take); !status) {
      return status;
    }
    if (auto status = Describe(std::move(files)); !status) return status;
    level = std::move(next);
  }
  return Ok();
}

Status WebLister::ReadManifest(const std::string& manifest) {
  const std::string key = KeyOf(manifest);
  const Fetch::Reply reply = AskOne(transport_, context_, PageQuestion(key, kMaxManifest));
  if (!reply.status) return reply.status;
  auto page =
      manifest.ends_with(".json") ? ParseJsonManifest(reply.body) : ParseTextManifest(reply.body);
  if (!page) return Fail(page.error().Wrap(context_.Place(key)));
  skipped_ += page->skipped;
  return Describe(std::move(page->entries));
}

Status WebLister::AddFile(std::string path) {
  std::vector<IndexEntry> files;
  files.push_back({.path = std::move(path)});
  return Describe(std::move(files));
}

Status WebLister::Describe(std::vector<IndexEntry> files) {
  std::vector<std::string> paths;
  std::vector<Fetch::Question> questions;
  for (IndexEntry& file : files) {
    if (auto told = ToldBy(file)) {
      auto status = Add(std::move(file.path), {Refusal::kNone, false, std::move(*told)});
      if (!status) return status;
      continue;
    }
    Fetch::Question question = PageQuestion(KeyOf(file.path), 0);
    question.operation = "head";
    question.method = Method::kHead;
    questions.push_back(std::move(question));
    paths.push_back(std::move(file.path));
  }
  std::vector<std::string> unclear;
  const auto take = [&](std::size_t index, Fetch::Reply reply) -> Status {
    if (!reply.status && !IsOfOneFile(reply.head.status)) return reply.status;
    WebObject described = DescribeHead(reply.head);
    if (!described.needs_probe) return Add(std::move(paths[index]), std::move(described));
    unclear.push_back(std::move(paths[index]));
    return Ok();
  };
  if (auto status = Ask(transport_, context_, std::move(questions), at_once_, take); !status) {
    return status;
  }
  return Probe(std::move(unclear));
}

Status WebLister::Probe(std::vector<std::string> paths) {
  std::vector<Fetch::Question> questions;
  for (const std::string& path : paths) {
    Fetch::Question question = PageQuestion(KeyOf(path), 1);
    question.operation = "head";
    question.headers = {{"Range", "bytes=0-0"}};
    question.only_partial = true;
    questions.push_back(std::move(question));
  }
  return Ask(transport_, context_, std::move(questions), at_once_,
             [&](std::size_t index, Fetch::Reply reply) -> Status {
               const int status = reply.head.status;
               // The whole file instead of a byte, and no byte at all, tell something, too.
               if (!reply.status && !IsOfOneFile(status) && status != 200 && status != 416) {
                 return reply.status;
               }
               WebObject described = DescribeProbe(reply.head);
               return Add(std::move(paths[index]), std::move(described));
             });
}

Status WebLister::Add(std::string path, WebObject described) {
  if (described.refusal != Refusal::kNone) {
    Refuse(described.refusal, path);
    return Ok();
  }
  described.object.path = std::move(path);
  SLUICE_CHECK(objects_.Add(std::move(described.object)), context_.Place(base_));
  return Ok();
}

void WebLister::Refuse(Refusal refusal, const std::string& path) {
  Refused& refused = refused_[refusal];
  if (refused.count++ == 0) refused.example = path;
}

bool WebLister::RefusedAlone(const Fetch::Reply& reply, const std::string& path) {
  const Refusal refusal = RefusalOf(reply.head.status);
  if (refusal == Refusal::kNone) return false;
  Refuse(refusal, path);
  return true;
}

Result<Listing> WebLister::Take() && {
  for (const auto& [refusal, refused] : refused_) {
    context_.Metrics().CountRefused(std::string(NameOf(refusal)), refused.count);
    context_.Log().Warn("objects left out of the listing", {{"origin", context_.Place(base_)},
                                                            {"cause", Explain(refusal)},
                                                            {"objects", refused.count},
                                                            {"example", refused.example}});
  }
  if (objects_.Size() == 0 && !refused_.empty()) {
    const auto& [refusal, refused] = *refused_.begin();
    const Code code = refusal == Refusal::kNotFound    ? Code::kNotFound
                      : refusal == Refusal::kForbidden ? Code::kPermissionDenied
                                                       : Code::kInvalidArgument;
    return Fail(code, fmt::format("{}: no file can be read: {} ({})", context_.Place(base_),
                                  Explain(refusal), refused.example));
  }
  Listing listing = MakeListing(std::move(objects_).Take());
  listing.skipped += skipped_;
  for (const auto& [refusal, refused] : refused_) listing.skipped += refused.count;
  return listing;
}

}  // namespace sluice::origin
