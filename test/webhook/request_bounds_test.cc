#include "request_bounds.h"

#include <gtest/gtest.h>

namespace sluice::webhook {
namespace {

TEST(RequestBoundsTest, KnowsWhereARequestEnds) {
  struct Case {
    const char* text;
    bool whole;
  };
  for (const Case& c : {
           Case{"", false},
           Case{"GET / HTTP/1.1\r\nHost: a\r\n", false},
           Case{"GET / HTTP/1.1\r\nHost: a\r\n\r\n", true},
           Case{"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nab", false},
           Case{"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", true},
           Case{"POST / HTTP/1.1\r\ncontent-LENGTH:3\r\n\r\nabcGET", true},
           Case{"POST / HTTP/1.1\r\nX-Content-Length: 9\r\n\r\n", true},
           Case{"POST / HTTP/1.1\r\nX: content-length: 9\r\n\r\n", true},
           Case{"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n", true},
           Case{"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", true},
           Case{"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n", true},
           Case{"POST / HTTP/1.1\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n", false},
           Case{"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n", false},
           Case{"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", true},
           Case{"POST / HTTP/1.1\nContent-Length: 5\n\n", true},
       }) {
    EXPECT_EQ(HoldsWholeRequest(c.text), c.whole) << c.text;
  }
  EXPECT_TRUE(HoldsWholeRequest(std::string(100'000, 'a'))) << "a head without an end";
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
