#include "plugin_fixture.h"

#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <sstream>
#include <thread>

#include <grpcpp/grpcpp.h>

#include "sluice/core/names.h"
#include "sluice/kube/client.h"
#include "sluice/platform/mount.h"

namespace sluice::csi {
namespace {

constexpr const char* kNode = "node-1";
constexpr const char* kLabel = "fluid.io/f-ns-n";

pid_t Spawn(std::vector<std::string> words, const std::string& log, uid_t uid = 0) {
  std::vector<char*> argv;
  argv.reserve(words.size() + 1);
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  const pid_t child = ::fork();
  if (child != 0) return child;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  const int fd = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  ::dup2(fd, STDOUT_FILENO);
  ::dup2(fd, STDERR_FILENO);
  if (uid != 0 && (::setgroups(0, nullptr) != 0 || ::setgid(uid) != 0 || ::setuid(uid) != 0)) {
    ::_exit(126);
  }
  ::execv(argv[0], argv.data());
  ::_exit(127);
}

// A call with this deadline.
std::unique_ptr<grpc::ClientContext> Within(std::chrono::seconds time) {
  auto context = std::make_unique<grpc::ClientContext>();
  context->set_deadline(std::chrono::system_clock::now() + time);
  context->set_wait_for_ready(true);
  return context;
}

::csi::v1::VolumeCapability Capability() {
  ::csi::v1::VolumeCapability capability;
  capability.mutable_mount();
  capability.mutable_access_mode()->set_mode(
      ::csi::v1::VolumeCapability::AccessMode::MULTI_NODE_MULTI_WRITER);
  return capability;
}

}  // namespace

std::unique_ptr<test::ApiServer> PluginTest::api_server_;
std::unique_ptr<platform::Metrics> PluginTest::metrics_;
std::unique_ptr<Cluster> PluginTest::cluster_;

bool Eventually(const std::function<bool()>& holds, std::chrono::milliseconds limit) {
  const auto end = std::chrono::steady_clock::now() + limit;
  while (!holds()) {
    if (std::chrono::steady_clock::now() >= end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return true;
}

std::string ReadText(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return "errno " + std::to_string(errno);
  char text[4096];
  const ssize_t n = ::read(fd, text, sizeof(text));
  const int error = errno;
  ::close(fd);
  return n < 0 ? "errno " + std::to_string(error) : std::string(text, static_cast<size_t>(n));
}

void PluginTest::SetUpTestSuite() {
  if (::geteuid() != 0 || !test::ApiServer::Unavailable().empty()) return;
  // Mounts of these tests end with this process, whatever happens.
  ASSERT_EQ(::unshare(CLONE_NEWNS), 0);
  ASSERT_EQ(::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr), 0);
  auto server = test::ApiServer::Start();
  ASSERT_TRUE(server) << server.error().message;
  api_server_ = std::move(*server);
  const Status applied =
      api_server_->ApplyManifests(std::filesystem::path(SLUICE_SOURCE_DIR) / "manifests/crds");
  ASSERT_TRUE(applied) << applied.error().message;
  metrics_ = std::make_unique<platform::Metrics>();
  auto cluster = kube::Connect(api_server_->TokenConfig(), {}, *metrics_);
  ASSERT_TRUE(cluster) << cluster.error().message;
  cluster_ = std::move(*cluster);
  ASSERT_TRUE(cluster_->Create(
      resources::kNode,
      Json::object({{"apiVersion", "v1"}, {"kind", "Node"}, {"metadata", {{"name", kNode}}}})));
  ASSERT_TRUE(cluster_->Create(
      resources::kNamespace,
      Json::object({{"apiVersion", "v1"}, {"kind", "Namespace"}, {"metadata", {{"name", "ns"}}}})));
}

void PluginTest::TearDownTestSuite() {
  cluster_.reset();
  api_server_.reset();
  metrics_.reset();
}

void PluginTest::SetUp() {
  if (::geteuid() != 0) GTEST_SKIP() << "mounting needs root";
  if (api_server_ == nullptr) GTEST_SKIP() << test::ApiServer::Unavailable();
  std::string pattern = std::filesystem::temp_directory_path() / "sluice-csi-XXXXXX";
  ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
  root_ = pattern;
  std::filesystem::permissions(root_, std::filesystem::perms(0755));
  for (const char* directory : {"kubelet/pods", "kubelet/plugins_registry", "mnt", "run"}) {
    std::filesystem::create_directories(root_ + "/" + directory);
  }
  ASSERT_NO_FATAL_FAILURE(PutDataset("OnRuntimeDeleted"));
}

void PluginTest::TearDown() {
  if (root_.empty()) return;
  if (plugin_ != 0) KillPlugin();
  if (fuse_client_ != 0) EndFuseClient(SIGKILL);
  const auto table = platform::MountTable();
  for (auto mount = table->rbegin(); mount != table->rend(); ++mount) {
    if (mount->mount_point.starts_with(root_)) {
      (void)platform::AbortFuseConnection(mount->minor);
      ::umount2(mount->mount_point.c_str(), MNT_DETACH);
    }
  }
  if (HasFailure())
    std::cerr << "plugin's log:\n"
              << std::ifstream(root_ + "/log").rdbuf() << "client's log:\n"
              << std::ifstream(root_ + "/fuse.log").rdbuf();
  const Json no_label =
      Json::object({{"metadata", {{"labels", Json::object({{kLabel, nullptr}})}}}});
  (void)cluster_->MergePatch(resources::kNode, {"", kNode}, no_label);
  std::error_code ignored;
  std::filesystem::remove_all(root_, ignored);
}

void PluginTest::StartPlugin(const std::vector<std::string>& flags) {
  std::vector<std::string> command = {std::string(SLUICE_BIN_DIR) + "/sluice-csi",
                                      std::string("--nodeid=") + kNode,
                                      "--metrics-addr=unix:" + root_ + "/http",
                                      "--kubelet-root=" + root_ + "/kubelet",
                                      "--mount-root=" + root_ + "/mnt",
                                      "--broker-root=" + root_ + "/run",
                                      "--kubeconfig=" + api_server_->Kubeconfig()};
  const auto names_uid = [](const std::string& flag) { return flag.starts_with("--client-uid"); };
  if (std::none_of(flags.begin(), flags.end(), names_uid)) command.push_back("--client-uid=-1");
  command.insert(command.end(), flags.begin(), flags.end());
  plugin_ = Spawn(command, root_ + "/log");
  const std::string csi = root_ + "/kubelet/csi-plugins/fuse.csi.fluid.io/csi.sock";
  const std::string registration = root_ + "/kubelet/plugins_registry/fuse.csi.fluid.io-reg.sock";
  // A channel of its own each time: a shared one would sit out its back-off after a restart.
  grpc::ChannelArguments fresh;
  fresh.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  fresh.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 50);
  fresh.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 200);
  const auto channel = [&](const std::string& path) {
    return grpc::CreateCustomChannel("unix://" + path, grpc::InsecureChannelCredentials(), fresh);
  };
  node_ = ::csi::v1::Node::NewStub(channel(csi));
  identity_ = ::csi::v1::Identity::NewStub(channel(csi));
  controller_ = ::csi::v1::Controller::NewStub(channel(csi));
  registration_ = ::pluginregistration::Registration::NewStub(channel(registration));
  ::csi::v1::ProbeResponse response;
  ASSERT_GRPC_OK(identity_->Probe(Within(std::chrono::seconds(20)).get(), {}, &response));
  EXPECT_TRUE(response.ready().value());
}

