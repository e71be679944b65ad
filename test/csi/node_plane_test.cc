#include "sluice/csi/node_plane.h"

#include <cstdlib>
#include <filesystem>
#include <thread>
#include <utility>

#include <gtest/gtest.h>

#include "sluice/core/names.h"

#include "fakes.h"

namespace sluice::csi {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr const char* kPath = "/runtime-mnt/sluice/ns/n/sluice-fuse";
constexpr const char* kLabel = "fluid.io/f-ns-n";

// A pod whose Publish begins while somebody else holds the lock of the mount: returns once its
// target is entered.
class LatePod {
 public:
  LatePod(NodePlane& plane, const MountRegistry& registry, const VolumeRequest& request,
          const TargetPath& target, Deadline deadline)
      : call_([=, this, &plane] { result_ = plane.Publish(request, target, deadline); }) {
    const auto limit = std::chrono::steady_clock::now() + seconds(30);
    while (!registry.FindByTarget(target.path) && std::chrono::steady_clock::now() < limit) {
      std::this_thread::yield();
    }
  }
  Status Finish() {
    call_.join();
    return result_;
  }

 private:
  Status result_ = Ok();
  std::jthread call_;
};

class NodePlaneTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = std::filesystem::temp_directory_path() / "sluice-plane-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
    api_.Put(resources::kNode, {"", "node-1"},
             Json::parse(R"({"metadata": {"labels": {"kept": "yes"}}})"));
    api_.Put(resources::kPersistentVolume, {"", "ns-n"}, Json::object());
    PutRuntime("");
    Restart();
    broker_.fresh = {.has_device = true, .client_connected = true, .ready = true};
  }
  void TearDown() override {
    plane_.reset();
    keeper_.reset();
    std::filesystem::remove_all(directory_);
  }

  // A new process with the world as it is.
  void Restart() {
    plane_.reset();
    keeper_.reset();
    broker_.clients.With([](auto& clients) { clients.clear(); });
    const NodePaths paths{.kubelet_root = "/var/lib/kubelet",
                          .mount_root = "/runtime-mnt",
                          .broker_root = directory_};
    registry_ = std::make_unique<MountRegistry>(directory_ + "/state", log_);
    keeper_ = std::make_unique<MountKeeper>(
        MountKeeperOptions{.paths = paths, .limits = {.recover_timeout = seconds(60)}},
        MountKeeper::Parts{
            .mounter = mounter_,
            .broker = broker_,
            .cluster = view_,
            .patient = patient_,
            .registry = *registry_,
            .locks = locks_,
            .clock = clock_,
            .log = log_,
            .metrics = metrics_,
            .notify = [this](const MountNotice& notice) { notices_.push_back(notice.reason); },
            .stop = stop_.get_token()});
    ASSERT_TRUE(registry_->Load());
    plane_ = std::make_unique<NodePlane>(
        NodePlaneOptions{.node_name = "node-1", .paths = paths, .poll_period = poll_period_},
        NodePlane::Parts{.mounter = mounter_,
                         .broker = broker_,
                         .cluster = view_,
                         .patient = patient_,
                         .registry = *registry_,
                         .keeper = *keeper_,
                         .locks = locks_,
                         .clock = clock_,
                         .log = log_,
                         .running_generation = [](const MountSource&) { return ""; },
                         .stop = stop_.get_token()});
  }

  void PutRuntime(const std::string& policy) {
    api_.Put(resources::kSluiceRuntime, {"ns", "n"},
             Json::object({{"spec", {{"fuse", {{"cleanPolicy", policy}}}}}}));
  }
  static VolumeRequest Request(const std::string& volume = "ns-n") {
    VolumeRequest request;
    request.volume_id = volume;
    request.source = {.key = "ns-n",
                      .mount_point = kPath,
                      .mount_type = "fuse.sluice",
                      .runtime = {"ns", "n"},
                      .node_label = kLabel};
    request.read_only = true;
    return request;
  }
  static VolumeRequest ForeignRequest() {
    VolumeRequest request = Request();
    request.source.mount_type = "fuse.alluxio-fuse";
    return request;
  }
  static TargetPath Target(const std::string& pod = "pod-1", const std::string& volume = "ns-n") {
    return ParseTargetPath(
               "/var/lib/kubelet/pods/" + pod + "/volumes/kubernetes.io~csi/" + volume + "/mount",
               "/var/lib/kubelet")
        .value();
  }
  void StartLate(std::optional<LatePod>& pod) {
    if (!pod) pod.emplace(*plane_, *registry_, Request(), Target(), In(seconds(60)));
  }
  bool Labelled() { return view_.HasNodeLabel(kLabel).value(); }
  Deadline In(milliseconds time) { return clock_.Now() + time; }

  std::string directory_;
  platform::Log log_{"test", platform::LogLevel::kError};
  platform::Metrics metrics_;
  ManualClock clock_;
  FakeMounter mounter_;
  FakeBroker broker_{mounter_, clock_};
  FakeApi api_;
  ClusterView view_{api_, "node-1", {}};
  std::stop_source stop_;
  milliseconds poll_period_{1};
  PatientCaller patient_{2, stop_.get_token()};
  NodeLocks locks_;
  std::vector<std::string> notices_;
  std::unique_ptr<MountRegistry> registry_;
  std::unique_ptr<MountKeeper> keeper_;
  std::unique_ptr<NodePlane> plane_;
};

