#include "api_server.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <thread>

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include "sluice/kube/client.h"
#include "sluice/platform/metrics.h"

#include "loopback.h"
#include "yaml_json.h"

namespace sluice::test {
namespace {

namespace fs = std::filesystem;
using std::chrono::steady_clock;

constexpr const char* kToken = "test-token-of-an-administrator";
constexpr std::chrono::seconds kStartLimit{60};

std::string Environment(const char* name, const std::string& fallback) {
  const char* value = std::getenv(name);  // NOLINT(concurrency-mt-unsafe): tests read only
  return value != nullptr && *value != '\0' ? value : fallback;
}

// The API server's binary, from the cache that scripts/build-tools fills.
fs::path ApiServerBinary() {
  const fs::path cache = Environment("SLUICE_CACHE", Environment("HOME", "/") + "/.cache/sluice");
  return cache / "bin" / "kube-apiserver";
}

std::string ReadFile(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// Whether a definition is established and its resource answers.
bool IsServed(Cluster& cluster, const ResourceType& definitions, const ObjectKey& name) {
  auto definition = cluster.Get(definitions, name);
  if (!definition) return false;
  const ResourceType type{StringAt(*definition, "/spec/group"),
                          StringAt(*definition, "/spec/versions/0/name"),
                          StringAt(*definition, "/spec/names/plural"), "", false};
  return cluster.List(type, {}).has_value();
}

Status RunOnce(const std::string& script) {
  const int status = std::system(script.c_str());  // NOLINT(concurrency-mt-unsafe,cert-env33-c)
  if (status != 0) return Fail(Code::kInternal, "failed: " + script);
  return Ok();
}

}  // namespace

std::string ApiServer::Unavailable() {
  if (!fs::exists(ApiServerBinary())) return ApiServerBinary().string() + " is missing";
  if (!fs::exists("/usr/bin/etcd")) return "/usr/bin/etcd is missing (etcd-server)";
  return "";
}

Result<std::unique_ptr<ApiServer>> ApiServer::Start() {
  std::signal(SIGPIPE, SIG_IGN);
  std::unique_ptr<ApiServer> server(new ApiServer());
  SLUICE_CHECK(server->Prepare(), "prepare");
  SLUICE_CHECK(server->Launch(), "launch");
  SLUICE_CHECK(server->WaitUntilReady(), "wait for the API server");
  return server;
}

Status ApiServer::Prepare() {
  std::string pattern = (fs::temp_directory_path() / "sluice-api-XXXXXX").string();
  if (mkdtemp(pattern.data()) == nullptr) return Fail(Code::kInternal, "mkdtemp " + pattern);
  directory_ = pattern;
  etcd_port_ = FreePort();
  peer_port_ = FreePort();
  port_ = FreePort();
  std::ofstream(directory_ / "tokens.csv") << kToken << ",tester,tester,system:masters\n";
  std::ofstream(directory_ / "server.ext") << "subjectAltName=IP:127.0.0.1,DNS:localhost\n";
  return RunOnce(fmt::format(
      "cd {} && exec 2>openssl.log && "
      "key() {{ openssl ecparam -name prime256v1 -genkey -noout -out $1.key; }} && "
      "key ca && key server && key admin && key sa && "
      "openssl req -x509 -new -key ca.key -subj /CN=test-ca -days 2 -out ca.crt && "
      "openssl req -new -key server.key -subj /CN=kube-apiserver -out server.csr && "
      "openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 "
      "-extfile server.ext -out server.crt && "
      "openssl req -new -key admin.key -subj /O=system:masters/CN=admin -out admin.csr && "
      "openssl x509 -req -in admin.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 "
      "-out admin.crt && openssl ec -in sa.key -pubout -out sa.pub",
      directory_.string()));
}

Status ApiServer::Spawn(const std::string& name, const std::vector<std::string>& command) {
  std::vector<char*> argv;
  argv.reserve(command.size() + 1);
  for (const std::string& word : command) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  const std::string log = (directory_ / (name + ".log")).string();
  const pid_t parent = getpid();
  const pid_t child = fork();
  if (child < 0) return Fail(Code::kInternal, "fork");
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(1);
    const int fd = open(log.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    dup2(fd, STDOUT_FILENO);
    dup2(fd, STDERR_FILENO);
    execv(argv[0], argv.data());
    _exit(127);
  }
  processes_.push_back(child);
  return Ok();
}

Status ApiServer::Launch() {
  const std::string dir = directory_.string();
  const std::string etcd = fmt::format("http://127.0.0.1:{}", etcd_port_);
  const std::string peer = fmt::format("http://127.0.0.1:{}", peer_port_);
  SLUICE_CHECK(Spawn("etcd", {"/usr/bin/etcd", "--data-dir=" + dir + "/etcd", "--unsafe-no-fsync",
                              "--listen-client-urls=" + etcd, "--advertise-client-urls=" + etcd,
                              "--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + peer,
                              "--initial-cluster=default=" + peer}),
               "etcd");
  return Spawn(
      "apiserver",
      {ApiServerBinary().string(), "--etcd-servers=" + etcd, "--bind-address=127.0.0.1",
       "--advertise-address=127.0.0.1", fmt::format("--secure-port={}", port_), "--cert-dir=" + dir,
       "--tls-cert-file=" + dir + "/server.crt", "--tls-private-key-file=" + dir + "/server.key",
       "--client-ca-file=" + dir + "/ca.crt", "--token-auth-file=" + dir + "/tokens.csv",
       "--service-account-issuer=https://localhost",
       "--service-account-key-file=" + dir + "/sa.pub",
       "--service-account-signing-key-file=" + dir + "/sa.key",
       "--service-cluster-ip-range=10.0.0.0/24", "--authorization-mode=RBAC",
       "--allow-privileged=true", "--endpoint-reconciler-type=none",
       "--disable-admission-plugins=ServiceAccount,StorageObjectInUseProtection"});
}

Status ApiServer::WaitUntilReady() const {
  platform::Metrics metrics;
  SLUICE_TRY(
      cluster,
      kube::Connect(TokenConfig(), {.deadline = std::chrono::milliseconds(2000), .max_attempts = 1},
                    metrics),
      "connect");
  const auto deadline = steady_clock::now() + kStartLimit;
  for (;;) {
    auto ready = cluster->Get(resources::kNamespace, {"", "default"});
    if (ready) return Ok();
    for (const pid_t process : processes_) {
      if (waitpid(process, nullptr, WNOHANG) == process) {
        return Fail(Code::kInternal,
                    "a process ended; logs: " + ReadFile(directory_ / "apiserver.log"));
      }
    }
    if (steady_clock::now() > deadline) return Fail(ready.error());
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
}

ApiServer::~ApiServer() {
  for (auto it = processes_.rbegin(); it != processes_.rend(); ++it) {
    kill(*it, SIGKILL);
    waitpid(*it, nullptr, 0);
  }
  std::error_code ignored;
  fs::remove_all(directory_, ignored);
}

void ApiServer::Stall() const {
  for (const pid_t process : processes_) kill(process, SIGSTOP);
}

void ApiServer::Resume() const {
  for (const pid_t process : processes_) kill(process, SIGCONT);
}

std::string ApiServer::Kubeconfig() const {
  const fs::path path = directory_ / "admin.kubeconfig";
  std::ofstream(path) << fmt::format(
      "apiVersion: v1\nkind: Config\ncurrent-context: test\n"
      "clusters: [{{name: test, cluster: {{server: 'https://127.0.0.1:{}', "
      "certificate-authority: ca.crt}}}}]\n"
      "users: [{{name: admin, user: {{client-certificate: admin.crt, client-key: admin.key}}}}]\n"
      "contexts: [{{name: test, context: {{cluster: test, user: admin, namespace: work}}}}]\n",
      port_);
  return path.string();
}

kube::Config ApiServer::TokenConfig() const {
  return {.server = fmt::format("https://127.0.0.1:{}", port_),
          .ca_pem = ReadFile(directory_ / "ca.crt"),
          .client_certificate_pem = {},
          .client_key_pem = {},
          .token = platform::Secret(kToken),
          .token_file = {},
          .tls_server_name = {}};
}

Status ApiServer::ApplyManifests(const fs::path& directory) const {
  platform::Metrics metrics;
  SLUICE_TRY(cluster, kube::Connect(TokenConfig(), {}, metrics), "connect");
  const ResourceType definitions{"apiextensions.k8s.io", "v1", "customresourcedefinitions",
                                 "CustomResourceDefinition", false};
  std::vector<ObjectKey> names;
  for (const auto& file : fs::directory_iterator(directory)) {
    if (file.path().extension() != ".yaml") continue;
    for (const Json& document : LoadYaml(file.path())) {
      SLUICE_TRY(applied, cluster->Apply(definitions, document), file.path().string());
      names.push_back(KeyOf(document));
    }
  }
  const auto deadline = steady_clock::now() + kStartLimit;
  for (const ObjectKey& name : names) {
    while (!IsServed(*cluster, definitions, name)) {
      if (steady_clock::now() > deadline) {
        return Fail(Code::kDeadlineExceeded, name.name + " is not served");
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
  }
  return Ok();
}

}  // namespace sluice::test
