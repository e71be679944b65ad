#include "judgement.h"

#include <array>

#include <gtest/gtest.h>

namespace sluice::pool {
namespace {

using What = Operation::Kind;

struct Judged {
  std::string line;
  std::string_view word;  // empty: out of step
};

void Check(What kind, const std::vector<Judged>& cases) {
  std::array<std::byte, 8> buffer{};
  Operation operation;
  operation.kind = kind;
  if (kind == What::kGet) operation.into = buffer;
  if (kind == What::kPut) operation.value = buffer;
  for (const Judged& c : cases) {
    const auto ending = Judge(operation, 7, *ParseReply(c.line));
    ASSERT_EQ(ending.has_value(), !c.word.empty()) << c.line;
    EXPECT_EQ(ending ? ending->word : "", c.word) << c.line;
  }
}

TEST(JudgementTest, OfAGet) {
  Check(What::kGet, {
                        {"EN", "miss"},
                        {"VA 8 c1 f2 s8 O7", "hit"},
                        {"VA 8 O7 X W c1", "hit"},
                        {"VA 7 O7", "wrong_size"},
                        {"VA 9 O7", "wrong_size"},
                        {"VA 0 c5 O7 W", "fill"},
                        {"VA 0 W O7", ""},  // no number to store with
                        {"VA 0 c5 O7 Z", "wait"},
                        {"VA 0 c5 O7", "wait"},
                        {"VA 8 O8", ""},  // another's
                        {"VA 8", ""},     // whose?
                        {"SERVER_ERROR out of memory writing get response", "no_room"},
                        {"SERVER_ERROR Out of memory allocating new item", "no_room"},
                        {"SERVER_ERROR temporary failure", "unavailable"},
                        {"CLIENT_ERROR bad command", ""},
                        {"HD O7", ""},
                        {"STORED", ""},
                        {"END", ""},
                        {"STAT a b", ""},
                    });
}

TEST(JudgementTest, OfARenewal) {
  Check(What::kRenew, {
                          {"HD c5 O7", "renewed"},
                          {"HD O7", ""},  // no number to store with
                          {"EX O7", "over"},
                          {"NF O7", "over"},
                          {"NS O7", "over"},
                          {"SERVER_ERROR something else", "unavailable"},
                          {"EN", ""},
                          {"VA 0 O7", ""},
                      });
}

TEST(JudgementTest, OfAPut) {
  Check(What::kPut, {
                        {"HD O7", "stored"},
                        {"HD", "stored"},
                        {"NS O7", "not_stored"},
                        {"EX O7", "not_stored"},
                        {"NF O7", "over"},
                        {"HD O8", ""},
                        {"SERVER_ERROR object too large for cache", "too_large"},
                        {"SERVER_ERROR out of memory storing object", "no_room"},
                        {"SERVER_ERROR Out of memory during read", "no_room"},
                        {"SERVER_ERROR out of memory", "no_room"},
                        {"SERVER_ERROR something else", "unavailable"},
                        {"CLIENT_ERROR bad data chunk", ""},
                        {"EN", ""},
                        {"VA 0 O7", ""},
                    });
}

TEST(JudgementTest, OfADrop) {
  Check(What::kDrop, {
                         {"HD O7", "dropped"},
                         {"NF O7", "dropped"},
                         {"SERVER_ERROR x", "unavailable"},
                         {"EX O7", "replaced"},
                         {"VA 0 O7", ""},
                     });
}

TEST(JudgementTest, OfAPutWhoseLeaseIsOver) {
  Operation put;
  put.kind = What::kPut;
  put.only_absent = true;
  EXPECT_EQ(Judge(put, 7, *ParseReply("HD O7"))->word, "stored_late");
  EXPECT_EQ(Judge(put, 7, *ParseReply("NS O7"))->word, "not_stored");
  EXPECT_EQ(Judge(put, 7, *ParseReply("NF O7"))->word, "not_stored");
}

TEST(JudgementTest, CarriesChecksumAndLease) {
  std::array<std::byte, 8> buffer{};
  Operation get;
  get.into = buffer;
  EXPECT_EQ(Judge(get, 7, *ParseReply("VA 8 f4294967295 O7"))->answer->checksum, 4'294'967'295U);
  EXPECT_EQ(Judge(get, 7, *ParseReply("VA 0 c18446744073709551615 O7 W"))->answer->lease.number,
            UINT64_MAX);
  EXPECT_EQ(Judge(get, 7, *ParseReply("VA 8 c5 O7"))->answer->value.number, 5U);
  get.kind = What::kRenew;
  EXPECT_EQ(Judge(get, 7, *ParseReply("HD c6 O7"))->answer->lease.number, 6U);
}

}  // namespace
}  // namespace sluice::pool
