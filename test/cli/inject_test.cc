// sluice inject without its flags: documents in, documents out.
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <CLI/CLI.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sluice/core/json_access.h"
#include "sluice/core/json_patch.h"
#include "sluice/core/workload.h"
#include "sluice/webhook/admission.h"
#include "sluice/yaml/file_objects.h"

#include "change_text.h"
#include "golden_case.h"
#include "inject_documents.h"
#include "manual_clock.h"
#include "verbs.h"

namespace sluice::cli {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

const injection::Lookup& GoldenLookup() {
  static const auto kState = *yaml::FileObjects::Load(test::GoldenRoot() + "/cluster.json");
  static const injection::Lookup kLookup = [](const ResourceType& type, const ObjectKey& key) {
    return kState->Find(type, key);
  };
  return kLookup;
}

injection::Settings NativeSettings() {
  injection::Settings settings = injection::DefaultSettings();
  settings.placement = injection::SidecarPlacement::kNative;
  return settings;
}

Result<InjectedStream> InjectText(const std::string& text,
                                  const injection::Settings& settings = NativeSettings()) {
  return InjectStream(text, GoldenLookup(), settings, {.ns = "oracle"});
}

std::vector<Json> DocumentsOf(const InjectedStream& stream) {
  auto documents = yaml::ParseStream(stream.text);
  return documents ? *documents : std::vector<Json>();
}

constexpr const char* kTemplate = R"({
  "metadata": {"labels": {"app": "web", "serverless.fluid.io/inject": "true"}},
  "spec": {"containers": [{"name": "app", "volumeMounts": [{"name": "v", "mountPath": "/d"}]}],
           "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "alx"}}]}})";

Json Workload(const std::string& api_version, const std::string& kind, const std::string& path) {
  Json object = {{"apiVersion", api_version}, {"kind", kind}, {"metadata", {{"name", "web"}}}};
  object[Json::json_pointer(path)] = Json::parse(kTemplate);
  return object;
}

class GoldenInjectTest : public testing::TestWithParam<std::string> {};

// Whatever the webhook answers to a pod, the command line answers too.
TEST_P(GoldenInjectTest, SaysWhatTheWebhookSays) {
  const test::GoldenCase golden = test::LoadGoldenCase(GetParam());
  const Json& request = golden.review->at("request");
  const auto micros = std::chrono::duration_cast<std::chrono::microseconds>(
                          test::ManualClock().WallNow().time_since_epoch())
                          .count();
  const std::string uid = StringOf(request, "uid");
  Json pod = request.at("object");
  pod["apiVersion"] = "v1";
  pod["kind"] = "Pod";
  auto stream = InjectStream(yaml::Format(pod), GoldenLookup(), golden.settings,
                             {.ns = StringOf(request, "namespace"),
                              .unique = UniqueBy{micros, webhook::RequestSeed(uid, micros)}});
  ASSERT_TRUE(stream) << stream.error().message;
  Json expected = *golden.patched_pod;
  expected["apiVersion"] = "v1";
  expected["kind"] = "Pod";
  ASSERT_FALSE(DocumentsOf(*stream).empty());
  EXPECT_EQ(DocumentsOf(*stream)[0], expected)
      << DiffJson(expected, DocumentsOf(*stream)[0]).dump(2);
  // The steps tell the whole way, without gaps.
  Json at = pod;
  ASSERT_EQ(stream->objects.size(), 1U);
  for (const RuleChange& change : stream->objects[0].changes) {
    EXPECT_EQ(change.before, at) << change.rule;
    EXPECT_NE(change.after, at) << change.rule;
    at = change.after;
  }
  EXPECT_EQ(at, expected);
}

std::vector<std::string> PatchedCases() {
  std::vector<std::string> names = test::GoldenCaseNames();
  std::erase_if(names, [](const auto& name) { return !test::LoadGoldenCase(name).patched_pod; });
  return names;
}

INSTANTIATE_TEST_SUITE_P(Injection, GoldenInjectTest, testing::ValuesIn(PatchedCases()),
                         [](const auto& param) {
                           std::string name = param.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

class WorkloadTest : public testing::TestWithParam<std::vector<std::string>> {};

TEST_P(WorkloadTest, TemplateIsInjectedAsAPod) {
  const Json object = Workload(GetParam()[0], GetParam()[1], GetParam()[2]);
  auto stream = InjectText(yaml::Format(object));
  ASSERT_TRUE(stream) << stream.error().message;
  const Json after = DocumentsOf(*stream)[0];
  const Json& pod_template = ValueAt(after, GetParam()[2]);
  EXPECT_EQ(StringAt(pod_template, "/spec/initContainers/0/name"), "fluid-fuse-0");
  EXPECT_EQ(StringAt(pod_template, "/metadata/labels/done.sidecar.fluid.io~1inject"), "true");
  EXPECT_EQ(StringAt(pod_template, "/metadata/labels/app"), "web");
  EXPECT_FALSE(ChildOf(pod_template, "metadata").contains("namespace"));
  EXPECT_FALSE(ChildOf(pod_template, "metadata").contains("generateName"));
  EXPECT_EQ(StringAt(after, "/metadata/name"), "web");
  EXPECT_EQ(stream->objects[0].name, GetParam()[1] + " oracle/web");
  // Twice is once.
  auto again = InjectText(stream->text);
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(again->text, stream->text);
}

INSTANTIATE_TEST_SUITE_P(
    Kinds, WorkloadTest,
    testing::Values(
        std::vector<std::string>{"apps/v1", "Deployment", "/spec/template"},
        std::vector<std::string>{"apps/v1", "StatefulSet", "/spec/template"},
        std::vector<std::string>{"apps/v1", "DaemonSet", "/spec/template"},
        std::vector<std::string>{"batch/v1", "Job", "/spec/template"},
        std::vector<std::string>{"batch/v1", "CronJob", "/spec/jobTemplate/spec/template"},
        std::vector<std::string>{"serving.knative.dev/v1", "Service", "/spec/template"}));

TEST(InjectTest, WhatMakesNoPodsStaysToTheByte) {
  const std::string text =
      "# a Service of the core group is none of Knative's\n"
      "apiVersion: v1\nkind: Service\nmetadata: {name: a}   # here\n"
      "---\n\n# only a remark\n---\nkind: Unknown\nspec: {template: {spec: {}}}\n";
  auto stream = InjectText(text);
  ASSERT_TRUE(stream) << stream.error().message;
  EXPECT_EQ(stream->text, text);
  EXPECT_EQ(InjectText("---\n" + text + "...\n")->text, "---\n" + text + "...\n");
}

TEST(InjectTest, ItemsOfAListAreInjected) {
  const Json list = {{"apiVersion", "v1"},
                     {"kind", "List"},
                     {"items",
                      {Workload("apps/v1", "Deployment", "/spec/template"),
                       {{"apiVersion", "v1"}, {"kind", "Secret"}}}}};
  auto stream = InjectText(list.dump());
  ASSERT_TRUE(stream) << stream.error().message;
  EXPECT_EQ(stream->text.substr(0, 2), "{\n") << "JSON comes out as JSON";
  const Json after = DocumentsOf(*stream)[0];
  EXPECT_TRUE(ValueAt(after, "/items/0/spec/template/spec/initContainers/0").is_object());
  EXPECT_EQ(after["items"][1], list["items"][1]);
}

// The verb as its users call it.
class InjectVerbTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_NE(::mkdtemp(directory_.data()), nullptr);
    job_ = Write("job.yaml", yaml::Format(Workload("batch/v1", "Job", "/spec/template")));
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  std::string Write(const std::string& name, const std::string& text) {
    std::ofstream(directory_ + "/" + name) << text;
    return directory_ + "/" + name;
  }
  int Run(std::vector<std::string> arguments) {
    CLI::App app;
    int exit_status = -1;
    AddInject(app, exit_status);
    arguments.insert(arguments.begin(), "inject");
    std::reverse(arguments.begin(), arguments.end());
    testing::internal::CaptureStdout();
    testing::internal::CaptureStderr();
    try {
      app.parse(arguments);
    } catch (const CLI::ParseError&) {
      exit_status = kUsage;
    }
    out_ = testing::internal::GetCapturedStdout();
    err_ = testing::internal::GetCapturedStderr();
    return exit_status;
  }
  int RunOnGolden(std::vector<std::string> arguments) {
    arguments.insert(arguments.end(),
                     {"--state", test::GoldenRoot() + "/cluster.json", "-n", "oracle"});
    return Run(std::move(arguments));
  }
  std::vector<std::string> KindsOut() const {
    std::vector<std::string> kinds;
    const auto documents = yaml::ParseStream(out_);
    for (const Json& document : *documents) {
      kinds.push_back(StringOf(document, "kind"));
    }
    return kinds;
  }

  std::string directory_ = testing::TempDir() + "sluice-inject-XXXXXX";
  std::string job_;
  std::string out_;
  std::string err_;
};

TEST_F(InjectVerbTest, JoinsFilesAndWhatTheyMount) {
  const std::string other =
      Write("d.yaml", "---\n" + yaml::Format(Workload("apps/v1", "Deployment", "/spec/template")));
  ASSERT_EQ(RunOnGolden({"-f", job_, "-f", other}), kOk) << err_;
  EXPECT_THAT(KindsOut(), ElementsAre("Job", "Deployment", "ConfigMap", "ConfigMap"));
}

// Whoever keeps the output in a repository must not see it change by itself.
TEST_F(InjectVerbTest, PrintsTheSameEveryTime) {
  Json job = Workload("batch/v1", "Job", "/spec/template");
  job["spec"]["template"]["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"] = "model";
  const std::string file = Write("model.json", job.dump());
  ASSERT_EQ(RunOnGolden({"-f", file}), kOk) << err_;
  const std::string once = out_;
  EXPECT_THAT(once,
              testing::ContainsRegex("/web---generate-name/[0-9]{16}-[0-9a-f]{8}/sluice-fuse"));
  ASSERT_EQ(RunOnGolden({"-f", file}), kOk) << err_;
  EXPECT_EQ(out_, once);
  // Two pods that are not of one template have no directory in common.
  const auto directories = [this] {
    return StringAt((*yaml::ParseStream(out_))[0], "/spec/template/spec/volumes/0/hostPath/path");
  };
  const std::string directory = directories();
  job["spec"]["template"]["spec"]["containers"][0]["image"] = "other";
  ASSERT_EQ(RunOnGolden({"-f", Write("other.json", job.dump())}), kOk) << err_;
  EXPECT_NE(directories(), directory);
}

TEST_F(InjectVerbTest, PrintsNothingWhenOneOfThemFails) {
  const std::string bad = Write("bad.yaml", "a: [\n");
  EXPECT_EQ(RunOnGolden({"-f", job_, "-f", bad}), kUsage);
  EXPECT_EQ(out_, "");
  EXPECT_THAT(err_, HasSubstr("bad.yaml: YAML: line 2"));
  Json pod = Workload("v1", "PodTemplate", "/template");
  pod["template"]["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"] = "gone";
  EXPECT_EQ(RunOnGolden({"-f", job_, "-f", Write("p.json", pod.dump())}), kFailure);
  EXPECT_EQ(out_, "");
  EXPECT_THAT(err_, HasSubstr("PodTemplate oracle/web"));
}

TEST_F(InjectVerbTest, ShowsRulesAndTheirChanges) {
  ASSERT_EQ(RunOnGolden({"-f", job_, "--diff", "--color=always"}), kOk) << err_;
  EXPECT_THAT(out_, HasSubstr("Job oracle/web: sidecar (dataset_sidecar oracle/alx"));
  EXPECT_THAT(out_, HasSubstr("\n  FuseSidecar\n\033[32m    + spec.template."));
  ASSERT_EQ(RunOnGolden({"-f", job_, "--diff"}), kOk);
  EXPECT_EQ(out_.find('\033'), std::string::npos) << "no terminal, no colours";
  ASSERT_EQ(RunOnGolden({"-f", job_, "--placement=legacy"}), kOk);
  EXPECT_EQ(StringAt((*yaml::ParseStream(out_))[0], "/spec/template/spec/containers/0/name"),
            "fluid-fuse-0");
}

TEST_F(InjectVerbTest, KnowsTheDeprecatedPlatformLabel) {
  Json job = Workload("batch/v1", "Job", "/spec/template");
  job["spec"]["template"]["metadata"]["labels"] = {{"example.com/platform", "unprivileged"}};
  const std::string file = Write("platform.json", job.dump());
  ASSERT_EQ(RunOnGolden({"-f", file, "--diff"}), kOk) << err_;
  EXPECT_THAT(out_, HasSubstr("Job oracle/web: unchanged"));
  ASSERT_EQ(RunOnGolden({"-f", file, "--diff", "--platform-key=example.com/platform"}), kOk)
      << err_;
  EXPECT_THAT(out_, HasSubstr("Job oracle/web: sidecar (dataset_sidecar oracle/alx"));
}

TEST_F(InjectVerbTest, NamesWhatIsMissing) {
  EXPECT_EQ(Run({}), kUsage);
  EXPECT_EQ(Run({"-f", directory_ + "/none"}), kFailure);
  EXPECT_THAT(err_, HasSubstr("/none"));
  EXPECT_EQ(Run({"-f", job_, "--state", directory_ + "/none"}), kFailure);
  EXPECT_THAT(err_, HasSubstr("--state"));
  EXPECT_EQ(Run({"-f", job_, "--kubeconfig", directory_ + "/none"}), kFailure);
  EXPECT_THAT(err_, HasSubstr("give --kubeconfig FILE, or --state FILE"));
  EXPECT_EQ(Run({"-f", job_, "--kubeconfig=a", "--state=b"}), kUsage);
}

TEST_F(InjectVerbTest, LooksWhereKubectlLooks) {
  const std::string config = Write("config", "{}");
  ::setenv("KUBECONFIG", (directory_ + "/none:" + config).c_str(), 1);
  EXPECT_EQ(Run({"-f", job_}), kFailure);
  ::unsetenv("KUBECONFIG");
  EXPECT_THAT(err_, HasSubstr(config));
}

TEST(InjectTest, ARefusalNamesTheObjectAndNothingComesOut) {
  Json object = Workload("apps/v1", "Deployment", "/spec/template");
  object["spec"]["template"]["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"] = "gone";
  auto stream = InjectText(yaml::Format(Workload("batch/v1", "Job", "/spec/template")) + "---\n" +
                           yaml::Format(object));
  ASSERT_FALSE(stream);
  EXPECT_THAT(stream.error().message, HasSubstr("Deployment oracle/web: "));
  EXPECT_THAT(stream.error().message, HasSubstr("[gone]"));
}

TEST(InjectTest, HostileDocumentsAreRefusedOrLeftAlone) {
  EXPECT_FALSE(InjectText("- a\n- b\n"));
  EXPECT_FALSE(InjectText("a: [\n"));
  for (const char* text :
       {"apiVersion: apps/v1\nkind: Deployment\n",
        "apiVersion: apps/v1\nkind: Deployment\nspec: 7\n",
        "apiVersion: v1\nkind: Pod\nmetadata: []\n", "kind: List\nitems: {a: 1}\n",
        "apiVersion: batch/v1\nkind: CronJob\nmetadata: x\nspec: {jobTemplate: [1]}\n"}) {
    auto stream = InjectText(text);
    if (stream) {
      EXPECT_EQ(stream->text, text);
    }
  }
  EXPECT_TRUE(InjectText(""));
}

TEST(InjectTest, WarnsWhereATemplateIsNotAPod) {
  Json object = Workload("serving.knative.dev/v1", "Service", "/spec/template");
  object["spec"]["template"]["metadata"]["annotations"]
        ["default.fuse-sidecar.fluid.io/host-mount-path-mode"] = "random-suffix";
  auto stream = InjectText(yaml::Format(object));
  ASSERT_TRUE(stream) << stream.error().message;
  EXPECT_THAT(stream->objects[0].warnings,
              ElementsAre(HasSubstr("share one host directory"), HasSubstr("podspec-volumes")));
  auto fixed = InjectText(yaml::Format(Workload("apps/v1", "Deployment", "/spec/template")));
  ASSERT_TRUE(fixed);
  EXPECT_TRUE(fixed->objects[0].warnings.empty());
}

TEST(ChangeTextTest, ShowsWhatComesAndGoes) {
  const Json before = Json::parse(R"({"a": [1, 2], "b": {"c/d": "x", "e": true}, "keep": 1})");
  const Json after = Json::parse(R"({"a": [1, 2, {"k": "v"}], "b": {"c/d": "z"}, "keep": 1})");
  EXPECT_EQ(ChangeText(before, after, false),
            "    + a[2]:\n"
            "    +   k: v\n"
            "    - b.e: true\n"
            "    - b[\"c/d\"]: x\n"
            "    + b[\"c/d\"]: z\n");
  EXPECT_THAT(ChangeText(before, after, true), HasSubstr("\033[31m    - b.e: true\033[0m\n"));
  EXPECT_EQ(ReadablePath("/spec/containers/0/a~1b~0c"), "spec.containers[0][\"a/b~c\"]");
}

}  // namespace
}  // namespace sluice::cli