TEST_F(NodePlaneTest, StageMountsOnceAndLabelsTheNode) {
  for (int i = 0; i < 2; ++i) {
    const Status staged = plane_->Stage(Request(), In(seconds(10)));
    ASSERT_TRUE(staged) << staged.error().message;
  }
  EXPECT_EQ(mounter_.CountMounts(kPath), 1);
  EXPECT_TRUE(Labelled());
  EXPECT_EQ(StringAt(*api_.Get(resources::kNode, {"", "node-1"}), "/metadata/labels/kept"), "yes");
}

TEST_F(NodePlaneTest, FailedLabelTakesTheMountBack) {
  api_.patch_result.With([](Status& s) { s = Fail(Code::kUnavailable, "API server is down"); });
  const Status staged = plane_->Stage(Request(), In(seconds(10)));
  ASSERT_FALSE(staged);
  EXPECT_EQ(staged.error().code, Code::kUnavailable);
  EXPECT_NE(staged.error().message.find("API server is down"), std::string::npos);
  EXPECT_FALSE(mounter_.IsMounted(kPath));
  EXPECT_FALSE(Labelled()) << "the label of a call without an answer is rolled back";
  // Nor had that an answer: for all that is known the label is still there.
  ASSERT_TRUE(registry_->Find("ns-n"));
  api_.patch_result.With([](Status& s) { s = Ok(); });
  ASSERT_TRUE(view_.SetNodeLabel(kLabel));
  keeper_->Sweep(true);
  EXPECT_FALSE(Labelled());
  EXPECT_FALSE(registry_->Find("ns-n"));
}

TEST_F(NodePlaneTest, FailedMountLeavesNoLabel) {
  broker_.attach_result = Fail(Code::kInternal, "no /dev/fuse");
  EXPECT_FALSE(plane_->Stage(Request(), In(seconds(10))));
  EXPECT_FALSE(Labelled());
  EXPECT_FALSE(registry_->Find("ns-n"));
}

TEST_F(NodePlaneTest, BusyVolumeIsAConflict) {
  const auto lease = locks_.mounts.TryLock("ns-n");
  const Status staged = plane_->Stage(Request(), In(seconds(10)));
  ASSERT_FALSE(staged);
  EXPECT_EQ(staged.error().code, Code::kConflict);
}

TEST_F(NodePlaneTest, PublishShowsTheMountAndIsIdempotent) {
  ASSERT_TRUE(plane_->Stage(Request(), In(seconds(10))));
  for (int i = 0; i < 2; ++i) {
    const Status published = plane_->Publish(Request(), Target(), In(seconds(10)));
    ASSERT_TRUE(published) << published.error().message;
  }
  EXPECT_EQ(mounter_.CountMounts(Target().path), 1);
  EXPECT_TRUE(TopMountAt(*mounter_.Mounts(), Target().path)->read_only);
  for (int i = 0; i < 2; ++i) {
    EXPECT_TRUE(plane_->Unpublish("ns-n", Target(), In(seconds(10))));
  }
  EXPECT_FALSE(mounter_.IsMounted(Target().path));
  EXPECT_EQ(mounter_.Inspect("", Target().path)->kind, PathInfo::Kind::kMissing);
  EXPECT_FALSE(registry_->Find("ns-n")->UsedBy("ns-n"));
}

TEST_F(NodePlaneTest, PublishWithoutStageMakesWhatIsMissing) {
  ASSERT_TRUE(plane_->Publish(Request(), Target(), In(seconds(10))));
  EXPECT_TRUE(mounter_.IsMounted(kPath));
}

TEST_F(NodePlaneTest, PublishTellsTheClientsError) {
  broker_.fresh = {.has_device = true,
                   .client_connected = true,
                   .last_error = "s3://bucket: the secret key is wrong",
                   .last_error_code = Code::kPermissionDenied};
  ASSERT_TRUE(plane_->Stage(Request(), In(seconds(10))));
  const auto begin = clock_.Now();
  const Status published = plane_->Publish(Request(), Target(), In(seconds(100)));
  ASSERT_FALSE(published);
  EXPECT_EQ(published.error().code, Code::kPermissionDenied);
  EXPECT_NE(published.error().message.find("secret key is wrong"), std::string::npos);
  EXPECT_LT(clock_.Now() - begin, seconds(10)) << "nobody can mend it by waiting";
  EXPECT_FALSE(mounter_.IsMounted(Target().path));
  EXPECT_FALSE(registry_->Find("ns-n")->UsedBy("ns-n")) << "a failed publish is no use";
}

