#include "socket_server.h"

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <system_error>
#include <utility>

namespace sluice::csi {
namespace {

constexpr int kMaxThreads = 128;      // one per call under way
constexpr int kMaxMessage = 1 << 20;  // bytes
constexpr std::chrono::seconds kDrain{2};

}  // namespace

SocketServer::SocketServer(std::string path, std::vector<grpc::Service*> services)
    : path_(std::move(path)), services_(std::move(services)) {}

SocketServer::~SocketServer() { Stop(std::chrono::system_clock::now()); }

ino_t SocketServer::Inode() const {
  struct stat info = {};
  return ::lstat(path_.c_str(), &info) == 0 && S_ISSOCK(info.st_mode) ? info.st_ino : 0;
}

Status SocketServer::Start() {
  std::error_code error;
  std::filesystem::create_directories(std::filesystem::path(path_).parent_path(), error);
  if (error) return Fail(Code::kInternal, "directory of " + path_ + ": " + error.message());
  if (Inode() != 0) ::unlink(path_.c_str());
  grpc::ResourceQuota quota("sluice-csi");
  quota.SetMaxThreads(kMaxThreads);
  grpc::ServerBuilder builder;
  builder.SetResourceQuota(quota);
  builder.SetMaxReceiveMessageSize(kMaxMessage);
  builder.AddListeningPort("unix://" + path_, grpc::InsecureServerCredentials());
  for (grpc::Service* service : services_) builder.RegisterService(service);
  server_ = builder.BuildAndStart();
  inode_ = Inode();
  // Whoever may connect may mount: the kubelet is root. What gRPC makes is as open as the umask.
  if (inode_ != 0 && ::chmod(path_.c_str(), 0600) != 0) inode_ = 0;
  if (!server_ || inode_ == 0) return Fail(Code::kInternal, "listen on " + path_);
  return Ok();
}

Result<bool> SocketServer::Heal() {
  if (server_ && Inode() == inode_) return false;
  Stop(std::chrono::system_clock::now() + kDrain);
  SLUICE_CHECK(Start(), "make the socket again");
  return true;
}

void SocketServer::Stop(std::chrono::system_clock::time_point deadline) {
  if (!server_) return;
  server_->Shutdown(deadline);
  server_->Wait();
  server_.reset();
}

}  // namespace sluice::csi
