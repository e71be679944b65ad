// The adapter for web servers against one that behaves, and one that does not.
#include "sluice/origin/http_origin.h"

#include <atomic>
#include <filesystem>
#include <fstream>
#include <string>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fake_server.h"
#include "fake_site.h"
#include "read_all.h"

namespace sluice::origin {
namespace {

using std::chrono::milliseconds;
using test::Answer;
using test::FakeReply;
using test::FakeRequest;
using test::FakeServer;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

OriginLimits QuickWebLimits() {
  OriginLimits limits;
  limits.max_connections = 4;
  limits.max_attempts = 3;
  limits.stall_timeout = milliseconds(500);
  limits.connect_timeout = milliseconds(500);
  limits.first_backoff = milliseconds(1);
  limits.max_backoff = milliseconds(4);
  limits.deadline = milliseconds(10'000);
  return limits;
}

std::vector<std::string> PathsOf(const Listing& listing) {
  std::vector<std::string> paths;
  for (const OriginObject& object : listing.objects) paths.push_back(object.path);
  return paths;
}

class HttpOriginTest : public ::testing::Test {
 protected:
  // An origin for <server><path>.
  Origin& Open(FakeServer::Handler handler, const std::string& path,
               std::map<std::string, std::string> options = {}) {
    server_ = std::make_unique<FakeServer>(std::move(handler));
    MountConfig mount;
    mount.mount_point = server_->Endpoint() + path;
    mount.options = std::move(options);
    return OpenMount(mount);
  }
  Origin& Open(const Site& site, const std::string& path,
               std::map<std::string, std::string> options = {}) {
    return Open([site](const FakeRequest& r) { return ServeSite(r, site); }, path,
                std::move(options));
  }
  Origin& OpenMount(const MountConfig& mount) {
    auto origin = MakeOrigin(mount, QuickWebLimits(), metrics_, log_);
    EXPECT_TRUE(origin) << origin.error().message;
    origin_ = std::move(*origin);
    return *origin_;
  }
  [[nodiscard]] std::size_t CountOf(const std::string& method) const {
    const auto requests = server_->Requests();
    return static_cast<std::size_t>(std::count_if(
        requests.begin(), requests.end(), [&](const auto& r) { return r.method == method; }));
  }

  platform::Metrics metrics_;
  platform::Log log_{"test", platform::LogLevel::kError};
  std::unique_ptr<FakeServer> server_;
  std::unique_ptr<Origin> origin_;
};

// ---- listings ----------------------------------------------------------------------------------

TEST_F(HttpOriginTest, WalksIndexPagesAndReads) {
  Origin& origin =
      Open(Site{{"/data/", HtmlPage("<a href='../'><a href='?C=N'><a href='a.bin'><a href='sub/'>"
                                    "<a href='http://elsewhere.invalid/data/x'>")},
                {"/data/sub/", HtmlPage("<a href='b%20c%2B.txt'><a href='/data/'><a href='./'>")},
                {"/data/a.bin", {.body = "0123456789"}},
                {"/data/sub/b%20c%2B.txt", {.body = "hello"}}},
           "/data/");
  const auto listing = origin.List();
  ASSERT_TRUE(listing) << listing.error().message;
  EXPECT_THAT(PathsOf(*listing), ElementsAre("a.bin", "sub/b c+.txt"));
  EXPECT_EQ(listing->objects[0].size, 10U);
  EXPECT_EQ(listing->objects[0].version, "v1");
  EXPECT_EQ(listing->skipped, 0U);
  EXPECT_EQ(ReadWhole(origin, listing->objects[1]).bytes, "hello");
  const ReadResult part = ReadRange(origin, listing->objects[0], 3, 4);
  ASSERT_TRUE(part.status) << part.status.error().message;
  EXPECT_EQ(part.bytes, "3456");
  const FakeRequest request = server_->Requests().back();
  EXPECT_EQ(request.path, "/data/a.bin");
  EXPECT_EQ(request.headers.at("range"), "bytes=3-6");
  EXPECT_EQ(request.headers.at("if-match"), "\"v1\"");
  EXPECT_EQ(request.headers.count("authorization"), 0U);
}

TEST_F(HttpOriginTest, NginxJsonTellsSizesAndTimes) {
  Origin& origin = Open(Site{{"/",
                              {.body = R"([{"name":"d","type":"directory"},
{"name":"a","type":"file","mtime":"Wed, 25 Mar 2015 21:40:12 GMT","size":3}])",
                               .headers = {"Content-Type: application/json"}}},
                             {"/d/", {.body = "[]", .headers = {"Content-Type: application/json"}}},
                             {"/a", {.body = "abc"}}},
                        "");
  const auto listing = origin.List();
  ASSERT_TRUE(listing) << listing.error().message;
  EXPECT_THAT(PathsOf(*listing), ElementsAre("a"));
  EXPECT_EQ(CountOf("HEAD"), 0U);
  const ReadResult read = ReadWhole(origin, listing->objects[0]);
  ASSERT_TRUE(read.status) << read.status.error().message;
  EXPECT_EQ(read.bytes, "abc");
  EXPECT_EQ(server_->Requests().back().headers.at("if-unmodified-since"),
            "Wed, 25 Mar 2015 21:40:12 GMT");
}

TEST_F(HttpOriginTest, ReadsAManifest) {
  const Site site{{"/m/files.txt", {.body = "x/a\nmissing\n../up\n"}},
                  {"/m/x/a", {.body = "abc"}},
                  {"/m/files.json", {.body = R"([{"path":"x/a","size":3,"etag":"v1"}])"}}};
  const auto by_lines = Open(site, "/m", {{"manifest", "files.txt"}}).List();
  ASSERT_TRUE(by_lines) << by_lines.error().message;
  EXPECT_THAT(PathsOf(*by_lines), ElementsAre("x/a"));
  EXPECT_EQ(by_lines->skipped, 2U) << "one missing, one that no file can be called";
  Origin& origin = Open(site, "/m/", {{"manifest", "files.json"}});
  const auto by_objects = origin.List();
  ASSERT_TRUE(by_objects) << by_objects.error().message;
  EXPECT_EQ(CountOf("HEAD"), 0U);
  EXPECT_EQ(ReadWhole(origin, by_objects->objects.at(0)).bytes, "abc");
}

TEST_F(HttpOriginTest, AManifestWithAWeakTagIsAskedAbout) {
  Origin& origin = Open(Site{{"/m.json", {.body = R"([{"path":"a","size":9,"etag":"W/\"x\""}])"}},
                             {"/a", {.body = "abc"}}},
                        "/", {{"manifest", "m.json"}});
  const auto listing = origin.List();
  ASSERT_TRUE(listing) << listing.error().message;
  EXPECT_EQ(CountOf("HEAD"), 1U);
  EXPECT_EQ(listing->objects.at(0).size, 3U) << "the server knows better";
  EXPECT_EQ(ReadWhole(origin, listing->objects.at(0)).bytes, "abc");
}