TEST_F(NodePlaneTest, PublishWaitsLongerForAnOriginThatIsDown) {
  broker_.fresh = {.has_device = true,
                   .client_connected = true,
                   .last_error = "connect: refused",
                   .last_error_code = Code::kUnavailable};
  ASSERT_TRUE(plane_->Stage(Request(), In(seconds(10))));
  const auto begin = clock_.Now();
  const Status published = plane_->Publish(Request(), Target(), In(seconds(100)));
  ASSERT_FALSE(published);
  EXPECT_EQ(published.error().code, Code::kUnavailable);
  EXPECT_GE(clock_.Now() - begin, seconds(30));
  EXPECT_LT(clock_.Now() - begin, seconds(40));
}

TEST_F(NodePlaneTest, PublishWithoutAClientNamesThePodToLookAt) {
  broker_.fresh = {.has_device = true};
  ASSERT_TRUE(plane_->Stage(Request(), In(seconds(10))));
  const Status published = plane_->Publish(Request(), Target(), In(seconds(50)));
  ASSERT_FALSE(published);
  EXPECT_EQ(published.error().code, Code::kDeadlineExceeded);
  EXPECT_NE(published.error().message.find("n-fuse"), std::string::npos);
  EXPECT_NE(published.error().message.find("node-1"), std::string::npos);
}

TEST_F(NodePlaneTest, SymlinkAsTargetIsRefusedByName) {
  mounter_.world.With([](FakeMounter::World& w) {
    w.paths[Target().path] = {.kind = PathInfo::Kind::kSymlink, .link = "/etc"};
  });
  const Status published = plane_->Publish(Request(), Target(), In(seconds(10)));
  ASSERT_FALSE(published);
  EXPECT_EQ(published.error().code, Code::kInvalidArgument);
  EXPECT_NE(published.error().message.find(Target().path), std::string::npos);
  EXPECT_NE(published.error().message.find("symlink"), std::string::npos);
}

TEST_F(NodePlaneTest, SymlinkMethodLinksAndUnlinks) {
  VolumeRequest request = Request();
  request.method = PublishMethod::kSymlink;
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(plane_->Publish(request, Target(), In(seconds(10))));
  }
  EXPECT_EQ(mounter_.Inspect("", Target().path)->link, kPath);
  ASSERT_TRUE(plane_->Unpublish("ns-n", Target(), In(seconds(10))));
  EXPECT_EQ(mounter_.Inspect("", Target().path)->kind, PathInfo::Kind::kMissing);
}

TEST_F(NodePlaneTest, SymlinkOfAnEarlierPluginStaysPublished) {
  for (const char* const sub_path : {"", "v1"}) {
    VolumeRequest request = Request();  // bound by the rules of today
    request.sub_path = sub_path;
    const std::string source = *sub_path == '\0' ? kPath : std::string(kPath) + "/" + sub_path;
    ASSERT_TRUE(mounter_.Link(source, "", Target().path));
    for (int i = 0; i < 2; ++i) {
      const Status published = plane_->Publish(request, Target(), In(seconds(10)));
      ASSERT_TRUE(published) << published.error().message;
      Restart();
      ASSERT_TRUE(keeper_->Recover());
      broker_.SetClient("ns-n", broker_.fresh);
    }
    EXPECT_EQ(mounter_.Inspect("", Target().path)->link, source);
    EXPECT_EQ(registry_->Find("ns-n")->targets.at(Target().path).method, PublishMethod::kSymlink)
        << "a bind would be made anew when the mount is lost";
    ASSERT_TRUE(plane_->Unpublish("ns-n", Target(), In(seconds(10))));
    EXPECT_EQ(mounter_.Inspect("", Target().path)->kind, PathInfo::Kind::kMissing);
  }
}

TEST_F(NodePlaneTest, TargetOfADeadMountIsReplaced) {
  ASSERT_TRUE(plane_->Stage(Request(), In(seconds(10))));
  mounter_.AddMount(Target().path, "fuse.sluice");
  ASSERT_TRUE(plane_->Publish(Request(), Target(), In(seconds(10))));
  const auto table = *mounter_.Mounts();
  EXPECT_EQ(mounter_.CountMounts(Target().path), 1);
  EXPECT_TRUE(TopMountAt(table, Target().path)->SameFileSystem(*TopMountAt(table, kPath)));
}

TEST_F(NodePlaneTest, UnstageKeepsTheMountByDefault) {
  ASSERT_TRUE(plane_->Stage(Request(), In(seconds(10))));
  ASSERT_TRUE(plane_->Unstage("ns-n", In(seconds(10))));
  EXPECT_TRUE(mounter_.IsMounted(kPath));
  EXPECT_TRUE(Labelled());
}