void PluginTest::KillPlugin() {
  ::kill(plugin_, SIGKILL);
  ::waitpid(plugin_, nullptr, 0);
  plugin_ = 0;
}

void PluginTest::StopPlugin() {
  ::kill(plugin_, SIGTERM);
  int status = 0;
  ::waitpid(plugin_, &status, 0);
  plugin_ = 0;
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

void PluginTest::StartFuseClient(const std::string& data, uid_t uid) {
  const Json config =
      Json::object({{"mounts", Json::array({Json::object({{"mountPoint", "file://" + data},
                                                          {"name", "m"},
                                                          {"path", "/"},
                                                          {"readOnly", true}})})},
                    {"targetPath", MountPath()},
                    {"accessModes", Json::array({"ReadOnlyMany"})},
                    {"dataset", Json::object({{"namespace", "ns"}, {"name", "n"}, {"uid", "u"}})}});
  std::ofstream(root_ + "/config.json") << config;
  fuse_client_ =
      Spawn({std::string(SLUICE_BIN_DIR) + "/sluice-fuse", "--config=" + root_ + "/config.json",
             "--broker=" + BrokerSocket(), "--metrics=127.0.0.1:0"},
            root_ + "/fuse.log", uid);
}

int PluginTest::EndFuseClient(int signal) {
  if (signal != 0) ::kill(fuse_client_, signal);
  int status = -1;
  const pid_t client = fuse_client_;
  const bool ended = Eventually([&] { return ::waitpid(client, &status, WNOHANG) == client; });
  if (ended) fuse_client_ = 0;
  return ended ? status : -1;
}

void PluginTest::PutDataset(const std::string& clean_policy) {
  const auto apply = [](const ResourceType& type, Json spec) {
    const auto applied =
        cluster_->Apply(type, Json::object({{"apiVersion", type.ApiVersion()},
                                            {"kind", type.kind},
                                            {"metadata", {{"namespace", "ns"}, {"name", "n"}}},
                                            {"spec", std::move(spec)}}));
    ASSERT_TRUE(applied) << applied.error().message;
  };
  apply(resources::kDataset,
        Json::object({{"mounts", Json::array({Json::object({{"mountPoint", "file:///data"}})})}}));
  apply(resources::kSluiceRuntime,
        Json::object({{"fuse", Json::object({{"cleanPolicy", clean_policy}})}}));
}

bool PluginTest::NodeLabelled() {
  const auto node = cluster_->Get(resources::kNode, {"", kNode});
  return node && StringAt(*node, "/metadata/labels/fluid.io~1f-ns-n") == "true";
}

std::map<std::string, std::string> PluginTest::Attributes() const {
  return {{"fluid_path", MountPath()},
          {"mount_type", "fuse.sluice"},
          {"runtime_namespace", "ns"},
          {"runtime_name", "n"},
          {"mount_pod_node_selector_key", kLabel}};
}

std::string PluginTest::BrokerSocket() const {
  return root_ + "/run/" + names::BrokerDirectory("ns-n") + "/s";
}

void PluginTest::MakePodDirectory(const std::string& pod) const {
  std::filesystem::create_directories(std::filesystem::path(Target(pod)).parent_path());
}

bool PluginTest::IsMounted(const std::string& path) const {
  return platform::FindMount(path).has_value();
}

grpc::Status PluginTest::Stage(const std::map<std::string, std::string>& attributes) {
  ::csi::v1::NodeStageVolumeRequest request;
  request.set_volume_id("ns-n");
  request.set_staging_target_path(root_ + "/kubelet/plugins/globalmount");
  *request.mutable_volume_capability() = Capability();
  request.mutable_volume_context()->insert(attributes.begin(), attributes.end());
  ::csi::v1::NodeStageVolumeResponse response;
  return node_->NodeStageVolume(Within(std::chrono::seconds(20)).get(), request, &response);
}

grpc::Status PluginTest::Unstage() {
  ::csi::v1::NodeUnstageVolumeRequest request;
  request.set_volume_id("ns-n");
  request.set_staging_target_path(root_ + "/kubelet/plugins/globalmount");
  ::csi::v1::NodeUnstageVolumeResponse response;
  return node_->NodeUnstageVolume(Within(std::chrono::seconds(20)).get(), request, &response);
}

grpc::Status PluginTest::Publish(const std::string& target,
                                 const std::map<std::string, std::string>& attributes,
                                 bool read_only, std::chrono::seconds deadline) {
  ::csi::v1::NodePublishVolumeRequest request;
  request.set_volume_id("ns-n");
  request.set_staging_target_path(root_ + "/kubelet/plugins/globalmount");
  request.set_target_path(target);
  request.set_readonly(read_only);
  *request.mutable_volume_capability() = Capability();
  request.mutable_volume_context()->insert(attributes.begin(), attributes.end());
  ::csi::v1::NodePublishVolumeResponse response;
  return node_->NodePublishVolume(Within(deadline).get(), request, &response);
}

grpc::Status PluginTest::Unpublish(const std::string& target) {
  ::csi::v1::NodeUnpublishVolumeRequest request;
  request.set_volume_id("ns-n");
  request.set_target_path(target);
  ::csi::v1::NodeUnpublishVolumeResponse response;
  return node_->NodeUnpublishVolume(Within(std::chrono::seconds(20)).get(), request, &response);
}

}  // namespace sluice::csi