TEST_F(HttpOriginTest, AUrlOfOneFileIsThatFile) {
  Origin& origin = Open(Site{{"/a/my%20model.bin", {.body = "abc"}}}, "/a/my%20model.bin");
  const auto listing = origin.List();
  ASSERT_TRUE(listing) << listing.error().message;
  EXPECT_THAT(PathsOf(*listing), ElementsAre("my model.bin"));
  EXPECT_EQ(ReadWhole(origin, listing->objects[0]).bytes, "abc");
}

TEST_F(HttpOriginTest, ADirectoryNeedsNoSlash) {
  const Site site{{"/d/", HtmlPage("<a href=a>")}, {"/d/a", {.body = "abc"}}};
  Origin& origin = Open(
      [site](const FakeRequest& r) {
        if (r.path == "/d") return Answer(301, "", {"Location: /d/"});
        return ServeSite(r, site);
      },
      "/d");
  const auto listing = origin.List();
  ASSERT_TRUE(listing) << listing.error().message;
  EXPECT_THAT(PathsOf(*listing), ElementsAre("a"));
  EXPECT_EQ(ReadWhole(origin, listing->objects[0]).bytes, "abc");
}

TEST_F(HttpOriginTest, AWalkHasAnEnd) {
  // Every directory has another one in it.
  Origin& origin =
      Open([](const FakeRequest&) { return ServeFile({}, HtmlPage("<a href=d/>")); }, "/");
  const auto listing = origin.List();
  ASSERT_FALSE(listing);
  EXPECT_EQ(listing.error().code, Code::kInvalidArgument);
  EXPECT_THAT(listing.error().message, AllOf(HasSubstr("32 levels"), HasSubstr("manifest")));
}

TEST_F(HttpOriginTest, APageThatIsNoIndexSaysWhatToDo) {
  const auto listing = Open(Site{{"/", {.body = "welcome"}}}, "/").List();
  ASSERT_FALSE(listing);
  EXPECT_THAT(listing.error().message, HasSubstr("listing of directories on"));
}