TEST_F(NodePlaneTest, UnstageOnDemandTakesEverythingAway) {
  PutRuntime("OnDemand");
  ASSERT_TRUE(plane_->Stage(Request(), In(seconds(10))));
  ASSERT_TRUE(plane_->Publish(Request(), Target(), In(seconds(10))));
  const Status in_use = plane_->Unstage("ns-n", In(seconds(10)));
  ASSERT_FALSE(in_use);
  EXPECT_EQ(in_use.error().code, Code::kUnavailable);
  ASSERT_TRUE(plane_->Unpublish("ns-n", Target(), In(seconds(10))));
  for (int i = 0; i < 2; ++i) {
    const Status unstaged = plane_->Unstage("ns-n", In(seconds(10)));
    ASSERT_TRUE(unstaged) << unstaged.error().message;
  }
  EXPECT_FALSE(mounter_.IsMounted(kPath));
  EXPECT_FALSE(Labelled());
  EXPECT_FALSE(registry_->Find("ns-n"));
  clock_.Advance(seconds(121));
  keeper_->Sweep(false);
  ASSERT_EQ(broker_.discarded.size(), 1U);
  EXPECT_EQ(broker_.discarded[0], directory_ + "/" + names::BrokerDirectory("ns-n"));
}

TEST_F(NodePlaneTest, UnstageOfAVolumeThatIsNoneOfOursIsOk) {
  EXPECT_TRUE(plane_->Unstage("never-seen", In(seconds(10))));
  api_.Put(resources::kPersistentVolume, {"", "odd"}, Json::object());
  EXPECT_TRUE(plane_->Unstage("odd", In(seconds(10))));
}

TEST_F(NodePlaneTest, UnstageAfterLostStateAsksTheVolume) {
  PutRuntime("OnDemand");
  ASSERT_TRUE(view_.SetNodeLabel(kLabel));
  api_.Put(resources::kPersistentVolume, {"", "ns-n"},
           Json::parse(R"({"spec": {"csi": {"volumeAttributes": {
               "fluid_path": "/runtime-mnt/sluice/ns/n/sluice-fuse", "mount_type": "fuse.sluice",
               "runtime_namespace": "ns", "runtime_name": "n"}}}})"));
  ASSERT_TRUE(plane_->Unstage("ns-n", In(seconds(10))));
  EXPECT_FALSE(Labelled());
}

TEST_F(NodePlaneTest, SweepRemovesAMountWhoseLabelIsGone) {
  ASSERT_TRUE(plane_->Stage(Request(), In(seconds(10))));
  ASSERT_TRUE(plane_->Publish(Request(), Target(), In(seconds(10))));
  ASSERT_TRUE(view_.RemoveNodeLabel(kLabel));
  keeper_->Sweep(true);
  EXPECT_TRUE(mounter_.IsMounted(kPath)) << "a pod still uses it";
  ASSERT_TRUE(plane_->Unpublish("ns-n", Target(), In(seconds(10))));
  keeper_->Sweep(true);
  EXPECT_FALSE(mounter_.IsMounted(kPath));
  EXPECT_FALSE(registry_->Find("ns-n"));
}

TEST_F(NodePlaneTest, SweepRemovesAMountWhoseVolumeIsGone) {
  ASSERT_TRUE(plane_->Stage(Request(), In(seconds(10))));
  keeper_->Sweep(true);
  EXPECT_TRUE(mounter_.IsMounted(kPath));
  api_.Drop(resources::kPersistentVolume, {"", "ns-n"});
  keeper_->Sweep(true);
  EXPECT_FALSE(mounter_.IsMounted(kPath));
}

TEST_F(NodePlaneTest, SweepLeavesAMountThatAPodBeginsToUseMeanwhile) {
  ASSERT_TRUE(plane_->Stage(Request(), In(seconds(10))));
  api_.Drop(resources::kPersistentVolume, {"", "ns-n"});
  std::optional<LatePod> pod;
  api_.before_get = [&](const std::string& id) {
    if (id == "persistentvolumes/ns-n") StartLate(pod);
  };
  keeper_->Sweep(true);
  ASSERT_TRUE(pod);
  const Status published = pod->Finish();
  ASSERT_TRUE(published) << published.error().message;
  EXPECT_TRUE(mounter_.IsMounted(Target().path));
  EXPECT_EQ(mounter_.world.With([](const auto& w) { return w.next_device; }), 41U)
      << "never unmounted";
  ASSERT_TRUE(registry_->Find("ns-n"));
  EXPECT_TRUE(registry_->Find("ns-n")->UsedBy("ns-n"));
}

TEST_F(NodePlaneTest, MountThatIsWantedAgainWhileItGoesIsMadeAgainAndNotForgotten) {
  ASSERT_TRUE(plane_->Stage(Request(), In(seconds(10))));
  ASSERT_TRUE(view_.RemoveNodeLabel(kLabel));
  std::optional<LatePod> pod;
  mounter_.before_detach = [&] { StartLate(pod); };
  keeper_->Sweep(true);
  ASSERT_TRUE(pod);
  const Status published = pod->Finish();
  ASSERT_TRUE(published) << published.error().message;
  EXPECT_TRUE(mounter_.IsMounted(kPath));
  EXPECT_TRUE(Labelled());
  ASSERT_TRUE(registry_->Find("ns-n"));
  EXPECT_TRUE(registry_->Find("ns-n")->UsedBy("ns-n"));
}

