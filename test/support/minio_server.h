// A real MinIO for a test: started on a free port with its own directory and random credentials,
// ended with the fixture.
//
//   auto server = MinioServer::Start();
//   if (!server) GTEST_SKIP() << server.error().message;   // no binary on this machine
//   (*server)->MakeBucket("models"); (*server)->Put("models", "a/b", bytes);
//   MountConfig mount = (*server)->Mount("s3://models/a");
//
// The binary is $SLUICE_MINIO, or minio in ${SLUICE_CACHE:-~/.cache/sluice}/bin (test/s3 builds
// it). With SLUICE_REQUIRE_MINIO=1 a missing binary is an error instead of a reason to skip.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>
#include <string_view>

#include "sluice/core/fuse_config.h"
#include "sluice/core/result.h"

namespace sluice::test {

class MinioServer {
 public:
  // kNotFound when there is no binary; other codes when it does not get ready within 30 s.
  static Result<std::unique_ptr<MinioServer>> Start();
  ~MinioServer();  // ends the server and removes its directory
  MinioServer(const MinioServer&) = delete;
  MinioServer& operator=(const MinioServer&) = delete;

  Status MakeBucket(const std::string& bucket);
  Status Put(const std::string& bucket, const std::string& key, std::string_view bytes);
  Status Delete(const std::string& bucket, const std::string& key);

  // Credentials of its STS for 15 minutes, as the answer to AssumeRoleWithWebIdentity, which it
  // gives by itself only to tokens of an OIDC server.
  // With a policy they may do less.
  Result<std::string> AssumeRole(const std::string& policy = "");

  // Multipart uploads that are neither finished nor given up.
  [[nodiscard]] std::size_t UnfinishedUploads() const;

  // Ends the process, keeping data and port; and starts it again.
  void Stop();
  Status Restart();

  // A mount of this server with the right credentials as files, as the controller would make it.
  [[nodiscard]] MountConfig Mount(const std::string& mount_point) const;
  [[nodiscard]] std::string Endpoint() const;  // "http://127.0.0.1:PORT"
  [[nodiscard]] int Port() const { return port_; }
  [[nodiscard]] const std::string& Directory() const { return directory_; }  // for further files
  [[nodiscard]] const std::string& AccessKey() const { return access_key_; }
  [[nodiscard]] const std::string& SecretKey() const { return secret_key_; }

 private:
  MinioServer() = default;
  Status Launch();
  Status WaitUntilReady();
  Status Send(const std::string& method, const std::string& bucket, const std::string& key,
              std::string_view body);

  std::string binary_;
  std::string directory_;
  std::string access_key_;
  std::string secret_key_;
  int port_ = 0;
  pid_t pid_ = -1;
};

}  // namespace sluice::test
