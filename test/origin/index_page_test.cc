#include "index_page.h"

#include <ostream>
#include <random>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "html_links.h"
#include "http_response.h"
#include "index_fuzz.h"

namespace sluice::origin {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// "a b/ c" for a directory "a" and files "b" and "c" would be unclear: one a line.
std::string ShowPage(const IndexPage& page) {
  std::string text;
  for (const IndexEntry& entry : page.entries) {
    text += entry.path + (entry.directory ? "/" : "") + "\n";
  }
  return text + fmt::format("skipped {}", page.skipped);
}

struct HtmlCase {
  std::string name;
  std::string html;
  std::string shown;
};
void PrintTo(const HtmlCase& c, std::ostream* out) { *out << c.name; }

class HtmlIndexTest : public ::testing::TestWithParam<HtmlCase> {};

TEST_P(HtmlIndexTest, FindsWhatLiesBelow) {
  const auto url = ParseUrl("http://host/data/sets/");
  EXPECT_EQ(ShowPage(ParseHtmlIndex(*url, GetParam().html)), GetParam().shown);
}

constexpr const char* kNginx = R"(<html>
<head><title>Index of /data/sets/</title></head>
<body>
<h1>Index of /data/sets/</h1><hr><pre><a href="../">../</a>
<a href="train/">train/</a>                          24-Nov-2026 10:00       -
<a href="a%20b%2Bc.bin">a b+c.bin</a>                24-Nov-2026 10:00      12
<a href="x&amp;y.txt">x&amp;y.txt</a>                24-Nov-2026 10:00      12
</pre><hr></body>
</html>)";

constexpr const char* kApache = R"(<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 3.2 Final//EN">
<table><tr><th valign="top"><img src="/icons/blank.gif" alt="[ICO]"></th>
<th><a href="?C=N;O=D">Name</a></th><th><a href="?C=M;O=A">Last modified</a></th></tr>
<tr><td><a href="/data/">Parent Directory</a></td></tr>
<tr><td><a href="train/"><img src="/icons/folder.gif"></a></td><td><a href="train/">train/</a></td></tr>
<tr><td valign="top"><A HREF='model.bin'>model.bin</A></td><td>1.2G</td></tr>
</table>)";

constexpr const char* kPython = R"(<!DOCTYPE HTML>
<ul>
<li><a href="%C3%BC.txt">ü.txt</a></li>
<li><a href="link">link@</a></li>
<li><a href="sub/">sub/</a></li>
</ul>)";

INSTANTIATE_TEST_SUITE_P(
    Table, HtmlIndexTest,
    ::testing::Values(
        HtmlCase{"Nginx", kNginx, "train/\na b+c.bin\nx&y.txt\nskipped 0"},
        HtmlCase{"Apache", kApache, "train/\nmodel.bin\nskipped 0"},
        HtmlCase{"Python", kPython, "ü.txt\nlink\nsub/\nskipped 0"},
        HtmlCase{"Nothing", "", "skipped 0"},
        HtmlCase{"AbsolutePaths", "<a href=/data/sets/a><a href=/data/b><a href='/data/sets/'>",
                 "a\nskipped 0"},
        HtmlCase{"AbsoluteUrls",
                 "<a href='http://host/data/sets/a'><a href='http://other/data/sets/b'>"
                 "<a href='https://host/data/sets/c'><a href='//host:81/data/sets/d'>",
                 "a\nskipped 0"},
        HtmlCase{"Climbs", "<a href='../../etc/passwd'><a href='x/../../y'><a href='./z'>",
                 "z\nskipped 0"},
        HtmlCase{"EncodedClimb", "<a href='%2e%2e/x'><a href='a%2F..%2Fb'><a href='%2e'>",
                 "skipped 3"},
        HtmlCase{"NulAndHalfEscapes", "<a href='a%00b'><a href='a%2'><a href='a b'>", "skipped 3"},
        HtmlCase{"Queries", "<a href='a?x=1'><a href='?'><a href='a#top'>", "a\nskipped 0"},
        HtmlCase{"OtherSchemes", "<a href='mailto:a@b'><a href='javascript:x()'>", "skipped 0"},
        HtmlCase{"Deeper", "<a href='a/b/c.bin'><a href='a//b'>", "a/b/c.bin\nskipped 1"},
        HtmlCase{"Twice", "<a href=a><a href=./a><a href=a/>", "a\na/\nskipped 0"},
        HtmlCase{"Unfinished", "<a href=\"a\"><a href=\"b", "a\nb\nskipped 0"},
        HtmlCase{"CommentsAndScripts",
                 "<!-- <a href=x> --><script>'<a href=y>'</script ><style><a href=z></style>"
                 "<abbr href=w><a name=v><a title='>' href=u>",
                 "u\nskipped 0"},
        HtmlCase{"LongName", "<a href='" + std::string(256, 'x') + "'>", "skipped 1"}),
    [](const auto& row) { return row.param.name; });