TEST_F(NodePlaneTest, UnstageKeepsMountAndLabelForAPodThatComesMeanwhile) {
  PutRuntime("OnDemand");
  ASSERT_TRUE(plane_->Stage(Request(), In(seconds(10))));
  std::optional<LatePod> pod;
  api_.before_get = [&](const std::string& id) {
    if (id == "sluiceruntimes/ns/n") StartLate(pod);
  };
  api_.before_patch = [](const Json& patch) {
    ADD_FAILURE() << "the label was never to be touched: " << patch;
  };
  const Status unstaged = plane_->Unstage("ns-n", In(seconds(10)));
  ASSERT_FALSE(unstaged);
  EXPECT_EQ(unstaged.error().code, Code::kConflict);
  ASSERT_TRUE(pod);
  EXPECT_TRUE(pod->Finish());
  EXPECT_TRUE(mounter_.IsMounted(Target().path));
  EXPECT_TRUE(Labelled());
}

TEST_F(NodePlaneTest, UnstageThatCannotUnmountLeavesTheLabelForThePodsToCome) {
  PutRuntime("OnDemand");
  ASSERT_TRUE(plane_->Stage(Request(), In(seconds(10))));
  broker_.release_result = Fail(Code::kUnavailable, "holder is gone");
  ASSERT_FALSE(plane_->Unstage("ns-n", In(seconds(10))));
  EXPECT_TRUE(Labelled());
}

TEST_F(NodePlaneTest, LabelThatCannotBeTakenIsTakenByTheNextUnstage) {
  PutRuntime("OnDemand");
  ASSERT_TRUE(plane_->Stage(Request(), In(seconds(10))));
  api_.patch_refused = true;
  const Status refused = plane_->Unstage("ns-n", In(seconds(10)));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kUnavailable);
  EXPECT_FALSE(mounter_.IsMounted(kPath));
  ASSERT_TRUE(Labelled());
  // By then there is nobody left to ask, nor the process that had begun.
  api_.Drop(resources::kSluiceRuntime, {"ns", "n"});
  api_.Drop(resources::kPersistentVolume, {"", "ns-n"});
  Restart();
  api_.patch_refused = false;
  const Status unstaged = plane_->Unstage("ns-n", In(seconds(10)));
  ASSERT_TRUE(unstaged) << unstaged.error().message;
  EXPECT_FALSE(Labelled());
  EXPECT_FALSE(registry_->Find("ns-n"));
}

TEST_F(NodePlaneTest, LabelThatCannotBeTakenIsTakenByASweepForEveryEngine) {
  PutRuntime("OnDemand");
  api_.Put({"data.fluid.io", "v1alpha1", "alluxioruntimes", "AlluxioRuntime", true}, {"ns", "n"},
           Json::parse(R"({"spec": {"fuse": {"cleanPolicy": "OnDemand"}}})"));
  for (const VolumeRequest& request : {Request(), ForeignRequest()}) {
    SCOPED_TRACE(request.source.mount_type);
    ASSERT_TRUE(plane_->Stage(request, In(seconds(10))));
    api_.patch_refused = true;
    ASSERT_FALSE(plane_->Unstage("ns-n", In(seconds(10))));
    keeper_->Sweep(true);
    keeper_->Sweep(true);
    ASSERT_TRUE(registry_->Find("ns-n")) << "until the label is gone";
    api_.patch_refused = false;
    keeper_->Sweep(false);
    EXPECT_TRUE(Labelled()) << "a look at local facts asks no API server";
    keeper_->Sweep(true);
    EXPECT_FALSE(Labelled());
    EXPECT_FALSE(registry_->Find("ns-n"));
  }
}

TEST_F(NodePlaneTest, LabelThatIsWantedAgainIsNoLongerTaken) {
  PutRuntime("OnDemand");
  ASSERT_TRUE(plane_->Stage(Request(), In(seconds(10))));
  api_.patch_refused = true;
  ASSERT_FALSE(plane_->Unstage("ns-n", In(seconds(10))));
  ASSERT_TRUE(plane_->Stage(Request(), In(seconds(10)))) << "the label is there";
  api_.patch_refused = false;
  keeper_->Sweep(true);
  EXPECT_TRUE(Labelled());
  EXPECT_TRUE(mounter_.IsMounted(kPath));
  api_.patch_refused = true;
  ASSERT_FALSE(plane_->Unstage("ns-n", In(seconds(10))));
  ASSERT_TRUE(plane_->Publish(Request(), Target(), In(seconds(10))));
  api_.patch_refused = false;
  ASSERT_TRUE(plane_->Unpublish("ns-n", Target(), In(seconds(10))));
  keeper_->Sweep(true);
  EXPECT_TRUE(Labelled());
}

