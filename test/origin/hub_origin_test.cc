// The adapter for the Hugging Face Hub against a server of the same API.
#include "sluice/origin/hub_origin.h"

#include <algorithm>
#include <map>
#include <string>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sluice/origin/sigv4.h"

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

// A repository, its API and its LFS store on a port of its own.
class FakeHub {
 public:
  struct File {
    std::string body;
    bool lfs = false;
    [[nodiscard]] std::string Oid() const {
      return lfs ? Sha256Hex(body) : Sha256Hex("blob " + body).substr(0, 40);
    }
  };
  using Files = std::map<std::string, File>;

  FakeHub()
      : store_([this](const FakeRequest& r) { return Stored(r); }),
        hub_([this](const FakeRequest& r) { return Answered(r); }) {}

  // A new commit on main; returns its name.
  std::string Commit(Files files) {
    return state_.With([&](State& state) {
      state.main = Sha256Hex(fmt::format("commit {}", state.commits.size())).substr(0, 40);
      state.commits[state.main] = std::move(files);
      return state.main;
    });
  }
  void DemandToken(std::string token) {
    state_.With([&](State& state) { state.token = std::move(token); });
  }
  // The store serves other bytes under the same link.
  void Tamper(std::string etag) {
    state_.With([&](State& state) { state.linked_etag = std::move(etag); });
  }
  // Links to the store that were given out so far are refused from now on.
  void Expire() {
    state_.With([](State& state) { ++state.signature; });
  }
  [[nodiscard]] std::size_t Resolved() const {
    const auto requests = hub_.Requests();
    return static_cast<std::size_t>(std::count_if(
        requests.begin(), requests.end(),
        [](const FakeRequest& r) { return r.path.find("/resolve/") != std::string::npos; }));
  }
  [[nodiscard]] std::string Endpoint() const { return hub_.Endpoint(); }
  [[nodiscard]] std::vector<FakeRequest> HubRequests() const { return hub_.Requests(); }
  [[nodiscard]] std::vector<FakeRequest> StoreRequests() const { return store_.Requests(); }

 private:
  struct State {
    std::map<std::string, Files> commits;
    std::string main;
    std::string token;
    std::string linked_etag;
    int signature = 1;
  };
  static constexpr std::size_t kPage = 2;

  static FakeReply Refuse(int status, const std::string& code) {
    return Answer(status, "{\"error\":\"no\"}", {"X-Error-Code: " + code});
  }

  FakeReply Stored(const FakeRequest& request) {
    return state_.With([&](State& state) {
      if (request.query.at("sig") != std::to_string(state.signature)) return Answer(403, "expired");
      for (const auto& [commit, files] : state.commits) {
        for (const auto& [path, file] : files) {
          if (request.path != "/lfs/" + file.Oid()) continue;
          return ServeFile(request, {.body = file.body, .headers = {"ETag: \"of-the-store\""}});
        }
      }
      return Answer(404, "");
    });
  }

  FakeReply Answered(const FakeRequest& request) {
    return state_.With([&](State& state) {
      const auto sent = request.headers.find("authorization");
      const std::string bearer = sent == request.headers.end() ? "" : sent->second;
      if (!state.token.empty() && bearer != "Bearer " + state.token) {
        return Refuse(401, "RepoNotFound");
      }
      const std::string api = "/api/datasets/org/data";
      if (request.path == api + "/revision/main") {
        return Answer(
            200,
            fmt::format(R"({{"sha":"{}","lastModified":"2024-02-19T11:01:02.000Z"}})", state.main));
      }
      if (request.path.starts_with(api + "/revision/")) return Refuse(404, "RevisionNotFound");
      for (const auto& [commit, files] : state.commits) {
        const std::string tree = api + "/tree/" + commit;
        if (request.path.starts_with(tree)) {
          return Tree(request, files, request.path.substr(tree.size()));
        }
        const std::string resolve = "/datasets/org/data/resolve/" + commit + "/";
        if (request.path.starts_with(resolve)) {
          return Resolve(request, state, files, request.path.substr(resolve.size()));
        }
      }
      return Refuse(404, "RepoNotFound");
    });
  }