TEST_F(HttpOriginTest, WhatCannotBeReadSafelyIsLeftOutAndCounted) {
  const std::vector<std::string> tag = {"ETag: \"v1\""};
  Origin& origin = Open(
      [tag](const FakeRequest& r) {
        const Site site{
            {"/", HtmlPage("<a href=good><a href=quiet><a href=whole><a href=unversioned>"
                           "<a href=packed><a href=gone><a href=secret/>")},
            {"/good", {.body = "abc"}},
            {"/quiet", {.body = "abc", .headers = tag, .announces = false}},
            {"/whole", {.body = "abc", .headers = tag, .ranges = false}},
            {"/unversioned", {.body = "abc", .headers = {"ETag: W/\"weak\""}}},
            {"/packed", {.body = "abc", .headers = {"ETag: \"v1\"", "Content-Encoding: gzip"}}}};
        if (r.path == "/secret/") return Answer(403, "");
        return ServeSite(r, site);
      },
      "/");
  const auto listing = origin.List();
  ASSERT_TRUE(listing) << listing.error().message;
  EXPECT_THAT(PathsOf(*listing), ElementsAre("good", "quiet"));
  EXPECT_EQ(listing->skipped, 5U);
  for (const char* cause : {"no_ranges", "no_version", "encoded", "not_found", "forbidden"}) {
    EXPECT_THAT(
        metrics_.Render(),
        HasSubstr(fmt::format("sluice_origin_refused_objects_total{{cause=\"{}\"}} 1", cause)));
  }
}

TEST_F(HttpOriginTest, AServerWithoutRangesIsAnErrorThatSaysSo) {
  const auto listing =
      Open(Site{{"/", HtmlPage("<a href=a>")}, {"/a", {.body = "abc", .ranges = false}}}, "/")
          .List();
  ASSERT_FALSE(listing);
  EXPECT_EQ(listing.error().code, Code::kInvalidArgument);
  EXPECT_THAT(listing.error().message, HasSubstr("range of bytes"));
}

TEST_F(HttpOriginTest, AServerWithoutHeadIsProbed) {
  const Site site{{"/", HtmlPage("<a href=a><a href=empty>")},
                  {"/a", {.body = "abc"}},
                  {"/empty", {.body = ""}}};
  Origin& origin = Open(
      [site](const FakeRequest& r) {
        if (r.method == "HEAD") return Answer(405, "", {"Content-Length: 0"});
        FakeReply reply = ServeSite(r, site);
        if (r.path == "/empty") {
          reply = Answer(416, "", {"Content-Range: bytes */0", "ETag: \"e\""});
        }
        return reply;
      },
      "/");
  const auto listing = origin.List();
  ASSERT_TRUE(listing) << listing.error().message;
  EXPECT_THAT(PathsOf(*listing), ElementsAre("a", "empty"));
  EXPECT_EQ(listing->objects[0].size, 3U);
  EXPECT_EQ(listing->objects[1].size, 0U);
}

TEST_F(HttpOriginTest, AFailingServerFailsTheListing) {
  Origin& origin = Open(
      [](const FakeRequest& r) {
        if (r.path == "/") return ServeFile(r, HtmlPage("<a href=a>"));
        return Answer(503, "");
      },
      "/");
  const auto listing = origin.List();
  ASSERT_FALSE(listing) << "an object less would look like a deletion";
  EXPECT_EQ(listing.error().code, Code::kUnavailable);
  EXPECT_THAT(listing.error().message, AllOf(HasSubstr("/a: "), HasSubstr("tried 3 times")));
}

// ---- reads -------------------------------------------------------------------------------------

struct SpoiledWeb {
  std::string name;
  FakeReply reply;
  Code code;
  std::string message;
};
void PrintTo(const SpoiledWeb& c, std::ostream* out) { *out << c.name; }

class SpoiledWebTest : public HttpOriginTest, public ::testing::WithParamInterface<SpoiledWeb> {};

TEST_P(SpoiledWebTest, IsAnErrorAndNotDelivered) {
  Origin& origin = Open([](const FakeRequest&) { return GetParam().reply; }, "/d/");
  OriginObject object;
  object.path = "k";
  object.size = 1000;
  object.version = "v1";
  const ReadResult read = ReadRange(origin, object, 100, 10);
  ASSERT_FALSE(read.status);
  EXPECT_EQ(read.bytes, "");
  EXPECT_EQ(read.status.error().code, GetParam().code) << read.status.error().message;
  EXPECT_THAT(read.status.error().message,
              AllOf(HasSubstr("/d/k: "), HasSubstr(GetParam().message)));
}

