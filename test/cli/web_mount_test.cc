// Mounts of a web server.
#include "fake_server.h"
#include "mounted.h"

namespace sluice::test {
namespace {

using testing::HasSubstr;
using testing::Not;

// A directory of two files behind a token, with ranges.
FakeReply Serve(const FakeRequest& request, const std::string& weights) {
  if (request.headers.count("authorization") == 0 ||
      request.headers.at("authorization") != "Bearer hunter2") {
    return Answer(401, "");
  }
  if (request.path == "/models/") {
    return Answer(200, "<a href='weights'>w</a><a href='sub%20dir/'>s</a>");
  }
  if (request.path == "/models/sub%20dir/") return Answer(200, "<a href='odd%3F'>o</a>");
  const bool odd = request.path == "/models/sub%20dir/odd%3F";
  if (!odd && request.path != "/models/weights") return Answer(404, "");
  const std::string bytes = odd ? "odd" : weights;
  std::size_t first = 0;
  std::size_t last = bytes.size() - 1;
  if (request.method == "HEAD") {
    return Answer(
        200, "",
        {"ETag: \"1\"", "Accept-Ranges: bytes", "Content-Length: " + std::to_string(bytes.size())});
  }
  if (std::sscanf(request.headers.at("range").c_str(), "bytes=%zu-%zu", &first, &last) != 2) {
    return Answer(400, "");
  }
  return Answer(206, bytes.substr(first, last - first + 1),
                {"ETag: \"1\"", "Content-Range: bytes " + std::to_string(first) + "-" +
                                    std::to_string(last) + "/" + std::to_string(bytes.size())});
}

class WebMountTest : public MountedTest {
 protected:
  const std::string bytes_ = RandomBytes(2 << 20, 5);
  FakeServer server_{[this](const FakeRequest& request) { return Serve(request, bytes_); }};
};

TEST_F(WebMountTest, FilesReadBackWithATokenThatStaysInItsFile) {
  WriteBytes(root_ / "token", "hunter2\n");
  const Outcome mounted = Sluice(
      {"mount", server_.Endpoint() + "/models/", root_ / "mnt", "--token-file", root_ / "token"});
  ASSERT_EQ(mounted.status, 0) << mounted.output;
  EXPECT_TRUE(ReadBytes(root_ / "mnt/weights") == bytes_);
  EXPECT_EQ(ReadBytes(root_ / "mnt/sub dir/odd?"), "odd");
  EXPECT_THAT(OnlyMount().dump(), Not(HasSubstr("hunter2")));
}

TEST_F(WebMountTest, ARefusedTokenFailsAtOnceWithTheRemedy) {
  WriteBytes(root_ / "token", "wrong\n");
  const Outcome refused = Sluice(
      {"mount", server_.Endpoint() + "/models/", root_ / "mnt", "--token-file", root_ / "token"});
  EXPECT_EQ(refused.status, 1);
  EXPECT_THAT(refused.output, HasSubstr("--token-file"));
  EXPECT_THAT(refused.output, Not(HasSubstr("wrong")));
  EXPECT_FALSE(IsMounted());
  const Outcome missing = Sluice(
      {"mount", server_.Endpoint() + "/models/", root_ / "mnt", "--token-file", root_ / "no-such"});
  EXPECT_NE(missing.status, 0);
  EXPECT_THAT(missing.output, HasSubstr("no-such"));
}

}  // namespace
}  // namespace sluice::test
