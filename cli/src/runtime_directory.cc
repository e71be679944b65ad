#include "runtime_directory.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "sluice/core/names.h"
#include "sluice/platform/mount.h"
#include "sluice/platform/unique_fd.h"

namespace sluice::cli {
namespace {

namespace fs = std::filesystem;

constexpr const char* kRecordFile = "/state.json";

Error Errno(const std::string& what) {
  const Code code = errno == EACCES || errno == EPERM ? Code::kPermissionDenied : Code::kInternal;
  return {code, fmt::format("{}: {}", what, std::strerror(errno))};
}

}  // namespace

Json ToJson(const MountRecord& record) {
  return Json::object({{"path", record.path},
                       {"origin", record.origin},
                       {"state", record.state},
                       {"error", record.error},
                       {"holderPid", record.holder_pid},
                       {"clientPid", record.client_pid},
                       {"device", record.device},
                       {"restarts", record.restarts},
                       {"passthrough", record.passthrough}});
}

Result<MountRecord> ParseMountRecord(const Json& document) {
  if (!document.is_object() || !document.contains("path") || !document["path"].is_string()) {
    return Fail(Code::kInvalidArgument, "not a mount record");
  }
  const auto text = [&](const char* key) {
    const auto found = document.find(key);
    return found != document.end() && found->is_string() ? found->get<std::string>() : "";
  };
  const auto number = [&](const char* key) -> std::int64_t {
    const auto found = document.find(key);
    return found != document.end() && found->is_number_integer() ? found->get<std::int64_t>() : 0;
  };
  MountRecord record;
  record.path = text("path");
  record.origin = text("origin");
  record.state = text("state");
  record.error = text("error");
  record.holder_pid = static_cast<pid_t>(number("holderPid"));
  record.client_pid = static_cast<pid_t>(number("clientPid"));
  record.device = static_cast<std::uint32_t>(number("device"));
  record.restarts = static_cast<std::uint64_t>(number("restarts"));
  record.passthrough = document.value("/passthrough"_json_pointer, Json(true)) == Json(true);
  return record;
}

Result<std::string> RuntimeDirectory() {
  const char* const chosen = std::getenv("SLUICE_RUN_DIR");
  if (chosen == nullptr && ::geteuid() != 0) {
    return Fail(Code::kPermissionDenied, "the mounts of this machine are root's; run it with sudo");
  }
  const std::string directory = chosen != nullptr && chosen[0] == '/' ? chosen : "/run/sluice";
  if (::mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST) {
    return Fail(Errno("create " + directory));
  }
  struct stat info = {};
  if (::lstat(directory.c_str(), &info) != 0) return Fail(Errno(directory));
  if (!S_ISDIR(info.st_mode) || info.st_uid != ::geteuid() || (info.st_mode & 0077) != 0) {
    return Fail(Code::kPermissionDenied,
                fmt::format("{} must be a directory of this user with mode 0700", directory));
  }
  return directory;
}

std::string MountDirectory(const std::string& runtime, const std::string& path) {
  return runtime + "/" + names::BrokerDirectory(path);
}

Status WritePrivateFile(const std::string& path, const std::string& content) {
  const std::string temporary = path + ".new";
  platform::UniqueFd file(
      ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file.Valid()) return Fail(Errno("create " + temporary));
  if (::write(file.Get(), content.data(), content.size()) != static_cast<ssize_t>(content.size())) {
    return Fail(Errno("write " + temporary));
  }
  file.Reset();
  if (::rename(temporary.c_str(), path.c_str()) != 0) return Fail(Errno("rename to " + path));
  return Ok();
}

Status WriteRecord(const std::string& directory, const MountRecord& record) {
  return WritePrivateFile(
      directory + kRecordFile,
      ToJson(record).dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
}

Result<MountRecord> ReadRecord(const std::string& directory) {
  std::ifstream file(directory + kRecordFile);
  if (!file) return Fail(Code::kNotFound, "no record in " + directory);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  return ParseMountRecord(Json::parse(text, nullptr, false));
}

std::vector<KnownMount> KnownMounts(const std::string& runtime) {
  std::vector<KnownMount> mounts;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(runtime, error)) {
    if (auto record = ReadRecord(entry.path())) mounts.push_back({entry.path(), *record});
  }
  std::ranges::sort(mounts, {}, [](const KnownMount& mount) { return mount.record.path; });
  return mounts;
}

bool IsMounted(const MountRecord& record) {
  const auto table = platform::MountTable();
  // Unreadable: nothing is concluded.
  return !table || std::ranges::any_of(*table, [&](const platform::MountEntry& entry) {
    return entry.mount_point == record.path && entry.minor == record.device &&
           entry.fs_type == "fuse.sluice";
  });
}

bool ProcessLives(pid_t pid) { return pid > 0 && (::kill(pid, 0) == 0 || errno == EPERM); }

Result<std::string> CanonicalMountPath(const std::string& path) {
  std::error_code error;
  fs::path absolute = fs::absolute(path, error).lexically_normal();
  if (!absolute.has_filename()) absolute = absolute.parent_path();
  if (path.empty() || error || absolute == absolute.root_path()) {
    return Fail(Code::kInvalidArgument, fmt::format("'{}' is no place for a mount", path));
  }
  const fs::path parent = fs::canonical(absolute.parent_path(), error);
  if (error) {
    return Fail(Code::kNotFound,
                fmt::format("{}: {}", absolute.parent_path().string(), error.message()));
  }
  return (parent / absolute.filename()).string();
}

}  // namespace sluice::cli
