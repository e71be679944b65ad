// Every folder of test/golden/injection through the pure function and through HTTPS; what came out
// goes in again.
#include <algorithm>
#include <functional>
#include <set>

#include <gtest/gtest.h>

#include "sluice/core/json_access.h"
#include "sluice/core/json_patch.h"

#include "golden_case.h"
#include "https_client.h"
#include "test_server.h"

namespace sluice::test {
namespace {

const ObjectSource& State() {
  static const auto kState = *yaml::FileObjects::Load(GoldenRoot() + "/cluster.json");
  return *kState;
}

class GoldenTest : public testing::TestWithParam<std::string> {
 protected:
  const GoldenCase golden_ = LoadGoldenCase(GetParam());
};

// Those that change the pod.
class GoldenPatchTest : public GoldenTest {};

std::vector<std::string> PatchedCaseNames() {
  std::vector<std::string> names = GoldenCaseNames();
  std::erase_if(names, [](const auto& name) { return !LoadGoldenCase(name).patched_pod; });
  return names;
}

injection::Outcome InjectInto(const Json& pod, const std::string& ns, const std::string& uid,
                              const injection::Settings& settings) {
  const auto micros = std::chrono::duration_cast<std::chrono::microseconds>(
                          ManualClock().WallNow().time_since_epoch())
                          .count();
  return injection::Inject(
      {.pod = pod, .ns = ns, .unix_micros = micros, .seed = webhook::RequestSeed(uid, micros)},
      [](const ResourceType& type, const ObjectKey& key) { return State().Find(type, key); },
      settings);
}

struct Exchange {
  int http_status = 0;
  Json review;
};

Exchange Send(int port, const GoldenCase& golden) {
  auto client = ConnectTo(port);
  httplib::Request request;
  request.path = kWebhookPath;
  request.method = golden.http ? StringOf(*golden.http, "method") : "POST";
  const std::string type = golden.http ? StringOf(*golden.http, "contentType") : "application/json";
  if (!type.empty()) request.set_header("Content-Type", type);
  request.body = golden.http ? StringOf(*golden.http, "body") : golden.review->dump();
  auto result = client->send(request);
  if (!result) return {};
  return {result->status, Json::parse(result->body, nullptr, false)};
}

// What the golden files hold of an exchange.
Json Summary(const Exchange& exchange) {
  const Json& response = ChildOf(exchange.review, "response");
  Json summary = Json::object({{"httpStatus", exchange.http_status},
                               {"apiVersion", exchange.review.value("apiVersion", Json())},
                               {"allowed", FlagOf(response, "allowed")},
                               {"status", ChildOf(response, "status")},
                               {"uid", StringOf(response, "uid")}});
  if (response.contains("warnings")) summary["warnings"] = response["warnings"];
  if (response.contains("patchType")) summary["patchType"] = response["patchType"];
  return summary;
}

void AddDecision(const injection::Outcome& outcome, Json& summary) {
  summary["mode"] = ModeName(outcome.mode);
  Json& reasons = summary["reasons"] = Json::array();
  for (const auto& reason : outcome.reasons) {
    reasons.push_back(reason.name + (reason.detail.empty() ? "" : " " + reason.detail));
  }
  for (const Json& config_map : outcome.config_maps) {
    ListIn(summary, "configMaps").push_back(KeyOf(config_map).ToString());
  }
}

TEST_P(GoldenTest, IsAnsweredAsWritten) {
  TestServer server(State(), golden_.settings);
  const Exchange exchange = Send(server.Port(), golden_);
  ASSERT_TRUE(exchange.review.is_object()) << "no answer";
  Json summary = Summary(exchange);

  std::optional<Json> patched;
  const Json patch = PatchOf(exchange.review);
  if (golden_.review) {
    const Json& request = golden_.review->at("request");
    const Json& pod = request.at("object");
    if (!patch.empty()) patched = pod.patch(patch);
    // The same decision without the wire.
    if (exchange.review["response"]["status"]["code"] != 400) {
      auto outcome = InjectInto(pod, StringOf(request, "namespace"), StringOf(request, "uid"),
                                golden_.settings);
      EXPECT_EQ(outcome.pod, patched);
      EXPECT_EQ(!outcome.refusal, FlagOf(summary, "allowed"));
      AddDecision(outcome, summary);
    }
  }
  if (UpdatesGolden()) {
    WriteGolden(golden_, summary, patched);
    GTEST_SKIP() << "golden files rewritten";
  }
  ASSERT_TRUE(golden_.answer) << "no answer.json; run with UPDATE_GOLDEN=1 and read the result";
  EXPECT_EQ(summary, *golden_.answer) << Json::diff(*golden_.answer, summary).dump(2);
  EXPECT_EQ(patched.has_value(), golden_.patched_pod.has_value());
  if (patched && golden_.patched_pod) {
    EXPECT_EQ(*patched, *golden_.patched_pod) << DiffJson(*golden_.patched_pod, *patched).dump(2);
  }
  EXPECT_EQ(golden_.unknown_files, std::vector<std::string>{});
}

TEST_P(GoldenPatchTest, ChangesNothingTheSecondTime) {
  const Json& request = golden_.review->at("request");
  auto outcome =
      InjectInto(*golden_.patched_pod, StringOf(request, "namespace"), "another", golden_.settings);
  EXPECT_FALSE(outcome.refusal) << outcome.refusal->message;
  EXPECT_FALSE(outcome.pod) << DiffJson(*golden_.patched_pod, *outcome.pod).dump(2);
}

// The marks of the claims whose volume is a host path now.
std::set<int> MarksOfReplacedClaims(const Json& pod, const Json& patched) {
  std::set<int> marks;
  const Json& volumes = ItemsOf(ChildOf(pod, "spec"), "volumes");
  for (const Json& now : ItemsOf(ChildOf(patched, "spec"), "volumes")) {
    for (const Json& volume : volumes) {
      const Json& claim = ChildOf(volume, "persistentVolumeClaim");
      if (StringOf(volume, "name") == StringOf(now, "name") && now.contains("hostPath") &&
          claim.contains("zzUnknown")) {
        marks.insert(claim["zzUnknown"].get<int>());
      }
    }
  }
  return marks;
}

// Whatever the patch does, it must leave alone what injection does not know.
TEST_P(GoldenPatchTest, KeepsUnknownFieldsAtEveryLevel) {
  Json pod = golden_.review->at("request").at("object");
  int marks = 0;
  const std::function<void(Json&)> mark = [&](Json& value) {
    if (value.is_array()) {
      for (Json& item : value) mark(item);
    } else if (value.is_object() && !value.empty()) {
      for (auto& [key, member] : value.items()) {
        if (key != "labels" && key != "annotations" && key != "nodeSelector") mark(member);
      }
      value["zzUnknown"] = ++marks;
    }
  };
  mark(pod);
  const Json& request = golden_.review->at("request");
  auto outcome = InjectInto(pod, StringOf(request, "namespace"), "x", golden_.settings);
  ASSERT_TRUE(outcome.pod);
  std::set<int> survived;
  const std::function<void(const Json&)> find = [&](const Json& value) {
    for (const Json& member : value) {
      if (member.is_structured()) find(member);
    }
    if (value.is_object() && value.contains("zzUnknown"))
      survived.insert(value["zzUnknown"].get<int>());
  };
  find(*outcome.pod);
  // Gone with their object: the claims that became host paths, and no other.
  std::set<int> lost;
  for (int mark_of = 1; mark_of <= marks; ++mark_of) {
    if (!survived.contains(mark_of)) lost.insert(mark_of);
  }
  EXPECT_EQ(lost, MarksOfReplacedClaims(pod, *outcome.pod));
}

std::string TestName(const testing::TestParamInfo<std::string>& param) {
  std::string name = param.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(Injection, GoldenTest, testing::ValuesIn(GoldenCaseNames()), TestName);
INSTANTIATE_TEST_SUITE_P(Injection, GoldenPatchTest, testing::ValuesIn(PatchedCaseNames()),
                         TestName);

}  // namespace
}  // namespace sluice::test
