#include "minio_server.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <thread>
#include <vector>

#include <curl/curl.h>
#include <fmt/format.h>

#include "sluice/origin/sigv4.h"

#include "loopback.h"

namespace sluice::test {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr auto kReadyWithin = std::chrono::seconds(30);
constexpr auto kEndWithin = std::chrono::seconds(10);
constexpr auto kPause = std::chrono::milliseconds(20);

std::string Env(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

std::string FindBinary() {
  if (const std::string given = Env("SLUICE_MINIO"); !given.empty()) return given;
  std::string cache = Env("SLUICE_CACHE");
  if (cache.empty()) cache = Env("HOME") + "/.cache/sluice";
  return cache + "/bin/minio";
}

std::string RandomWord(std::size_t length) {
  constexpr std::string_view kLetters = "abcdefghijklmnopqrstuvwxyz0123456789";
  std::random_device device;
  std::string word;
  while (word.size() < length) word += kLetters[device() % kLetters.size()];
  return word;
}

std::size_t Keep(char* data, std::size_t size, std::size_t count, void* user) {
  static_cast<std::string*>(user)->append(data, size * count);
  return size * count;
}

struct Reply {
  long status = 0;  // 0: there was no answer
  std::string text;
};

struct Upload {
  std::string_view body;
  std::size_t sent = 0;
};

std::size_t ReadUpload(char* out, std::size_t size, std::size_t count, void* user) {
  auto& upload = *static_cast<Upload*>(user);
  const std::size_t bytes = std::min(size * count, upload.body.size() - upload.sent);
  upload.body.copy(out, bytes, upload.sent);
  upload.sent += bytes;
  return bytes;
}

Reply Perform(const std::string& method, const std::string& url, const origin::Headers& headers,
              std::string_view body) {
  CURL* easy = curl_easy_init();
  curl_slist* list = curl_slist_append(nullptr, "Expect:");
  for (const auto& [name, value] : headers) {
    list = curl_slist_append(list, (name + ": " + value).c_str());
  }
  Upload upload{body, 0};
  Reply reply;
  curl_easy_setopt(easy, CURLOPT_URL, url.c_str());
  curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
  curl_easy_setopt(easy, CURLOPT_TIMEOUT, 120L);
  curl_easy_setopt(easy, CURLOPT_HTTPHEADER, list);
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, &Keep);
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, &reply.text);
  if (method == "PUT") {
    curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(easy, CURLOPT_READFUNCTION, &ReadUpload);
    curl_easy_setopt(easy, CURLOPT_READDATA, &upload);
    curl_easy_setopt(easy, CURLOPT_INFILESIZE_LARGE, static_cast<curl_off_t>(body.size()));
  }
  if (method == "POST") {
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE, static_cast<long>(body.size()));
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body.data());
  }
  curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, method.c_str());
  const CURLcode code = curl_easy_perform(easy);
  if (code == CURLE_OK) {
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &reply.status);
  } else {
    reply.text = curl_easy_strerror(code);
  }
  curl_slist_free_all(list);
  curl_easy_cleanup(easy);
  return reply;
}

// In the child: becomes the server, and dies with the test.
[[noreturn]] void Exec(const std::string& binary, const std::vector<std::string>& args,
                       const std::vector<std::string>& environment, const std::string& log) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  const int out = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  ::dup2(out, 1);
  ::dup2(out, 2);
  std::vector<char*> argv;
  for (const std::string& arg : args) argv.push_back(const_cast<char*>(arg.c_str()));
  argv.push_back(nullptr);
  std::vector<char*> envp;
  for (const std::string& entry : environment) envp.push_back(const_cast<char*>(entry.c_str()));
  envp.push_back(nullptr);
  ::execve(binary.c_str(), argv.data(), envp.data());
  ::_exit(127);
}

void WriteSecret(const fs::path& path, const std::string& value) {
  fs::create_directories(path.parent_path());
  std::ofstream(path) << value << "\n";
}

}  // namespace

Result<std::unique_ptr<MinioServer>> MinioServer::Start() {
  std::unique_ptr<MinioServer> server(new MinioServer());
  server->binary_ = FindBinary();
  if (::access(server->binary_.c_str(), X_OK) != 0) {
    const Code code = Env("SLUICE_REQUIRE_MINIO") == "1" ? Code::kInternal : Code::kNotFound;
    return Fail(code, "no MinIO at " + server->binary_);
  }
  std::string pattern = (fs::temp_directory_path() / "sluice-minio-XXXXXX").string();
  if (::mkdtemp(pattern.data()) == nullptr) return Fail(Code::kInternal, "mkdtemp " + pattern);
  server->directory_ = pattern;
  server->access_key_ = RandomWord(20);
  server->secret_key_ = RandomWord(40);
  WriteSecret(fs::path(pattern) / "secret/id", server->access_key_);
  WriteSecret(fs::path(pattern) / "secret/key", server->secret_key_);
  fs::create_directories(fs::path(pattern) / "data");
  Status status = Ok();
  for (int attempt = 0; attempt < 3; ++attempt) {
    server->port_ = FreePort();
    status = server->Launch();
    if (status) return server;
    server->Stop();
  }
  return Fail(status.error());
}

MinioServer::~MinioServer() {
  Stop();
  std::error_code ignored;
  if (!directory_.empty()) fs::remove_all(directory_, ignored);
}

