#include "sluice/core/web_options.h"

#include <string>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sluice {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using Options = std::map<std::string, std::string>;

MountConfig Mount(std::string point, Options options, Options secret_files) {
  MountConfig mount;
  mount.mount_point = std::move(point);
  mount.options = std::move(options);
  mount.secret_files = std::move(secret_files);
  return mount;
}

std::string ShowToken(const CredentialSource& source) {
  if (!source.Given()) return "none";
  return source.file.empty() ? "value" : source.file;
}

struct WebCase {
  std::string name;
  std::string point;
  Options options;
  Options secret_files;
  std::string shown;  // what comes out, or a part of the error
};
void PrintTo(const WebCase& c, std::ostream* out) { *out << c.name; }

class WebOptionsTest : public ::testing::TestWithParam<WebCase> {};

TEST_P(WebOptionsTest, ResolvesOrSaysWhy) {
  const WebCase& c = GetParam();
  const MountConfig mount = Mount(c.point, c.options, c.secret_files);
  const auto web = ResolveWebOptions(mount);
  if (!web) {
    EXPECT_EQ(web.error().code, Code::kInvalidArgument);
    EXPECT_THAT(web.error().message, AllOf(HasSubstr(c.shown), Not(HasSubstr("hunter2"))));
    EXPECT_EQ(CheckMountOptions(mount).error().message, web.error().message);
    return;
  }
  EXPECT_EQ(fmt::format("{} manifest={} ca={} token={}", web->url, web->manifest, web->ca_file,
                        ShowToken(web->token)),
            c.shown);
  EXPECT_TRUE(CheckMountOptions(mount));
}

INSTANTIATE_TEST_SUITE_P(
    Table, WebOptionsTest,
    ::testing::Values(
        WebCase{"Host", "https://h", {}, {}, "https://h/ manifest= ca= token=none"},
        WebCase{
            "Directory", "http://h:81/a/b//", {}, {}, "http://h:81/a/b/ manifest= ca= token=none"},
        WebCase{"SlashOrNot", "http://h/a/b", {}, {}, "http://h/a/b manifest= ca= token=none"},
        WebCase{"Everything",
                "https://h/a",
                {{"manifest", "m/list.json"}, {"alluxio.underfs.web.titles", "x"}},
                {{"token", "/s/t"}, {"caFile", "/s/ca"}},
                "https://h/a/ manifest=m/list.json ca=/s/ca token=/s/t"},
        WebCase{"ManifestLeaves", "https://h", {{"manifest", "../m.txt"}}, {}, "relative to"},
        WebCase{
            "ManifestElsewhere", "https://h", {{"manifest", "http://i/m.txt"}}, {}, "relative to"},
        WebCase{"ManifestOfOtherKind", "https://h", {{"manifest", "m.xml"}}, {}, ".json or .txt"},
        WebCase{"TokenTwice",
                "https://h",
                {{"token", "hunter2"}},
                {{"token", "/s/t"}},
                "option \"token\" is given twice"}),
    [](const auto& row) { return row.param.name; });

class HubOptionsTest : public ::testing::TestWithParam<WebCase> {};

TEST_P(HubOptionsTest, ResolvesOrSaysWhy) {
  const WebCase& c = GetParam();
  const MountConfig mount = Mount(c.point, c.options, c.secret_files);
  const auto hub = ResolveHubOptions(mount);
  if (!hub) {
    EXPECT_EQ(hub.error().code, Code::kInvalidArgument);
    EXPECT_THAT(hub.error().message, AllOf(HasSubstr(c.shown), Not(HasSubstr("hunter2"))));
    EXPECT_EQ(CheckMountOptions(mount).error().message, hub.error().message);
    return;
  }
  EXPECT_EQ(fmt::format("{} {} {} {} [{}] {}", hub->endpoint, hub->kind, hub->repository,
                        hub->revision, hub->path, ShowToken(hub->token)),
            c.shown);
  EXPECT_TRUE(CheckMountOptions(mount));
}

INSTANTIATE_TEST_SUITE_P(
    Table, HubOptionsTest,
    ::testing::Values(
        WebCase{"Model", "hf://o/n", {}, {}, "https://huggingface.co models o/n main [] none"},
        WebCase{"Dataset",
                "hf://datasets/o/n@v1/a/b/",
                {{"endpoint", "http://h:1/"}},
                {{"token", "/s/t"}},
                "http://h:1 datasets o/n v1 [a/b] /s/t"},
        WebCase{"Space",
                "hf://spaces/o/n/a",
                {},
                {},
                "https://huggingface.co spaces o/n main [a] none"},
        WebCase{"PullRequest",
                "hf://models/o/n@refs/pr/7/a",
                {},
                {},
                "https://huggingface.co models o/n refs/pr/7 [a] none"},
        WebCase{"RevisionWithSlash",
                "hf://o/n/a",
                {{"revision", "f/x"}},
                {},
                "https://huggingface.co models o/n f/x [a] none"},
        WebCase{
            "RevisionTwice", "hf://o/n@a", {{"revision", "b"}}, {}, "the revision is given twice"},
        WebCase{
            "RevisionUp", "hf://o/n", {{"revision", "../x"}}, {}, "must be the name of a branch"},
        WebCase{"RevisionWithQuery", "hf://o/n@a?b", {}, {}, "must be the name of a branch"},
        WebCase{"EndpointWithPath",
                "hf://o/n",
                {{"endpoint", "https://h/api"}},
                {},
                "must not have a path"}),
    [](const auto& row) { return row.param.name; });

TEST(WebSchemeTest, EachIsForItsOwnScheme) {
  const MountConfig bucket = Mount("s3://bucket", {}, {});
  EXPECT_THAT(ResolveWebOptions(bucket).error().message, HasSubstr("is no web server"));
  EXPECT_THAT(ResolveHubOptions(bucket).error().message, HasSubstr("is not the Hub's"));
}

}  // namespace
}  // namespace sluice