TEST(HtmlLinksTest, ResolvesReferences) {
  EXPECT_THAT(HtmlLinks("<a href='&lt;&#65;&#x20AC;&quot;&apos;&bogus;&#0;&#xD800;&'>"),
              ElementsAre("<A\xE2\x82\xAC\"'&bogus;&#0;&#xD800;&"));
}

TEST(JsonIndexTest, ReadsNginx) {
  const auto page = ParseJsonIndex(R"([
{ "name":"train", "type":"directory", "mtime":"Wed, 25 Mar 2015 21:40:12 GMT" },
{ "name":"a b%20.bin", "type":"file", "mtime":"Wed, 25 Mar 2015 21:40:12 GMT", "size":12 },
{ "name":"new", "type":"file" },
{ "name":"..", "type":"directory" },
{ "name":"a/b", "type":"file" },
{ "name":"tty", "type":"other" }
])");
  ASSERT_TRUE(page) << page.error().message;
  EXPECT_EQ(ShowPage(*page), "train/\na b%20.bin\nnew\nskipped 2");
  const IndexEntry& file = page->entries.at(1);
  EXPECT_EQ(file.size, 12U);
  EXPECT_EQ(FormatHttpTime(file.modified.value()), "Wed, 25 Mar 2015 21:40:12 GMT");
  EXPECT_FALSE(page->entries.at(2).size);
}

TEST(JsonIndexTest, RefusesOtherJson) {
  for (const char* text : {"", "{}", "[1]", "[{\"name\":\"a\"}]", "[{\"name\":\"a\",", "null",
                           "[{\"name\":\"\xff\",\"type\":\"file\"}]"}) {
    EXPECT_FALSE(ParseJsonIndex(text)) << text;
  }
  EXPECT_TRUE(ParseJsonIndex("[]"));
}

TEST(ManifestTest, OnePathALine) {
  EXPECT_EQ(ShowPage(ParseTextManifest("a\r\nb/c d\n\n./e\n../f\n/g\nb/c d\nh")),
            "a\nb/c d\ne\nh\nskipped 2");
}

TEST(ManifestTest, AListOfPathsOrObjects) {
  const auto page = ParseJsonManifest(
      R"(["a", {"path": "b/c", "size": 7, "etag": "x"}, {"path": "../d"}, {"path":"e","size":-1}])");
  ASSERT_TRUE(page) << page.error().message;
  EXPECT_EQ(ShowPage(*page), "a\nb/c\ne\nskipped 1");
  EXPECT_EQ(page->entries.at(1).size, 7U);
  EXPECT_EQ(page->entries.at(1).etag, "x");
  EXPECT_FALSE(page->entries.at(2).size);
  EXPECT_THAT(ParseJsonManifest("{\"files\":[]}").error().message, HasSubstr("not a JSON list"));
  EXPECT_THAT(ParseJsonManifest("[{\"name\":\"a\"}]").error().message, HasSubstr("\"path\""));
}

// Edits of good listings: whatever comes out, no name leaves the directory.
TEST(IndexFuzzTest, EditedListingsKeepThePromises) {
  std::mt19937 random(20261126);
  const std::vector<std::string> listings = {
      kNginx,
      kApache,
      R"([{"name":"d","type":"directory"},{"name":"a","type":"file","size":3}])",
      R"(["a",{"path":"b/c","size":7,"etag":"x"}])",
      R"([{"type":"file","path":"a","oid":"0123456789","size":3,"lfs":{"oid":"9876543210"}}])",
      "<https://h/api?cursor=x>; rel=\"next\""};
  const std::vector<std::string> pieces = {"<a href=", "../",  "%2e%2e/",  "%2F",
                                           "\"",       "'",    "&#x2F;",   "//other/",
                                           "\n",       "<!--", "</script", std::string(1, 0)};
  for (int round = 0; round < 5'000; ++round) {
    std::string input = listings[random() % listings.size()];
    for (std::size_t i = 0, edits = 1 + random() % 6; i < edits && !input.empty(); ++i) {
      const std::size_t at = random() % input.size();
      if (random() % 3 == 0) {
        input[at] = static_cast<char>(random());
      } else if (random() % 2 == 0) {
        input.erase(at, 1 + random() % 12);
      } else {
        input.insert(at, pieces[random() % pieces.size()]);
      }
    }
    test::FuzzIndex(input);
  }
}

}  // namespace
}  // namespace sluice::origin