INSTANTIATE_TEST_SUITE_P(
    Table, SpoiledWebTest,
    ::testing::Values(
        SpoiledWeb{"IgnoredRange", Answer(200, std::string(1000, 'x'), {"ETag: \"v1\""}),
                   Code::kUnavailable, "ignored the Range header"},
        SpoiledWeb{"OtherTag",
                   Answer(206, std::string(10, 'x'),
                          {"ETag: \"v2\"", "Content-Range: bytes 100-109/1000"}),
                   Code::kConflict, "has changed"},
        SpoiledWeb{
            "OtherRange",
            Answer(206, std::string(10, 'x'), {"ETag: \"v1\"", "Content-Range: bytes 0-9/1000"}),
            Code::kUnavailable, "bytes 0-9 instead of 100-109"},
        SpoiledWeb{"NoContentRange", Answer(206, std::string(10, 'x'), {"ETag: \"v1\""}),
                   Code::kUnavailable, "Content-Range is missing"},
        SpoiledWeb{"PreconditionFailed", Answer(412, ""), Code::kConflict, "has changed"},
        SpoiledWeb{"Gone", Answer(404, ""), Code::kNotFound, "not found"},
        SpoiledWeb{"Forbidden", Answer(403, ""), Code::kPermissionDenied, "option \"token\""},
        SpoiledWeb{"RedirectLoop", Answer(302, "", {"Location: /d/k"}), Code::kUnavailable,
                   "more than 8 redirects"},
        SpoiledWeb{"RedirectToAFile", Answer(302, "", {"Location: file:///etc/passwd"}),
                   Code::kUnavailable, "no http or https URL"},
        SpoiledWeb{"RedirectNowhere", Answer(302, ""), Code::kUnavailable, "HTTP 302"}),
    [](const auto& row) { return row.param.name; });

TEST_F(HttpOriginTest, AShortBodyIsContinued) {
  const SiteFile file{.body = std::string(50'000, 'x') + std::string(50'000, 'y')};
  Origin& origin = Open(
      [file](const FakeRequest& r) {
        FakeReply reply = ServeFile(r, file);
        if (reply.bytes.size() > 30'000) {
          reply.bytes.resize(30'000);
          reply.then = FakeReply::Then::kClose;
        }
        return reply;
      },
      "/f");
  const auto listing = origin.List();
  ASSERT_TRUE(listing) << listing.error().message;
  EXPECT_EQ(ReadWhole(origin, listing->objects.at(0)).bytes, file.body);
}

TEST_F(HttpOriginTest, RedirectsAreFollowedButTheTokenIsNot) {
  const SiteFile file{.body = "abc"};
  FakeServer store([file](const FakeRequest& r) { return ServeFile(r, file); });
  Origin& origin = Open(
      [&](const FakeRequest& r) {
        if (r.headers.count("authorization") == 0) return Answer(401, "");
        if (r.path == "/f") return Answer(302, "", {"Location: /g"});
        return Answer(307, "", {"Location: " + store.Endpoint() + "/stored?sig=1"});
      },
      "/f", {{"token", "hunter2"}});
  const auto listing = origin.List();
  ASSERT_TRUE(listing) << listing.error().message;
  const ReadResult read = ReadWhole(origin, listing->objects.at(0));
  ASSERT_TRUE(read.status) << read.status.error().message;
  EXPECT_EQ(read.bytes, "abc");
  EXPECT_EQ(server_->Requests().back().headers.at("authorization"), "Bearer hunter2");
  EXPECT_EQ(server_->Requests().back().path, "/g");
  ASSERT_FALSE(store.Requests().empty());
  for (const FakeRequest& request : store.Requests()) {
    EXPECT_EQ(request.path, "/stored");
    EXPECT_EQ(request.headers.count("authorization"), 0U);
  }
  EXPECT_EQ(store.Requests().back().headers.at("range"), "bytes=0-2");
}

TEST_F(HttpOriginTest, ATokenThatWasRenewedIsReadAgain) {
  const auto file =
      std::filesystem::temp_directory_path() / fmt::format("sluice-web-token-{}", ::getpid());
  std::ofstream(file) << "old\n";
  std::atomic<bool> renewed = false;
  server_ = std::make_unique<FakeServer>([&](const FakeRequest& r) {
    const std::string wanted = renewed ? "Bearer new" : "Bearer old";
    if (r.headers.at("authorization") != wanted) return Answer(401, "");
    return ServeFile(r, {.body = "abc"});
  });
  MountConfig mount;
  mount.mount_point = server_->Endpoint() + "/f";
  mount.secret_files = {{"token", file}};
  Origin& origin = OpenMount(mount);
  const auto listing = origin.List();
  ASSERT_TRUE(listing) << listing.error().message;
  renewed = true;
  const ReadResult refused = ReadWhole(origin, listing->objects.at(0));
  ASSERT_FALSE(refused.status);
  EXPECT_EQ(refused.status.error().code, Code::kPermissionDenied);
  std::ofstream(file) << "new\n";
  EXPECT_EQ(ReadWhole(origin, listing->objects.at(0)).bytes, "abc");
  std::filesystem::remove(file);
}

}  // namespace
}  // namespace sluice::origin
