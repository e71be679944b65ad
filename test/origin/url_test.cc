#include "url.h"

#include <ostream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sluice::origin {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

struct UrlCase {
  std::string name;
  std::string base;
  std::string reference;
  std::string resolved;  // empty: refused
};
void PrintTo(const UrlCase& c, std::ostream* out) { *out << c.name; }

class ResolveTest : public ::testing::TestWithParam<UrlCase> {};

TEST_P(ResolveTest, LeadsWhereABrowserWouldGo) {
  const auto base = ParseUrl(GetParam().base);
  ASSERT_TRUE(base) << base.error().message;
  const auto url = Resolve(*base, GetParam().reference);
  EXPECT_EQ(url ? url->Text() : "", GetParam().resolved);
}

INSTANTIATE_TEST_SUITE_P(
    Table, ResolveTest,
    ::testing::Values(UrlCase{"Name", "http://h/a/", "b", "http://h/a/b"},
                      UrlCase{"NameBesideAFile", "http://h/a/c", "b", "http://h/a/b"},
                      UrlCase{"Dot", "http://h/a/", "./b/", "http://h/a/b/"},
                      UrlCase{"Up", "http://h/a/b/", "../", "http://h/a/"},
                      UrlCase{"UpBeyondTheRoot", "http://h/a/", "../../../x", "http://h/x"},
                      UrlCase{"Root", "https://h:8443/a/b", "/x?y", "https://h:8443/x?y"},
                      UrlCase{"OtherServer", "https://h/a/", "//i/x", "https://i/x"},
                      UrlCase{"Absolute", "https://h/a/", "HTTP://I:80/x", "http://i/x"},
                      UrlCase{"AbsoluteWithDots", "http://h/a/", "http://i/../b/./c/..",
                              "http://i/b/"},
                      UrlCase{"QueryOnly", "http://h/a/?old", "?C=N;O=D", "http://h/a/?C=N;O=D"},
                      UrlCase{"Fragment", "http://h/a/", "#top", "http://h/a/"},
                      UrlCase{"Address", "http://[::1]:80/", "x", "http://[::1]/x"},
                      UrlCase{"Mail", "http://h/", "mailto:me@h", ""},
                      UrlCase{"Script", "http://h/", "javascript:alert(1)", ""},
                      UrlCase{"File", "http://h/", "file:///etc/passwd", ""},
                      UrlCase{"Credentials", "http://h/", "http://me:hunter2@i/", ""},
                      UrlCase{"Newline", "http://h/", "a\nHost: i", ""},
                      UrlCase{"BadPort", "http://h/", "http://i:99999/", ""},
                      UrlCase{"NoHost", "http://h/", "http:///x", ""}),
    [](const auto& row) { return row.param.name; });

TEST(RedirectTargetTest, GoesToHttpsButNotBack) {
  EXPECT_EQ(RedirectTarget("http://h/a", "https://i/b")->Text(), "https://i/b");
  EXPECT_EQ(RedirectTarget("https://h/a", "/b")->Text(), "https://h/b");
  const auto back = RedirectTarget("https://h/a", "http://h/a?token=hunter2");
  ASSERT_FALSE(back);
  EXPECT_EQ(back.error().code, Code::kUnavailable);
  EXPECT_THAT(back.error().message, AllOf(HasSubstr("https to http"), Not(HasSubstr("hunter2"))));
  EXPECT_THAT(RedirectTarget("http://h/a", "ftp://h/a").error().message, HasSubstr("no http"));
}

TEST(RedirectTargetTest, CredentialsStayWithTheirServer) {
  const auto may = [](const char* from, const char* to) {
    return MayCarryCredentials(from, *ParseUrl(to));
  };
  EXPECT_TRUE(may("https://h/a", "https://H:443/b"));
  EXPECT_TRUE(may("http://h/a", "https://h/a"));
  EXPECT_FALSE(may("https://h/a", "https://i/a"));
  EXPECT_FALSE(may("https://h/a", "https://h.i/a"));
  EXPECT_FALSE(may("https://h/a", "https://h:8443/a"));
  EXPECT_FALSE(may("https://h/a", "http://h/a"));
  EXPECT_FALSE(may("http://h:8080/a", "https://h/a"));
}

TEST(PercentDecodeTest, RefusesHalfAnEscape) {
  EXPECT_EQ(PercentDecode("a%20%C3%bc%00b"), std::string("a \xC3\xBC\0b", 6));
  EXPECT_EQ(PercentDecode("a+b"), "a+b");
  for (const char* text : {"%", "%4", "%4g", "%-1", "% 1", "a%2"}) {
    EXPECT_EQ(PercentDecode(text), std::nullopt) << text;
  }
}

}  // namespace
}  // namespace sluice::origin