  static FakeReply Tree(const FakeRequest& request, const Files& files, const std::string& below) {
    const std::string prefix = below.empty() ? "" : below.substr(1) + "/";
    const auto cursor = request.query.find("cursor");
    const std::size_t first = cursor == request.query.end() ? 0 : std::stoul(cursor->second);
    std::string items;
    std::size_t index = 0;
    bool more = false;
    for (const auto& [path, file] : files) {
      if (!path.starts_with(prefix) || index++ < first) continue;
      more = index > first + kPage;
      if (more) break;
      const std::string lfs =
          file.lfs ? fmt::format(R"(,"lfs":{{"oid":"{}","size":{}}})", file.Oid(), file.body.size())
                   : "";
      items += fmt::format(R"({}{{"type":"file","path":"{}","oid":"{}","size":{}{}}})",
                           items.empty() ? "" : ",", path,
                           file.lfs ? std::string(40, 'a') : file.Oid(), file.body.size(), lfs);
    }
    if (index == 0) return Refuse(404, "EntryNotFound");
    std::vector<std::string> headers;
    if (more) {
      // As a mirror of the Hub says it: with the name of the Hub.
      headers.push_back(
          fmt::format("Link: <https://hub.invalid{}?recursive=true&cursor={}>; rel=\"next\"",
                      request.path, first + kPage));
    }
    return Answer(200, "[" + items + "]", headers);
  }

  FakeReply Resolve(const FakeRequest& request, const State& state, const Files& files,
                    const std::string& path) {
    const auto found = files.find(path);
    if (found == files.end()) return Refuse(404, "EntryNotFound");
    const File& file = found->second;
    const std::string oid = state.linked_etag.empty() ? file.Oid() : state.linked_etag;
    if (!file.lfs) {
      return ServeFile(request, {.body = file.body, .headers = {fmt::format("ETag: \"{}\"", oid)}});
    }
    return Answer(302, "",
                  {fmt::format("X-Linked-Etag: \"{}\"", oid),
                   fmt::format("Location: {}/lfs/{}?sig={}", store_.Endpoint(), file.Oid(),
                               state.signature)});
  }

  platform::Guarded<State> state_;
  FakeServer store_;
  FakeServer hub_;
};

class HubOriginTest : public ::testing::Test {
 protected:
  Origin& Open(const std::string& point, const std::string& token = "") {
    MountConfig mount;
    mount.mount_point = point;
    mount.options = {{"endpoint", hub_.Endpoint()}};
    if (!token.empty()) mount.options["token"] = token;
    OriginLimits limits;
    limits.max_attempts = 2;
    limits.first_backoff = limits.max_backoff = milliseconds(1);
    auto origin = MakeOrigin(mount, limits, metrics_, log_);
    EXPECT_TRUE(origin) << origin.error().message;
    origin_ = std::move(*origin);
    return *origin_;
  }
  static std::vector<std::string> Names(const Listing& listing) {
    std::vector<std::string> names;
    for (const OriginObject& object : listing.objects) names.push_back(object.path);
    return names;
  }

  FakeHub hub_;
  platform::Metrics metrics_;
  platform::Log log_{"test", platform::LogLevel::kError};
  std::unique_ptr<Origin> origin_;
};

const FakeHub::Files kFiles = {{"README.md", {"read me"}},
                               {"a/one.bin", {std::string(1000, '1'), true}},
                               {"a/two.bin", {"two", true}},
                               {"b.txt", {"bee"}},
                               {"c.txt", {"sea"}}};

TEST_F(HubOriginTest, ListsAllPagesAndReadsBothKinds) {
  const std::string commit = hub_.Commit(kFiles);
  Origin& origin = Open("hf://datasets/org/data");
  const auto listing = origin.List();
  ASSERT_TRUE(listing) << listing.error().message;
  EXPECT_THAT(Names(*listing),
              ElementsAre("README.md", "a/one.bin", "a/two.bin", "b.txt", "c.txt"));
  EXPECT_EQ(listing->objects[1].size, 1000U);
  EXPECT_EQ(ReadWhole(origin, listing->objects[0]).bytes, "read me");
  const ReadResult part = ReadRange(origin, listing->objects[1], 990, 5);
  ASSERT_TRUE(part.status) << part.status.error().message;
  EXPECT_EQ(part.bytes, "11111");
  EXPECT_EQ(hub_.StoreRequests().back().headers.at("range"), "bytes=990-994");
  EXPECT_EQ(hub_.HubRequests().back().path, "/datasets/org/data/resolve/" + commit + "/a/one.bin");
}

TEST_F(HubOriginTest, ADirectoryIsARootOfItsOwn) {
  hub_.Commit(kFiles);
  Origin& origin = Open("hf://datasets/org/data@main/a/");
  const auto listing = origin.List();
  ASSERT_TRUE(listing) << listing.error().message;
  EXPECT_THAT(Names(*listing), ElementsAre("one.bin", "two.bin"));
  EXPECT_EQ(ReadWhole(origin, listing->objects[1]).bytes, "two");
}

TEST_F(HubOriginTest, TheTokenGoesToTheHubOnly) {
  hub_.Commit(kFiles);
  hub_.DemandToken("hunter2");
  Origin& origin = Open("hf://datasets/org/data", "hunter2");
  const auto listing = origin.List();
  ASSERT_TRUE(listing) << listing.error().message;
  EXPECT_EQ(ReadWhole(origin, listing->objects[2]).bytes, "two");
  ASSERT_FALSE(hub_.StoreRequests().empty());
  for (const FakeRequest& request : hub_.StoreRequests()) {
    EXPECT_EQ(request.headers.count("authorization"), 0U);
  }
}