TEST_F(NodePlaneTest, UnstageRestoresTheLabelForAPodThatUsesAnotherEnginesMount) {
  api_.Put({"data.fluid.io", "v1alpha1", "alluxioruntimes", "AlluxioRuntime", true}, {"ns", "n"},
           Json::parse(R"({"spec": {"fuse": {"cleanPolicy": "OnDemand"}}})"));
  mounter_.AddMount(kPath, "fuse.alluxio-fuse");
  ASSERT_TRUE(plane_->Stage(ForeignRequest(), In(seconds(10))));
  bool came = false;
  api_.before_patch = [&](const Json&) {
    if (std::exchange(came, true)) return;
    const Status published = plane_->Publish(ForeignRequest(), Target(), In(seconds(10)));
    EXPECT_TRUE(published) << published.error().message;
  };
  const Status unstaged = plane_->Unstage("ns-n", In(seconds(10)));
  ASSERT_FALSE(unstaged);
  EXPECT_EQ(unstaged.error().code, Code::kConflict);
  EXPECT_TRUE(Labelled());
}

TEST_F(NodePlaneTest, PublishRestoresALabelThatWasTaken) {
  ASSERT_TRUE(plane_->Stage(Request(), In(seconds(10))));
  ASSERT_TRUE(view_.RemoveNodeLabel(kLabel));
  keeper_->Sweep(true);
  ASSERT_FALSE(mounter_.IsMounted(kPath));
  ASSERT_TRUE(plane_->Publish(Request(), Target(), In(seconds(10))));
  EXPECT_TRUE(mounter_.IsMounted(kPath));
  EXPECT_TRUE(Labelled());
}

TEST_F(NodePlaneTest, RestartAdoptsMountsAndKnowsTheirTargets) {
  ASSERT_TRUE(plane_->Stage(Request(), In(seconds(10))));
  ASSERT_TRUE(plane_->Publish(Request(), Target(), In(seconds(10))));
  Restart();
  ASSERT_TRUE(keeper_->Recover());
  ASSERT_TRUE(registry_->Find("ns-n"));
  EXPECT_TRUE(registry_->Find("ns-n")->UsedBy("ns-n"));
  EXPECT_EQ(mounter_.CountMounts(kPath), 1);
  EXPECT_FALSE(broker_.State("ns-n")->has_device);
  // The client deposits its descriptor: nothing else happens, however long ago that was.
  broker_.SetClient("ns-n", {.has_device = true, .client_connected = true, .ready = true});
  clock_.Advance(seconds(600));
  keeper_->Sweep(true);
  EXPECT_EQ(mounter_.CountMounts(kPath), 1);
  EXPECT_TRUE(notices_.empty());
  EXPECT_TRUE(plane_->Unpublish("ns-n", Target(), In(seconds(10))));
}

TEST_F(NodePlaneTest, RestartWithoutStateFilesReadsTheMountTable) {
  ASSERT_TRUE(plane_->Stage(Request(), In(seconds(10))));
  VolumeRequest request = Request();
  request.sub_path = "a/b";
  ASSERT_TRUE(plane_->Publish(request, Target(), In(seconds(10))));
  std::filesystem::remove_all(directory_ + "/state");
  Restart();
  ASSERT_TRUE(keeper_->Recover());
  const auto mount = registry_->Find("ns-n");
  ASSERT_TRUE(mount);
  EXPECT_EQ(mount->source.node_label, kLabel);
  ASSERT_TRUE(mount->targets.contains(Target().path));
  EXPECT_EQ(mount->targets.at(Target().path).sub_path, "a/b");
}

TEST_F(NodePlaneTest, MountWithANameThatIsNoTextIsSavedAllTheSame) {
  SharedMount mount;
  mount.source = Request().source;
  mount.source.key = "ns-\xff";
  registry_->Enter(mount, [](SharedMount&) {});
  EXPECT_TRUE(std::filesystem::exists(directory_ + "/state/" +
                                      names::BrokerDirectory(mount.source.key) + ".json"));
}

TEST_F(NodePlaneTest, ConnectionWithoutADepositIsReplacedAndBoundAnew) {
  ASSERT_TRUE(plane_->Stage(Request(), In(seconds(10))));
  ASSERT_TRUE(plane_->Publish(Request(), Target(), In(seconds(10))));
  const unsigned old_device = TopMountAt(*mounter_.Mounts(), kPath)->minor;
  Restart();
  ASSERT_TRUE(keeper_->Recover());
  clock_.Advance(seconds(61));
  keeper_->Sweep(false);  // aborts, mounts anew; the client is there at once
  keeper_->Sweep(false);  // binds anew
  const auto table = *mounter_.Mounts();
  ASSERT_TRUE(TopMountAt(table, kPath));
  EXPECT_NE(TopMountAt(table, kPath)->minor, old_device);
  EXPECT_EQ(mounter_.CountMounts(Target().path), 1);
  EXPECT_TRUE(TopMountAt(table, Target().path)->SameFileSystem(*TopMountAt(table, kPath)));
  EXPECT_TRUE(TopMountAt(table, Target().path)->read_only);
  EXPECT_EQ(mounter_.world.With([](const auto& w) { return w.aborted; }),
            std::vector<std::string>{kPath});
  EXPECT_EQ(notices_, std::vector<std::string>{"FuseRecoverSucceed"});
}

