#include "sluice/platform/mount.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <iterator>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "sluice/core/quantity.h"
#include "sluice/platform/read_file.h"

#include "credentials.h"
#include "keeper.h"
#include "mount_request.h"
#include "runtime_directory.h"
#include "verbs.h"

namespace sluice::cli {
namespace {

constexpr std::size_t kMaxToken = 16U << 10;

struct MountArguments {
  MountRequest request;
  std::string path;
  std::string cache_size;
  std::string memory;
  std::string credentials_file;
  std::string owner;
  std::string file_mode;
  std::string directory_mode;
  std::string profile = "default";
  bool foreground = false;
};

std::optional<std::string> Environ(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? std::nullopt : std::optional<std::string>(value);
}

const char* NextStep(Code code) {
  switch (code) {
    case Code::kPermissionDenied:
      return "check the credentials: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
             "--credentials-file, --credentials, or --token-file for the web";
    case Code::kNotFound:
      return "check the bucket's name and --endpoint, or the directory or URL";
    case Code::kUnavailable:
    case Code::kDeadlineExceeded:
      return "check --endpoint and that the server is up; --start-timeout waits longer";
    case Code::kInvalidArgument:
      return "sluice mount --help shows examples";
    case Code::kAlreadyExists:
      return "sluice status lists the mounts, sluice umount ends one";
    case Code::kConflict:
    case Code::kInternal:
      break;
  }
  return "";
}

Result<Credentials> FindCredentials(const MountArguments& arguments) {
  if (arguments.credentials_file.empty()) {
    // Keys that happen to be exported are not what was asked for.
    const std::string& kind = arguments.request.credentials;
    if (!kind.empty() && kind != "keys") return Credentials{};
    return CredentialsFromEnvironment(Environ);
  }
  std::ifstream file(arguments.credentials_file);
  if (!file) {
    return Fail(Code::kInvalidArgument,
                fmt::format("{}: {}", arguments.credentials_file, std::strerror(errno)));
  }
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  return ParseCredentialsFile(text, arguments.profile);
}

// The files that tell holder and client are JSON, which has no other text.
Status CheckText(const std::string& text, const char* what) {
  const std::string json = Json(text).dump(-1, ' ', false, Json::error_handler_t::ignore);
  if (Json::parse(json).get_ref<const std::string&>() == text) return Ok();
  return Fail(Code::kInvalidArgument, fmt::format("{} is not UTF-8", what));
}

Result<std::uint32_t> IdOf(std::string_view text) {
  std::uint32_t id = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
  if (error != std::errc() || end != text.data() + text.size() || id == UINT32_MAX) {
    return Fail(Code::kInvalidArgument,
                fmt::format("\"{}\" is no numeric id; write UID or UID:GID, as 1000:1000", text));
  }
  return id;
}

Status CompleteAppearance(const MountArguments& arguments, Appearance& appearance) {
  if (!arguments.owner.empty()) {
    const std::string_view owner = arguments.owner;
    const std::size_t colon = owner.find(':');
    SLUICE_TRY(uid, IdOf(owner.substr(0, colon)), "--owner");
    appearance.uid = appearance.gid = uid;
    if (colon != std::string_view::npos) {
      SLUICE_TRY(gid, IdOf(owner.substr(colon + 1)), "--owner");
      appearance.gid = gid;
    }
  }
  if (!arguments.file_mode.empty()) {
    SLUICE_TRY(mode, ParseMode(arguments.file_mode), "--file-mode");
    appearance.file_mode = mode;
  }
  if (!arguments.directory_mode.empty()) {
    SLUICE_TRY(mode, ParseMode(arguments.directory_mode), "--directory-mode");
    appearance.directory_mode = mode;
  }
  return Ok();
}

Status CompleteRequest(MountArguments& arguments) {
  MountRequest& request = arguments.request;
  if (auto status = CompleteAppearance(arguments, request.appearance); !status) return status;
  if (!arguments.cache_size.empty()) {
    SLUICE_TRY(bytes, ParseBytes(arguments.cache_size), "--cache-size");
    request.cache_bytes = bytes;
  }
  if (!arguments.memory.empty()) {
    SLUICE_TRY(bytes, ParseBytes(arguments.memory), "--memory");
    request.memory_bytes = bytes;
  }
  if (!request.cache_directory.empty()) {
    request.cache_directory = std::filesystem::absolute(request.cache_directory);
  }
  for (std::string* const file : {&request.pool_members, &request.pool_credentials,
                                  &request.pool_tls, &request.pool_key, &request.token_file}) {
    if (!file->empty()) *file = std::filesystem::absolute(*file);
  }
  if (!request.token_file.empty()) {
    SLUICE_CHECK(platform::ReadFile(request.token_file, kMaxToken), "--token-file");
  }
  SLUICE_TRY(path, CanonicalMountPath(arguments.path), "mount");
  request.path = std::move(path);
  SLUICE_CHECK(CheckText(request.origin, "the origin"), "mount");
  SLUICE_CHECK(CheckText(request.path, "the path"), "mount");
  SLUICE_CHECK(CheckText(request.cache_directory, "--cache-dir"), "mount");
  SLUICE_CHECK(CheckText(request.pool_members, "--pool"), "mount");
  SLUICE_CHECK(CheckText(request.pool_credentials, "--pool-credentials"), "mount");
  SLUICE_CHECK(CheckText(request.pool_tls, "--pool-tls"), "mount");
  SLUICE_CHECK(CheckText(request.pool_key, "--pool-key"), "mount");
  SLUICE_CHECK(CheckText(request.pool_domain, "--pool-tls-domain"), "mount");
  SLUICE_CHECK(CheckText(request.endpoint, "--endpoint"), "mount");
  SLUICE_CHECK(CheckText(request.token_file, "--token-file"), "mount");
  SLUICE_CHECK(CheckText(request.region, "--region"), "mount");
  SLUICE_CHECK(CheckText(request.metrics, "--metrics"), "mount");
  return Ok();
}

// What would make the mount fail or hide something, before anything is touched.
Status CheckPlace(const std::string& path, const std::string& directory) {
  if (const auto present = platform::FindMount(path); present) {
    return Fail(Code::kAlreadyExists, fmt::format("{} is mounted already ({} {}); choose another "
                                                  "directory",
                                                  path, present->fs_type, present->source));
  }
  struct stat info = {};
  if (::lstat(path.c_str(), &info) != 0 || !S_ISDIR(info.st_mode)) {
    return Fail(Code::kInvalidArgument,
                fmt::format("{} is not a directory; mkdir -p '{}' makes it", path, path));
  }
  const auto record = ReadRecord(directory);
  if (record && ProcessLives(record->holder_pid)) {
    return Fail(Code::kAlreadyExists,
                fmt::format("{} is served by process {}", path, record->holder_pid));
  }
  return Ok();
}

// The result of the mount as one line of JSON, on the descriptor the holder was given.
Status ParseReport(const std::string& line) {
  const Json report = Json::parse(line, nullptr, false);
  if (!report.is_object()) return Fail(Code::kInternal, "the holder process ended early");
  if (report.value("ok", false)) return Ok();
  return Fail(static_cast<Code>(report.value("code", static_cast<int>(Code::kInternal))),
              report.value("error", "unknown"));
}

// The four descriptors that the holder starts with, wherever they are now: a caller may have closed
// its standard ones, so that ours came to lie in their places.
void ArrangeDescriptors(int null, int log, int report) {
  std::array<int, 4> wanted = {null, log, log, report};
  for (int& fd : wanted) fd = ::fcntl(fd, F_DUPFD, static_cast<int>(wanted.size()));
  for (std::size_t i = 0; i < wanted.size(); ++i) ::dup2(wanted[i], static_cast<int>(i));
  ::close_range(static_cast<unsigned>(wanted.size()), ~0U, 0);
}

[[noreturn]] void BecomeHolder(const std::string& directory, int report) {
  ::setsid();
  const int log = ::open((directory + "/log").c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  const int null = ::open("/dev/null", O_RDONLY);
  ArrangeDescriptors(null, log, report);
  if (::chdir("/") != 0) ::_exit(1);
  // The credentials are in files now.
  for (const char* const name :
       {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"}) {
    ::unsetenv(name);
  }
  ::execl("/proc/self/exe", "sluice", "holder", directory.c_str(), "--report-fd=3", nullptr);
  ::_exit(1);
}

Status StartHolder(const std::string& directory) {
  int ends[2] = {-1, -1};
  if (::pipe2(ends, O_CLOEXEC) != 0) return Fail(Code::kInternal, std::strerror(errno));
  platform::UniqueFd from(ends[0]);
  platform::UniqueFd to(ends[1]);
  const pid_t child = ::fork();
  if (child < 0) return Fail(Code::kInternal, std::strerror(errno));
  if (child == 0) BecomeHolder(directory, to.Get());
  to.Reset();
  std::string line;
  char buffer[4096];
  while (true) {
    const ssize_t n = ::read(from.Get(), buffer, sizeof(buffer));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    line.append(buffer, static_cast<std::size_t>(n));
  }
  return ParseReport(line);
}

Status Mount(MountArguments& arguments) {
  if (::geteuid() != 0) return Fail(Code::kInternal, "mounting takes root; run it with sudo");
  SLUICE_CHECK(CompleteRequest(arguments), "mount");
  const MountRequest& request = arguments.request;
  SLUICE_TRY(credentials, FindCredentials(arguments), "mount");
  SLUICE_TRY(runtime, RuntimeDirectory(), "mount");
  const std::string directory = MountDirectory(runtime, request.path);
  SLUICE_CHECK(MakeConfig(request, false, false, ""), "mount");
  SLUICE_CHECK(CheckPlace(request.path, directory), "mount");
  SLUICE_CHECK(CheckDirectories(request), "mount");
  SLUICE_CHECK(PrepareDirectory(request, credentials, directory), "mount");
  const auto announce = [&](const Status& status) {
    if (status) {
      std::cout << fmt::format("{} is mounted at {}\n", request.origin, request.path) << std::flush;
    }
  };
  if (arguments.foreground) return KeepMount(directory, announce);
  const Status started = StartHolder(directory);
  announce(started);
  return started;
}

}  // namespace

void AddMount(CLI::App& app, int& exit_status) {
  auto arguments = std::make_shared<MountArguments>();
  MountRequest& request = arguments->request;
  CLI::App* const verb = app.add_subcommand("mount", "Mount a bucket, directory or web server");
  verb->footer(
      "Credentials come from AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, or "
      "from\n"
      "--credentials-file, those of http, https and hf from --token-file; without any, access is\n"
      "anonymous.\n\n"
      "Examples:\n"
      "  sluice mount s3://models/llama /mnt/llama --cache-dir /var/cache/sluice\n"
      "  sluice mount s3://models /mnt/m --endpoint http://127.0.0.1:9000 --path-style\n"
      "  sluice mount https://host/datasets/ /mnt/d --token-file ~/token\n"
      "  sluice mount hf://organisation/model@main /mnt/model\n"
      "  sluice mount file:///data /mnt/data --foreground\n");
  verb->add_option("origin", request.origin,
                   "s3://bucket/prefix, oss://…, https://host/directory/, hf://organisation/name, "
                   "file:///directory")
      ->required();
  verb->add_option("path", arguments->path, "Existing directory to mount on")->required();
  verb->add_option("--cache-dir", request.cache_directory, "Keep what was read in this directory");
  verb->add_option("--cache-size", arguments->cache_size, "Its limit, as 10Gi (default: the disk)");
  verb->add_option(
          "--pin", request.pinned,
          "Never evict this path or pattern from it, as '**/tokenizer.json'; may be repeated")
      ->needs("--cache-dir")
      ->allow_extra_args(false);
  verb->add_option("--memory", arguments->memory, "Memory for buffers (default 256Mi)");
  verb->add_option("--pool", request.pool_members,
                   "Share what is read through the cache workers that this file lists")
      ->check(CLI::ExistingFile);
  verb->add_option("--pool-credentials", request.pool_credentials,
                   "File with user:password of the workers")
      ->needs("--pool")
      ->check(CLI::ExistingFile);
  verb->add_option("--pool-tls", request.pool_tls,
                   "Speak TLS with the workers by ca.crt, tls.crt and tls.key of this directory")
      ->needs("--pool")
      ->check(CLI::ExistingDirectory);
  verb->add_option("--pool-tls-domain", request.pool_domain,
                   "What follows a worker's name and a dot in its certificate")
      ->needs("--pool-tls");
  verb->add_option("--pool-key", request.pool_key,
                   "Encrypt what workers get with this file's 64 hexadecimal digits")
      ->needs("--pool")
      ->check(CLI::ExistingFile);
  verb->add_option("--owner", arguments->owner,
                   "UID or UID:GID that the files belong to (default 0:0)");
  verb->add_option("--file-mode", arguments->file_mode, "Their permissions (default 0444)");
  verb->add_option("--directory-mode", arguments->directory_mode,
                   "Those of directories (default 0555)");
  verb->add_flag_callback(
      "--no-passthrough", [&request] { request.passthrough = false; },
      "Read complete files through the client too");
  verb->add_flag("--read-write", request.read_write,
                 "New files can be made; they are at the origin when they are closed");
  verb->add_flag("--foreground", arguments->foreground, "Stay until Ctrl-C, then unmount");
  verb->add_option("--endpoint", request.endpoint, "URL of the S3 server, or of the Hub");
  verb->add_option("--region", request.region, "Region of the bucket");
  verb->add_flag("--path-style", request.path_style,
                 "http://server/bucket instead of bucket.server");
  verb->add_option("--credentials", request.credentials,
                   "Where they come from: keys, anonymous, web-identity, container, instance");
  verb->add_flag("--requester-pays", request.requester_pays,
                 "Pay for the requests to a bucket that asks for it");
  verb->add_option("--bandwidth", request.bandwidth,
                   "Read no more from the origin than so many bytes a second, as 200Mi");
  verb->add_option("--max-connections", request.max_connections,
                   "Requests to the origin at once (default 16)");
  verb->add_flag_callback(
      "--no-hedge", [&request] { request.hedge = false; },
      "Ask the origin once only, however late its answer is");
  verb->add_option("--metrics", request.metrics, "Also serve /metrics here, as 127.0.0.1:9568");
  verb->add_option("--credentials-file", arguments->credentials_file, "AWS credentials file");
  verb->add_option("--token-file", request.token_file,
                   "File with a bearer token for http, https and hf; read again when refused");
  verb->add_option("--profile", arguments->profile, "Its profile (default: default)");
  verb->add_option("--start-timeout", request.start_timeout_seconds,
                   "Seconds to wait for the origin (default 60)")
      ->check(CLI::Range(1U, 86'400U));
  verb->add_option("--refresh", request.refresh_seconds,
                   "Seconds between two listings; 0: list once (default 60)");
  verb->callback([arguments, &exit_status] {
    const Status mounted = Mount(*arguments);
    exit_status = mounted ? kOk : Report(mounted.error(), NextStep(mounted.error().code));
  });
}

}  // namespace sluice::cli