Status MinioServer::Launch() {
  const std::vector<std::string> args = {binary_,
                                         "server",
                                         "--quiet",
                                         "--address",
                                         fmt::format("127.0.0.1:{}", port_),
                                         "--console-address",
                                         fmt::format("127.0.0.1:{}", FreePort()),
                                         directory_ + "/data"};
  const std::vector<std::string> environment = {"MINIO_ROOT_USER=" + access_key_,
                                                "MINIO_ROOT_PASSWORD=" + secret_key_,
                                                "MINIO_CI_CD=1",
                                                "MINIO_BROWSER=off",
                                                "MINIO_UPDATE=off",
                                                "HOME=" + directory_,
                                                "PATH=/usr/bin:/bin"};
  const std::string log = directory_ + "/log";
  pid_ = ::fork();
  if (pid_ < 0) return Fail(Code::kInternal, "fork MinIO");
  if (pid_ == 0) Exec(binary_, args, environment, log);
  return WaitUntilReady();
}

Status MinioServer::WaitUntilReady() {
  const auto deadline = Clock::now() + kReadyWithin;
  while (Clock::now() < deadline) {
    // Its own health check says "ready" before requests are accepted.
    if (Send("GET", "", "", "")) return Ok();
    int ended = 0;
    if (::waitpid(pid_, &ended, WNOHANG) == pid_) {
      pid_ = -1;
      return Fail(Code::kUnavailable, "MinIO ended at once; see " + directory_ + "/log");
    }
    std::this_thread::sleep_for(kPause);
  }
  return Fail(Code::kDeadlineExceeded, "MinIO is not ready after 30 s");
}

void MinioServer::Stop() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGTERM);
  const auto deadline = Clock::now() + kEndWithin;
  while (::waitpid(pid_, nullptr, WNOHANG) == 0) {
    if (Clock::now() >= deadline) ::kill(pid_, SIGKILL);
    std::this_thread::sleep_for(kPause);
  }
  pid_ = -1;
}

Status MinioServer::Restart() {
  Stop();
  return Launch();
}

Status MinioServer::Send(const std::string& method, const std::string& bucket,
                         const std::string& key, std::string_view body) {
  const std::string host = fmt::format("127.0.0.1:{}", port_);
  const std::string path = "/" + bucket + (key.empty() ? "" : "/" + origin::UriEncode(key, true));
  origin::SigV4 signer("us-east-1");
  const origin::Headers headers = signer.Sign({.method = method,
                                               .host = host,
                                               .path = path,
                                               .query = nullptr,
                                               .payload_hash = "UNSIGNED-PAYLOAD",
                                               .headers = nullptr},
                                              {access_key_, platform::Secret(secret_key_), {}},
                                              std::chrono::system_clock::now());
  const Reply reply = Perform(method, "http://" + host + path, headers, body);
  if (reply.status >= 200 && reply.status < 300) return Ok();
  return Fail(Code::kUnavailable,
              fmt::format("{} {}: HTTP {}: {}", method, path, reply.status, reply.text));
}

std::size_t MinioServer::UnfinishedUploads() const {
  std::size_t count = 0;
  std::error_code error;
  const fs::path uploads = fs::path(directory_) / "data/.minio.sys/multipart";
  for (const auto& object : fs::directory_iterator(uploads, error)) {
    for (const auto& upload : fs::directory_iterator(object.path(), error)) {
      if (upload.is_directory(error)) ++count;
    }
  }
  return count;
}

Result<std::string> MinioServer::AssumeRole(const std::string& policy) {
  const std::string host = fmt::format("127.0.0.1:{}", port_);
  std::string form = "Action=AssumeRole&Version=2011-06-15&DurationSeconds=900";
  if (!policy.empty()) form += "&Policy=" + origin::UriEncode(policy, false);
  origin::SigV4 signer("us-east-1", "sts");
  const origin::Headers headers = signer.Sign({.method = "POST",
                                               .host = host,
                                               .path = "/",
                                               .query = nullptr,
                                               .payload_hash = origin::Sha256Hex(form),
                                               .headers = nullptr},
                                              {access_key_, platform::Secret(secret_key_), {}},
                                              std::chrono::system_clock::now());
  Reply reply = Perform("POST", "http://" + host + "/", headers, form);
  if (reply.status != 200) {
    return Fail(Code::kUnavailable,
                fmt::format("AssumeRole: HTTP {}: {}", reply.status, reply.text));
  }
  const std::string given = "AssumeRoleRes";  // …Response, …Result
  for (std::size_t at = 0; (at = reply.text.find(given, at)) != std::string::npos;) {
    reply.text.replace(at, given.size(), "AssumeRoleWithWebIdentityRes");
  }
  return std::move(reply.text);
}

Status MinioServer::MakeBucket(const std::string& bucket) { return Send("PUT", bucket, "", ""); }

Status MinioServer::Put(const std::string& bucket, const std::string& key, std::string_view bytes) {
  return Send("PUT", bucket, key, bytes);
}

Status MinioServer::Delete(const std::string& bucket, const std::string& key) {
  return Send("DELETE", bucket, key, "");
}

MountConfig MinioServer::Mount(const std::string& mount_point) const {
  MountConfig mount;
  mount.mount_point = mount_point;
  mount.path = "/";
  mount.options = {{"endpoint", Endpoint()}};
  mount.secret_files = {{"accessKeyId", directory_ + "/secret/id"},
                        {"secretAccessKey", directory_ + "/secret/key"}};
  return mount;
}

std::string MinioServer::Endpoint() const { return fmt::format("http://127.0.0.1:{}", port_); }

}  // namespace sluice::test