TEST_F(HubOriginTest, TheHubRedirectsAFileOnceUntilTheLinkExpires) {
  hub_.Commit(kFiles);
  Origin& origin = Open("hf://datasets/org/data");
  const auto listing = origin.List();
  ASSERT_TRUE(listing) << listing.error().message;
  for (std::uint64_t offset = 0; offset < 1000; offset += 100) {
    EXPECT_EQ(ReadRange(origin, listing->objects[1], offset, 100).bytes, std::string(100, '1'));
  }
  EXPECT_EQ(hub_.Resolved(), 1U);
  hub_.Expire();
  const ReadResult read = ReadWhole(origin, listing->objects[1]);
  ASSERT_TRUE(read.status) << read.status.error().message;
  EXPECT_EQ(read.bytes, std::string(1000, '1'));
  EXPECT_EQ(hub_.Resolved(), 2U);
}

TEST_F(HubOriginTest, ACommitInTheMiddleDoesNotMixRevisions) {
  hub_.Commit(kFiles);
  Origin& origin = Open("hf://datasets/org/data");
  const auto old = origin.List();
  ASSERT_TRUE(old) << old.error().message;
  FakeHub::Files files = kFiles;
  files["b.txt"] = {"BEE"};
  files["a/two.bin"] = {"TWO", true};
  hub_.Commit(files);
  // Reads are of the commit that was listed ...
  EXPECT_EQ(ReadWhole(origin, old->objects[3]).bytes, "bee");
  EXPECT_EQ(ReadWhole(origin, old->objects[2]).bytes, "two");
  // ... until the next listing; what has changed since is a conflict then, the rest is the same.
  const auto fresh = origin.List();
  ASSERT_TRUE(fresh) << fresh.error().message;
  EXPECT_NE(fresh->objects[3].version, old->objects[3].version);
  EXPECT_EQ(fresh->objects[1].version, old->objects[1].version);
  EXPECT_EQ(ReadWhole(origin, fresh->objects[3]).bytes, "BEE");
  for (const std::size_t changed : {2U, 3U}) {
    const ReadResult read = ReadWhole(origin, old->objects[changed]);
    ASSERT_FALSE(read.status);
    EXPECT_EQ(read.status.error().code, Code::kConflict) << read.status.error().message;
    EXPECT_EQ(read.bytes, "");
  }
  EXPECT_EQ(ReadWhole(origin, old->objects[4]).bytes, "sea");
}

TEST_F(HubOriginTest, AnotherEtagThanListedIsAConflict) {
  hub_.Commit(kFiles);
  Origin& origin = Open("hf://datasets/org/data");
  const auto listing = origin.List();
  ASSERT_TRUE(listing) << listing.error().message;
  hub_.Tamper(std::string(64, 'e'));
  for (const std::size_t any : {1U, 3U}) {
    const ReadResult read = ReadWhole(origin, listing->objects[any]);
    ASSERT_FALSE(read.status);
    EXPECT_EQ(read.status.error().code, Code::kConflict) << read.status.error().message;
  }
}

TEST_F(HubOriginTest, RefusalsSayWhatToDo) {
  hub_.Commit(kFiles);
  const auto revision = Open("hf://datasets/org/data@v9").List();
  ASSERT_FALSE(revision);
  EXPECT_EQ(revision.error().code, Code::kNotFound);
  EXPECT_THAT(revision.error().message,
              AllOf(HasSubstr("no such revision"), HasSubstr("hf://datasets/org/data@v9: ")));
  const auto directory = Open("hf://datasets/org/data/nowhere").List();
  ASSERT_FALSE(directory);
  EXPECT_THAT(directory.error().message, HasSubstr("no such file or directory"));
  hub_.DemandToken("right");
  const auto secret = Open("hf://datasets/org/data", "hunter2").List();
  ASSERT_FALSE(secret);
  EXPECT_THAT(secret.error().message,
              AllOf(HasSubstr("it is private"), HasSubstr("\"token\""), Not(HasSubstr("hunter2"))));
}

TEST_F(HubOriginTest, RevisionsShareACacheButEndpointsDoNot) {
  const std::string main = Open("hf://datasets/org/data").Identity();
  EXPECT_EQ(Open("hf://datasets/org/data@v1").Identity(), main);
  EXPECT_NE(Open("hf://org/data").Identity(), main);
  EXPECT_NE(Open("hf://datasets/org/data/a").Identity(), main);
  EXPECT_EQ(Open("hf://datasets/org/data@v1/a").Describe(), "hf://datasets/org/data@v1/a");
}

}  // namespace
}  // namespace sluice::origin
