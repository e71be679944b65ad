// sluice-csi as the kubelet sees it.
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <thread>

#include <fmt/format.h>
#include <grpcpp/grpcpp.h>

#include "plugin_fixture.h"
#include "tiny_fuse_client.h"

namespace sluice::csi {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

TEST_F(PluginTest, KubeletFindsThePluginAndItsSocketsComeBack) {
  ASSERT_NO_FATAL_FAILURE(StartPlugin());
  const auto get_info = [&] {
    ::pluginregistration::PluginInfo info;
    grpc::Status status;
    // A channel may not have noticed yet that the server at its other end has gone.
    EXPECT_TRUE(Eventually([&] {
      grpc::ClientContext context;
      context.set_deadline(std::chrono::system_clock::now() + seconds(10));
      context.set_wait_for_ready(true);
      status = registration_->GetInfo(&context, {}, &info);
      return status.error_code() != grpc::StatusCode::UNAVAILABLE;
    }));
    EXPECT_TRUE(status.ok()) << status.error_message();
    return info;
  };
  const auto info = get_info();
  EXPECT_EQ(info.type(), "CSIPlugin");
  EXPECT_EQ(info.name(), "fuse.csi.fluid.io");
  EXPECT_EQ(info.endpoint(), root_ + "/kubelet/csi-plugins/fuse.csi.fluid.io/csi.sock");
  ASSERT_EQ(info.supported_versions_size(), 1);
  EXPECT_EQ(info.supported_versions(0), "1.0.0");

  grpc::ClientContext context;
  ::pluginregistration::RegistrationStatus accepted;
  accepted.set_plugin_registered(true);
  ::pluginregistration::RegistrationStatusResponse response;
  EXPECT_TRUE(registration_->NotifyRegistrationStatus(&context, accepted, &response).ok());

  const std::string socket = root_ + "/kubelet/plugins_registry/fuse.csi.fluid.io-reg.sock";
  std::filesystem::remove(socket);
  std::filesystem::remove(info.endpoint());
  EXPECT_TRUE(Eventually(
      [&] { return std::filesystem::exists(socket) && std::filesystem::exists(info.endpoint()); }));
  for (const std::string& path : {socket, info.endpoint()}) {
    EXPECT_TRUE(Eventually([&] {
      return (std::filesystem::status(path).permissions() & std::filesystem::perms(0777)) ==
             std::filesystem::perms(0600);
    })) << path
        << ": nobody but root may connect";
  }
  EXPECT_EQ(get_info().name(), "fuse.csi.fluid.io");
  StopPlugin();
}

TEST_F(PluginTest, LifeOfAVolume) {
  PutDataset("OnDemand");
  ASSERT_NO_FATAL_FAILURE(StartPlugin());
  ASSERT_GRPC_OK(Stage());
  ASSERT_GRPC_OK(Stage());
  EXPECT_TRUE(NodeLabelled());
  EXPECT_TRUE(IsMounted(MountPath()));
  {
    TinyFuseClient client(BrokerSocket());
    MakePodDirectory("p1");
    ASSERT_GRPC_OK(Publish(Target("p1")));
    EXPECT_EQ(ReadText(Target("p1") + "/hello.txt"), kTinyText);
    ASSERT_GRPC_OK(Publish(Target("p1")));  // as the kubelet may

    // Read-only by the request's flag although the volume may be written.
    EXPECT_EQ(::open((Target("p1") + "/hello.txt").c_str(), O_RDWR | O_CLOEXEC), -1);
    EXPECT_EQ(errno, EROFS);

    // The plugin dies: pods read on. It comes back: it knows what is there.
    const int file = ::open((Target("p1") + "/hello.txt").c_str(), O_RDONLY | O_CLOEXEC);
    KillPlugin();
    EXPECT_EQ(ReadText(Target("p1") + "/hello.txt"), kTinyText);
    ASSERT_NO_FATAL_FAILURE(StartPlugin());
    char first = 0;
    EXPECT_EQ(::pread(file, &first, 1, 0), 1);
    EXPECT_EQ(first, kTinyText[0]);
    ::close(file);
    auto with_sub_path = Attributes();
    with_sub_path["fluid_sub_path"] = "sub";
    MakePodDirectory("p2");
    ASSERT_GRPC_OK(Publish(Target("p2"), with_sub_path));
    EXPECT_EQ(ReadText(Target("p2") + "/inner.txt"), kTinyText);

    EXPECT_EQ(Unstage().error_code(), grpc::StatusCode::UNAVAILABLE) << "still used";
    ASSERT_GRPC_OK(Unpublish(Target("p1")));
    ASSERT_GRPC_OK(Unpublish(Target("p1")));
    ASSERT_GRPC_OK(Unpublish(Target("p2")));
    EXPECT_FALSE(std::filesystem::exists(Target("p1")));
    ASSERT_GRPC_OK(Unstage());
    ASSERT_GRPC_OK(Unstage());
    EXPECT_TRUE(Eventually([&] { return !client.Serving(); })) << "the client sees the unmount";
  }
  EXPECT_FALSE(NodeLabelled());
  EXPECT_FALSE(IsMounted(MountPath()));
  EXPECT_TRUE(std::filesystem::is_empty(root_ + "/mnt")) << "nothing is left behind";
  EXPECT_TRUE(std::filesystem::is_empty(root_ + "/run/state"));
  StopPlugin();
}

TEST_F(PluginTest, SymlinksOnTheWayToTheTargetAreRefused) {
  ASSERT_NO_FATAL_FAILURE(StartPlugin());
  TinyFuseClient client(BrokerSocket());
  ASSERT_GRPC_OK(Stage());
  const std::string elsewhere = root_ + "/elsewhere";
  std::filesystem::create_directories(elsewhere);
  MakePodDirectory("p1");
  std::filesystem::create_directory_symlink(elsewhere, Target("p1"));
  const grpc::Status as_target = Publish(Target("p1"));
  EXPECT_EQ(as_target.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_NE(as_target.error_message().find(Target("p1")), std::string::npos)
      << as_target.error_message();
  EXPECT_NE(as_target.error_message().find("symlink"), std::string::npos);

  const std::string pod = root_ + "/kubelet/pods/p2";
  std::filesystem::create_directories(elsewhere + "/kubernetes.io~csi/ns-n");
  std::filesystem::create_directories(pod);
  std::filesystem::create_directory_symlink(elsewhere, pod + "/volumes");
  const grpc::Status as_parent = Publish(Target("p2"));
  EXPECT_EQ(as_parent.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_NE(as_parent.error_message().find("volumes"), std::string::npos)
      << as_parent.error_message();
  EXPECT_EQ(Unpublish(Target("p2")).error_code(), grpc::StatusCode::INVALID_ARGUMENT);

  EXPECT_TRUE(std::filesystem::is_empty(elsewhere + "/kubernetes.io~csi/ns-n"));
  EXPECT_FALSE(IsMounted(elsewhere));
}

TEST_F(PluginTest, WrongRequestsAreRefusedByName) {
  ASSERT_NO_FATAL_FAILURE(StartPlugin());
  struct Case {
    const char* attribute;
    const char* value;
    const char* message;
  };
  for (const Case& c :
       {Case{"fluid_path", "", "fluid_path"}, Case{"fluid_path", "/etc", "must lie below"},
        Case{"fluid_sub_path", "../../etc", "fluid_sub_path"},
        Case{"mount_pod_node_selector_key", "kubernetes.io/hostname", "mount_pod_node_selector"},
        Case{"csi.storage.k8s.io/ephemeral", "true", "inline"}}) {
    auto attributes = Attributes();
    attributes[c.attribute] = c.value;
    for (const grpc::Status& status : {Stage(attributes), Publish(Target("p1"), attributes)}) {
      EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
      EXPECT_NE(status.error_message().find(c.message), std::string::npos)
          << status.error_message();
    }
  }
  EXPECT_EQ(Publish(root_ + "/kubelet/pods/p1/../../../x").error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(Publish("/etc/cron.d").error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_FALSE(NodeLabelled());
}

TEST_F(PluginTest, PublishAnswersWithTheClientsFault) {
  ASSERT_NO_FATAL_FAILURE(StartPlugin());
  TinyFuseClient client(BrokerSocket(),
                        {Code::kPermissionDenied, "s3://models: the secret key does not match"});
  ASSERT_GRPC_OK(Stage());
  MakePodDirectory("p1");
  const auto begin = std::chrono::steady_clock::now();
  const grpc::Status status = Publish(Target("p1"));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_NE(status.error_message().find("s3://models: the secret key does not match"),
            std::string::npos)
      << status.error_message();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, seconds(15));
  EXPECT_FALSE(IsMounted(Target("p1")));
}

TEST_F(PluginTest, PublishWithoutAClientEndsInTimeAndSaysWhereToLook) {
  ASSERT_NO_FATAL_FAILURE(StartPlugin());
  ASSERT_GRPC_OK(Stage());
  const grpc::Status status = Publish(Target("p1"), Attributes(), true, seconds(2));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_NE(status.error_message().find("n-fuse"), std::string::npos)
      << "the plugin answers before the caller gives up: " << status.error_message();
}

TEST_F(PluginTest, StopsAtOnceWhileAPodWaits) {
  ASSERT_NO_FATAL_FAILURE(StartPlugin());
  ASSERT_GRPC_OK(Stage());
  MakePodDirectory("p1");
  grpc::Status status;
  std::jthread kubelet([&] {
    do {
      status = Publish(Target("p1"), Attributes(), true, seconds(110));
    } while (status.error_code() == grpc::StatusCode::ABORTED);
  });
  // A call that waits has the lock of its target.
  ASSERT_TRUE(Eventually(
      [&] { return Unpublish(Target("p1")).error_code() == grpc::StatusCode::ABORTED; }));
  const auto begin = std::chrono::steady_clock::now();
  StopPlugin();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, seconds(5));
  kubelet.join();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_NE(status.error_message().find("plugin is stopping"), std::string::npos)
      << status.error_message();
  EXPECT_TRUE(IsMounted(MountPath())) << "for the next plugin";
}

TEST_F(PluginTest, LostConnectionIsReplacedAndPodsSeeTheDatasetAgain) {
  ASSERT_NO_FATAL_FAILURE(StartPlugin());
  ASSERT_GRPC_OK(Stage());
  MakePodDirectory("p1");
  {
    TinyFuseClient client(BrokerSocket());
    ASSERT_GRPC_OK(Publish(Target("p1")));
    KillPlugin();  // and the client: nobody has the descriptor any more
  }
  EXPECT_EQ(ReadText(Target("p1") + "/hello.txt"), "errno " + std::to_string(ENOTCONN));
  ASSERT_NO_FATAL_FAILURE(StartPlugin({"--recover-timeout=1"}));
  TinyFuseClient successor(BrokerSocket());
  EXPECT_TRUE(
      Eventually([&] { return ReadText(Target("p1") + "/hello.txt") == kTinyText; }, seconds(20)));
  EXPECT_EQ(::open((Target("p1") + "/hello.txt").c_str(), O_RDWR | O_CLOEXEC), -1);
  EXPECT_EQ(errno, EROFS) << "as read-only as before";
  EXPECT_TRUE(Eventually([&] {
    const auto events = cluster_->List(resources::kEvent, {.ns = "ns"});
    return events && std::any_of(events->items.begin(), events->items.end(), [](const Json& e) {
             return StringAt(e, "/reason") == "FuseRecoverSucceed";
           });
  }));
  ASSERT_GRPC_OK(Unpublish(Target("p1")));
}

TEST_F(PluginTest, MountOfADeletedRuntimeIsTakenAwayOnceUnused) {
  ASSERT_NO_FATAL_FAILURE(StartPlugin({"--sweep-period=1"}));
  TinyFuseClient client(BrokerSocket());
  ASSERT_GRPC_OK(Stage());
  // The volume exists, so only the label decides.
  const Json volume = Json::parse(R"({"apiVersion": "v1", "kind": "PersistentVolume",
    "metadata": {"name": "ns-n"}, "spec": {"capacity": {"storage": "1Gi"},
    "accessModes": ["ReadOnlyMany"], "csi": {"driver": "fuse.csi.fluid.io",
    "volumeHandle": "ns-n"}}})");
  ASSERT_TRUE(cluster_->Create(resources::kPersistentVolume, volume));
  MakePodDirectory("p1");
  ASSERT_GRPC_OK(Publish(Target("p1")));
  ASSERT_TRUE(
      cluster_->MergePatch(resources::kNode, {"", "node-1"},
                           Json::parse(R"({"metadata": {"labels": {"fluid.io/f-ns-n": null}}})")));
  EXPECT_EQ(ReadText(Target("p1") + "/hello.txt"), kTinyText) << "a pod still uses it";
  ASSERT_GRPC_OK(Unpublish(Target("p1")));
  EXPECT_TRUE(Eventually([&] { return !IsMounted(MountPath()); }));
  EXPECT_TRUE(cluster_->Delete(resources::kPersistentVolume, {"", "ns-n"}));
}

TEST_F(PluginTest, MountOfAnotherEngineIsWaitedFor) {
  ASSERT_NO_FATAL_FAILURE(StartPlugin());
  auto attributes = Attributes();
  attributes["mount_type"] = "tmpfs";
  ASSERT_GRPC_OK(Stage(attributes));
  EXPECT_TRUE(NodeLabelled());
  EXPECT_FALSE(IsMounted(MountPath())) << "its own FUSE pod mounts";
  const grpc::Status missing = Publish(Target("p1"), attributes, true, seconds(2));
  EXPECT_EQ(missing.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_NE(missing.error_message().find("nothing is mounted"), std::string::npos)
      << missing.error_message();
  std::jthread fuse_pod([&] {
    std::filesystem::create_directories(MountPath());
    EXPECT_EQ(::mount("tmpfs", MountPath().c_str(), "tmpfs", 0, nullptr), 0);
    std::ofstream(MountPath() + "/data") << "engine";
  });
  MakePodDirectory("p1");
  ASSERT_GRPC_OK(Publish(Target("p1"), attributes));
  fuse_pod.join();
  EXPECT_EQ(ReadText(Target("p1") + "/data"), "engine");
  ASSERT_GRPC_OK(Unpublish(Target("p1")));
}

TEST_F(PluginTest, ManyPodsComeAndGoAtOnce) {
  ASSERT_NO_FATAL_FAILURE(StartPlugin());
  TinyFuseClient client(BrokerSocket());
  ASSERT_GRPC_OK(Stage());
  constexpr int kPods = 12;
  constexpr int kRounds = 5;
  // The kubelet repeats calls that were aborted because another one was under way.
  const auto insist = [](const std::function<grpc::Status()>& call) {
    grpc::Status status;
    EXPECT_TRUE(Eventually([&] {
      status = call();
      return status.error_code() != grpc::StatusCode::ABORTED;
    }));
    EXPECT_TRUE(status.ok()) << status.error_message();
  };
  std::vector<std::jthread> pods;
  for (int pod = 0; pod < kPods; ++pod) {
    pods.emplace_back([&, pod] {
      const std::string target = Target(fmt::format("p{}", pod / 2));  // two calls per target
      MakePodDirectory(fmt::format("p{}", pod / 2));
      for (int round = 0; round < kRounds; ++round) {
        insist([&] { return Publish(target); });
        if (pod % 2 == 0) insist([&] { return Stage(); });
        insist([&] { return Unpublish(target); });
      }
    });
  }
  pods.clear();
  for (int pod = 0; pod < kPods / 2; ++pod) {
    EXPECT_FALSE(IsMounted(Target(fmt::format("p{}", pod))));
  }
  EXPECT_TRUE(IsMounted(MountPath()));
}

// --- the real FUSE client
// ---------------------------------------------------------------------------

TEST_F(PluginTest, RealClientServesUnprivilegedAndBothMayDie) {
  if (!std::filesystem::exists(std::string(SLUICE_BIN_DIR) + "/sluice-fuse")) {
    GTEST_SKIP() << "sluice-fuse is not built";
  }
  constexpr uid_t kNobody = 65534;
  const std::string data = root_ + "/data";
  std::filesystem::create_directories(data);
  std::ofstream(data + "/model.bin") << std::string(100'000, 'w');
  PutDataset("OnDemand");
  ASSERT_NO_FATAL_FAILURE(StartPlugin({"--client-uid=65534"}));
  ASSERT_GRPC_OK(Stage());
  StartFuseClient(data, kNobody);
  MakePodDirectory("p1");
  ASSERT_GRPC_OK(Publish(Target("p1")));
  const std::string file = Target("p1") + "/model.bin";
  EXPECT_EQ(ReadText(file).substr(0, 4), "wwww");

  KillPlugin();
  EXPECT_EQ(ReadText(file).substr(0, 4), "wwww");
  ASSERT_NO_FATAL_FAILURE(StartPlugin({"--client-uid=65534"}));
  MakePodDirectory("p2");
  ASSERT_GRPC_OK(Publish(Target("p2")));

  // The client dies with a file open; its successor goes on, the pod only waits.
  const int open_file = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  ASSERT_GE(open_file, 0);
  EXPECT_TRUE(WIFSIGNALED(EndFuseClient(SIGKILL)));
  StartFuseClient(data, kNobody);
  char last = 0;
  EXPECT_EQ(::pread(open_file, &last, 1, 99'999), 1);
  EXPECT_EQ(last, 'w');
  ::close(open_file);

  ASSERT_GRPC_OK(Unpublish(Target("p1")));
  ASSERT_GRPC_OK(Unpublish(Target("p2")));
  ASSERT_GRPC_OK(Unstage());
  EXPECT_FALSE(IsMounted(MountPath()));
  EXPECT_EQ(EndFuseClient(0), 0) << "the client ends by itself when its mount is gone";
}

TEST_F(PluginTest, RealClientsFaultReachesThePodAndHealsByItself) {
  if (!std::filesystem::exists(std::string(SLUICE_BIN_DIR) + "/sluice-fuse")) {
    GTEST_SKIP() << "sluice-fuse is not built";
  }
  ASSERT_NO_FATAL_FAILURE(StartPlugin());
  ASSERT_GRPC_OK(Stage());
  const std::string data = root_ + "/late";
  StartFuseClient(data, 0);
  MakePodDirectory("p1");
  const grpc::Status missing = Publish(Target("p1"));
  EXPECT_FALSE(missing.ok());
  EXPECT_NE(missing.error_message().find(data), std::string::npos) << missing.error_message();
  std::filesystem::create_directories(data);
  std::ofstream(data + "/model.bin") << "weights";
  EXPECT_TRUE(Eventually([&] { return Publish(Target("p1")).ok(); }, seconds(40)));
  EXPECT_EQ(ReadText(Target("p1") + "/model.bin"), "weights");
  ASSERT_GRPC_OK(Unpublish(Target("p1")));
}

// --- the suite of the CSI community
// ----------------------------------------------------------------

std::string SanityBinary() {
  const char* cache = std::getenv("SLUICE_CACHE");
  const char* home = std::getenv("HOME");
  return (cache != nullptr ? std::string(cache)
                           : std::string(home == nullptr ? "" : home) + "/.cache/sluice") +
         "/bin/csi-sanity";
}

TEST_F(PluginTest, PassesCsiSanity) {
  const std::string binary = SanityBinary();
  if (!std::filesystem::exists(binary)) GTEST_SKIP() << binary << ": run test/csi/sanity/build";
  // Its volumes are no PersistentVolumes: sweeps must not conclude that they are gone.
  ASSERT_NO_FATAL_FAILURE(StartPlugin({"--sweep-period=3600"}));
  TinyFuseClient client(BrokerSocket());
  std::ofstream parameters(root_ + "/parameters.yaml");
  for (const auto& [name, value] : Attributes()) parameters << name << ": " << value << "\n";
  parameters.close();
  MakePodDirectory("sanity");
  const std::string pod = root_ + "/kubelet/pods/sanity/volumes/kubernetes.io~csi";
  std::filesystem::create_directories(root_ + "/kubelet/plugins");
  const std::string command = fmt::format(
      "exec {} --csi.endpoint={}/kubelet/csi-plugins/fuse.csi.fluid.io/csi.sock "
      "--csi.mountdir={}/sanity-volume --csi.stagingdir={}/kubelet/plugins/staging "
      "--csi.testvolumeparameters={}/parameters.yaml --ginkgo.no-color > {}/sanity.log 2>&1",
      binary, root_, pod, root_, root_, root_);
  const int status = std::system(command.c_str());
  std::ifstream log(root_ + "/sanity.log");
  std::string line;
  std::string tail;
  while (std::getline(log, line)) {
    if (line.find("Passed") != std::string::npos || line.find("[FAIL]") != std::string::npos) {
      std::cout << line << "\n";
    }
    tail += line + "\n";
  }
  EXPECT_EQ(status, 0) << tail;
}

}  // namespace
}  // namespace sluice::csi