TEST_F(NodePlaneTest, VolumesOfOneRuntimeShareItsMount) {
  ASSERT_TRUE(plane_->Stage(Request("ns-n"), In(seconds(10))));
  ASSERT_TRUE(plane_->Stage(Request("other-view"), In(seconds(10))));
  EXPECT_EQ(mounter_.CountMounts(kPath), 1);
  PutRuntime("OnDemand");
  ASSERT_TRUE(
      plane_->Publish(Request("other-view"), Target("pod-2", "other-view"), In(seconds(10))));
  ASSERT_TRUE(plane_->Unstage("ns-n", In(seconds(10))));
  EXPECT_TRUE(mounter_.IsMounted(kPath)) << "the other volume still shows it";
}

TEST_F(NodePlaneTest, OtherMountPointForTheSameRuntimeIsRefused) {
  ASSERT_TRUE(plane_->Stage(Request(), In(seconds(10))));
  VolumeRequest other = Request("ns-evil");
  other.source.mount_point = "/runtime-mnt/sluice/ns/n/elsewhere";
  const Status staged = plane_->Stage(other, In(seconds(10)));
  ASSERT_FALSE(staged);
  EXPECT_EQ(staged.error().code, Code::kInvalidArgument);
}

// --- the plugin's end

TEST_F(NodePlaneTest, PublishThatWaitsForAClientEndsWithThePlugin) {
  broker_.fresh = {.has_device = true};
  ASSERT_TRUE(plane_->Stage(Request(), In(seconds(10))));
  broker_.before_wait = [&] { stop_.request_stop(); };
  const auto begin = clock_.Now();
  const Status published = plane_->Publish(Request(), Target(), In(seconds(100)));
  ASSERT_FALSE(published);
  EXPECT_EQ(published.error().code, Code::kUnavailable);
  EXPECT_NE(published.error().message.find("plugin is stopping"), std::string::npos);
  EXPECT_LT(clock_.Now() - begin, seconds(1));
  EXPECT_FALSE(registry_->Find("ns-n")->UsedBy("ns-n"));
}

TEST_F(NodePlaneTest, PublishThatWaitsForAnotherEngineEndsWithThePlugin) {
  poll_period_ = seconds(3600);
  Restart();
  std::jthread stopper([&] { stop_.request_stop(); });
  const Status published = plane_->Publish(ForeignRequest(), Target(), In(seconds(7200)));
  ASSERT_FALSE(published);
  EXPECT_EQ(published.error().code, Code::kUnavailable);
  EXPECT_NE(published.error().message.find("plugin is stopping"), std::string::npos);
}

TEST_F(NodePlaneTest, PublishThatWaitsForTheLockOfItsMountEndsWithThePlugin) {
  const auto lease = locks_.mounts.TryLock("ns-n");
  std::jthread stopper([&] { stop_.request_stop(); });
  const Status published = plane_->Publish(Request(), Target(), In(seconds(7200)));
  ASSERT_FALSE(published);
  EXPECT_EQ(published.error().code, Code::kUnavailable);
  EXPECT_NE(published.error().message.find("plugin is stopping"), std::string::npos);
}

TEST_F(NodePlaneTest, SweepOfManyMountsEndsWithThePlugin) {
  ASSERT_TRUE(plane_->Stage(Request(), In(seconds(10))));
  ASSERT_TRUE(view_.RemoveNodeLabel(kLabel));
  stop_.request_stop();
  keeper_->Sweep(true);
  EXPECT_TRUE(mounter_.IsMounted(kPath)) << "what is not done is done by the next plugin";
}

// --- mounts of other engines
// -----------------------------------------------------------------------

TEST_F(NodePlaneTest, ForeignStageDetachesADeadMountAndLabels) {
  mounter_.AddMount(kPath, "fuse.alluxio-fuse");
  mounter_.world.With([](auto& w) { w.liveness[kPath] = Liveness::kDisconnected; });
  const Status staged = plane_->Stage(ForeignRequest(), In(seconds(10)));
  ASSERT_TRUE(staged) << staged.error().message;
  EXPECT_FALSE(mounter_.IsMounted(kPath));
  EXPECT_TRUE(Labelled());
}

TEST_F(NodePlaneTest, ForeignPublishWaitsForTheMountAndBindsTheSubPath) {
  VolumeRequest request = ForeignRequest();
  request.sub_path = "v1";
  std::jthread fuse_pod([&] {
    mounter_.AddMount(kPath, "fuse.alluxio-fuse");
    mounter_.world.With([](auto& w) { w.existing_sub_paths.insert("v1"); });
  });
  const Status published = plane_->Publish(request, Target(), In(seconds(20)));
  ASSERT_TRUE(published) << published.error().message;
  EXPECT_EQ(TopMountAt(*mounter_.Mounts(), Target().path)->root, "/v1");
}

struct ForeignFault {
  const char* mount_type;  // of what is there; null: nothing
  Liveness liveness;
  const char* sub_path;
  const char* message;
};

