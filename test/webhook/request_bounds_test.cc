#include "request_bounds.h"

#include <gtest/gtest.h>

namespace sluice::webhook {
namespace {

using State = RequestBounds::State;

TEST(RequestBoundsTest, KnowsWhereARequestEnds) {
  struct Case {
    const char* text;
    State state;
  };
  for (const Case& c : {
           Case{"", State::kUnfinished},
           Case{"GET / HTTP/1.1\r\nHost: a\r\n", State::kUnfinished},
           Case{"GET / HTTP/1.1\r\nHost: a\r\n\r\n", State::kWhole},
           Case{"POST / HTTP/1.1\r\nHost: a\r\n\r\n", State::kWhole},
           Case{"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nab", State::kUnfinished},
           Case{"POST / HTTP/1.1\r\nContent-Length: 3 \t\r\n\r\nab", State::kUnfinished},
           Case{"POST / HTTP/1.1\r\nContent-Length: 3 \t\r\n\r\nabc", State::kWhole},
           Case{"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", State::kWhole},
           Case{"POST / HTTP/1.1\r\ncontent-LENGTH:3\r\n\r\nabcGET", State::kWhole},
           Case{"POST / HTTP/1.1\r\nX-Content-Length: 9\r\n\r\n", State::kWhole},
           Case{"POST / HTTP/1.1\r\nX: content-length: 9\r\n\r\n", State::kWhole},
           Case{"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n", State::kMalformed},
           Case{"POST / HTTP/1.1\r\nContent-Length:\r\n\r\n", State::kMalformed},
           Case{"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", State::kMalformed},
           Case{"POST / HTTP/1.1\r\nContent-Length: +3\r\n\r\nabc", State::kMalformed},
           Case{"POST / HTTP/1.1\r\nContent-Length: 3, 3\r\n\r\nabc", State::kMalformed},
           Case{"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n",
                State::kMalformed},
           Case{"POST / HTTP/1.1\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n",
                State::kUnfinished},
           Case{"POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", State::kMalformed},
           Case{"POST / HTTP/1.1\nContent-Length: 5\n\n", State::kMalformed},
           Case{"\n", State::kMalformed},
       }) {
    EXPECT_EQ(RequestBounds().Look(c.text), c.state) << c.text;
  }
  EXPECT_EQ(RequestBounds().Look(std::string(100'000, 'a')), State::kMalformed)
      << "a head without an end";
}

TEST(RequestBoundsTest, WalksThroughChunks) {
  struct Case {
    const char* body;
    State state;
  };
  for (const Case& c : {
           Case{"", State::kUnfinished},
           Case{"1\r\na\r\n", State::kUnfinished},
           Case{"1\r\na\r\n0\r\n", State::kUnfinished},
           Case{"1\r\na\r\n0\r\n\r\n", State::kWhole},
           Case{"1;x=y\r\na\r\n00;a=b\r\n\r\n", State::kWhole},
           Case{"1\r\na\r\n0\r\nX: y\r\n", State::kUnfinished},
           Case{"1\r\na\r\n0\r\nX: y\r\n\r\n", State::kWhole},
           Case{"1\r\na\r\n0\r\n\r\nGET / HTTP/1.1\r\n", State::kWhole},
           Case{"5\r\n0\r\n\r\n", State::kUnfinished},  // data that look like the end
           Case{"5\r\n0\r\n\r\n\r\n0\r\n\r\n", State::kWhole},
           Case{"A\r\n0123456789\r\n0\r\n\r\n", State::kWhole},
           Case{"1\r\nabc", State::kMalformed},
           Case{"0x1\r\na\r\n", State::kMalformed},
           Case{"+1\r\na\r\n", State::kMalformed},
           Case{"\r\n", State::kMalformed},
           Case{"ffffffffffffffff\r\na\r\n", State::kUnfinished},
           Case{"11111111111111111\r\na\r\n", State::kMalformed},
       }) {
    const std::string text =
        std::string("POST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n") + c.body;
    EXPECT_EQ(RequestBounds().Look(text), c.state) << c.body;
    // It comes byte by byte.
    RequestBounds bounds;
    State state = State::kUnfinished;
    for (std::size_t size = 0; size <= text.size() && state == State::kUnfinished; ++size) {
      state = bounds.Look(std::string_view(text).substr(0, size));
    }
    EXPECT_EQ(state, c.state) << c.body;
  }
}

TEST(RequestBoundsTest, KnowsWhoWaitsToBeToldToGoOn) {
  const std::string head = "POST / HTTP/1.1\r\nContent-Length: 2\r\nExpect: 100-continue\r\n";
  EXPECT_FALSE(WaitsToBeToldToGoOn(head));
  EXPECT_TRUE(WaitsToBeToldToGoOn(head + "\r\n"));
  EXPECT_FALSE(WaitsToBeToldToGoOn(head + "\r\na"));
  EXPECT_FALSE(WaitsToBeToldToGoOn("POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n"));
}

}  // namespace
}  // namespace sluice::webhook
