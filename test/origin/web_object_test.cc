#include "web_object.h"

#include <ostream>
#include <string>

#include <gtest/gtest.h>

namespace sluice::origin {
namespace {

HttpHead WebHead(int status) {
  HttpHead head;
  head.status = status;
  head.etag = "\"v1\"";
  head.last_modified = "Wed, 25 Mar 2015 21:40:12 GMT";
  head.content_length = 7;
  head.accept_ranges = "bytes";
  return head;
}

struct HeadCase {
  std::string name;
  HttpHead head;
  Refusal refusal = Refusal::kNone;
  bool needs_probe = false;
};
void PrintTo(const HeadCase& c, std::ostream* out) { *out << c.name; }

HeadCase Spoil(std::string name, void (*spoil)(HttpHead&), Refusal refusal,
               bool needs_probe = false) {
  HeadCase c{std::move(name), WebHead(200), refusal, needs_probe};
  spoil(c.head);
  return c;
}

class DescribeHeadTest : public ::testing::TestWithParam<HeadCase> {};

TEST_P(DescribeHeadTest, TakesOrRefuses) {
  const WebObject described = DescribeHead(GetParam().head);
  EXPECT_EQ(NameOf(described.refusal), NameOf(GetParam().refusal));
  EXPECT_EQ(described.needs_probe, GetParam().needs_probe);
}

INSTANTIATE_TEST_SUITE_P(
    Table, DescribeHeadTest,
    ::testing::Values(
        Spoil(
            "Good", [](HttpHead&) {}, Refusal::kNone),
        Spoil(
            "NoTag", [](HttpHead& h) { h.etag = ""; }, Refusal::kNone),
        Spoil(
            "NoTime", [](HttpHead& h) { h.last_modified = ""; }, Refusal::kNone),
        Spoil(
            "WeakTagWithTime", [](HttpHead& h) { h.etag = "W/\"x\""; }, Refusal::kNone),
        Spoil(
            "WeakTagWithoutTime",
            [](HttpHead& h) {
              h.etag = "W/\"x\"";
              h.last_modified = "yesterday";
            },
            Refusal::kNoVersion),
        Spoil(
            "NoLength", [](HttpHead& h) { h.content_length.reset(); }, Refusal::kNone, true),
        Spoil(
            "SaysNothingOfRanges", [](HttpHead& h) { h.accept_ranges = ""; }, Refusal::kNone, true),
        Spoil(
            "NoRanges", [](HttpHead& h) { h.accept_ranges = "None"; }, Refusal::kNoRanges),
        Spoil(
            "EmptyNeedsNoRanges",
            [](HttpHead& h) {
              h.accept_ranges = "none";
              h.content_length = 0;
            },
            Refusal::kNone),
        Spoil(
            "Gzip", [](HttpHead& h) { h.content_encoding = "gzip"; }, Refusal::kEncoded),
        Spoil(
            "NoHead", [](HttpHead& h) { h.status = 405; }, Refusal::kNone, true),
        Spoil(
            "Missing", [](HttpHead& h) { h.status = 404; }, Refusal::kNotFound),
        Spoil(
            "Forbidden", [](HttpHead& h) { h.status = 403; }, Refusal::kForbidden)),
    [](const auto& row) { return row.param.name; });

TEST(DescribeProbeTest, TakesTheSizeFromTheRange) {
  HttpHead head = WebHead(206);
  head.content_range = "bytes 0-0/1234";
  head.content_length = 1;
  EXPECT_EQ(DescribeProbe(head).object.size, 1234U);
  EXPECT_EQ(DescribeProbe(head).object.version, "v1");
  head.content_range = "bytes 0-0/*";
  EXPECT_EQ(DescribeProbe(head).refusal, Refusal::kNoLength);
  head.status = 200;
  EXPECT_EQ(DescribeProbe(head).refusal, Refusal::kNoRanges);
  head.status = 416;
  EXPECT_EQ(DescribeProbe(head).refusal, Refusal::kNoRanges);
  head.content_range = "bytes */0";
  EXPECT_EQ(DescribeProbe(head).refusal, Refusal::kNone);
  EXPECT_EQ(DescribeProbe(head).object.size, 0U);
}

TEST(RefusalTest, EachHasItsOwnWords) {
  for (const Refusal refusal : {Refusal::kNotFound, Refusal::kForbidden, Refusal::kNoLength,
                                Refusal::kNoRanges, Refusal::kNoVersion, Refusal::kEncoded}) {
    EXPECT_NE(NameOf(refusal), NameOf(Refusal::kNone));
    EXPECT_FALSE(Explain(refusal).empty());
  }
}

}  // namespace
}  // namespace sluice::origin