TEST_F(NodePlaneTest, ForeignPublishSaysWhatIsMissingAtTheDeadline) {
  // The deadline passes by the hand-turned clock; by the real one a probe has ample time.
  std::jthread ticker([&](const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      clock_.Advance(milliseconds(500));
      std::this_thread::sleep_for(milliseconds(1));
    }
  });
  for (const ForeignFault& fault :
       {ForeignFault{nullptr, Liveness::kAnswers, "", "nothing is mounted"},
        ForeignFault{"ext4", Liveness::kAnswers, "", "type ext4"},
        ForeignFault{"fuse.alluxio-fuse", Liveness::kDisconnected, "", "not connected"},
        ForeignFault{"fuse.alluxio-fuse", Liveness::kAnswers, "nope", "\"nope\" does not exist"}}) {
    ASSERT_TRUE(mounter_.Detach(kPath));
    if (fault.mount_type != nullptr) mounter_.AddMount(kPath, fault.mount_type);
    mounter_.world.With([&](auto& w) { w.liveness[kPath] = fault.liveness; });
    VolumeRequest request = ForeignRequest();
    request.sub_path = fault.sub_path;
    const Status published = plane_->Publish(request, Target(), In(seconds(60)));
    ASSERT_FALSE(published);
    EXPECT_NE(published.error().message.find(fault.message), std::string::npos)
        << published.error().message;
  }
}

TEST_F(NodePlaneTest, ForeignPublishWithSkipCheckOnlyWantsThePath) {
  VolumeRequest request = ForeignRequest();
  request.skip_check = true;
  request.method = PublishMethod::kSymlink;
  ASSERT_TRUE(mounter_.MakeDirectories("", kPath, 0755));
  EXPECT_TRUE(plane_->Publish(request, Target(), In(seconds(5))));
}

// As the kubelet does: again when another operation is under way.
void Insist(const std::function<Status()>& call) {
  for (int i = 0; i < 1000; ++i) {
    const Status status = call();
    if (status) return;
    ASSERT_EQ(status.error().code, Code::kConflict) << status.error().message;
    std::this_thread::yield();
  }
  FAIL() << "always busy";
}

TEST_F(NodePlaneTest, ParallelCallsEndInAConsistentState) {
  constexpr int kPods = 8;
  std::vector<std::jthread> pods;
  for (int pod = 0; pod < kPods; ++pod) {
    pods.emplace_back([&, pod] {
      const TargetPath target = Target("pod-" + std::to_string(pod));
      for (int round = 0; round < 20; ++round) {
        Insist([&] { return plane_->Publish(Request(), target, In(seconds(60))); });
        Insist([&] { return plane_->Unpublish("ns-n", target, In(seconds(60))); });
        keeper_->Sweep(false);
      }
    });
  }
  pods.clear();
  EXPECT_EQ(mounter_.CountMounts(kPath), 1);
  EXPECT_TRUE(registry_->Find("ns-n")->targets.empty());
}

// --- PatientCaller
// -----------------------------------------------------------------------------------

TEST(PatientCallerTest, AnswersWithTheResultOfTheWork) {
  PatientCaller caller(1);
  const auto deadline = std::chrono::steady_clock::now() + seconds(10);
  EXPECT_TRUE(caller.Call("a", deadline, [] { return Ok(); }));
  EXPECT_EQ(
      caller.Call("a", deadline, [] { return Status(Fail(Code::kNotFound, "x")); }).error().code,
      Code::kNotFound);
}

TEST(PatientCallerTest, GivesUpOnHangingWorkAndRefusesMoreOfIt) {
  platform::Guarded<bool> hang(true);
  {
    PatientCaller caller(1);
    const auto soon = [] { return std::chrono::steady_clock::now() + milliseconds(50); };
    const auto work = [&] {
      hang.WaitUntil(std::chrono::steady_clock::now() + seconds(30), [](bool h) { return !h; });
      return Ok();
    };
    EXPECT_EQ(caller.Call("dead", soon(), work).error().code, Code::kDeadlineExceeded);
    EXPECT_EQ(caller.Call("dead", soon(), work).error().code, Code::kUnavailable);
    EXPECT_EQ(caller.Call("other", soon(), [] { return Ok(); }).error().code, Code::kUnavailable);
    EXPECT_FALSE(caller.Idle());
    hang.With([](bool& h) { h = false; });
    hang.Notify();
    EXPECT_TRUE(
        caller.Call("other", std::chrono::steady_clock::now() + seconds(10), [] { return Ok(); }));
  }
}

TEST(PatientCallerTest, CallersWaitNoLongerOnceStopIsRequested) {
  platform::Guarded<bool> hang(true);
  std::stop_source stop;
  PatientCaller caller(1, stop.get_token());
  const auto far = std::chrono::steady_clock::now() + std::chrono::hours(1);
  const Status called = caller.Call("dead", far, [&]() -> Status {
    stop.request_stop();
    hang.WaitUntil(far, [](bool h) { return !h; });
    return Ok();
  });
  EXPECT_EQ(called.error().code, Code::kUnavailable);
  EXPECT_NE(called.error().message.find("plugin is stopping"), std::string::npos);
  hang.With([](bool& h) { h = false; });
  hang.Notify();
}

}  // namespace
}  // namespace sluice::csi
