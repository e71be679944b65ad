#include "sluice/csi/state_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <system_error>

#include <fmt/format.h>

#include "sluice/core/names.h"
#include "sluice/platform/unique_fd.h"

namespace sluice::csi {
namespace {

constexpr std::string_view kSuffix = ".json";

tl::unexpected<Error> SystemError(std::string_view what, const std::string& path) {
  return Fail(Code::kInternal,
              fmt::format("{} {}: {}", what, path,
                          std::error_code(errno, std::generic_category()).message()));
}

Status WriteWhole(int fd, const std::string& text, const std::string& path) {
  std::size_t written = 0;
  while (written < text.size()) {
    const ssize_t n = ::write(fd, text.data() + written, text.size() - written);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return SystemError("write", path);
    written += static_cast<std::size_t>(n);
  }
  return Ok();
}

}  // namespace

std::string StateFiles::FileOf(const std::string& key) const {
  return fmt::format("{}/{}{}", directory_, names::BrokerDirectory(key), kSuffix);
}

Status StateFiles::Open() {
  std::error_code error;
  std::filesystem::create_directories(directory_, error);
  if (error) {
    return Fail(Code::kInternal, fmt::format("create {}: {}", directory_, error.message()));
  }
  if (::chmod(directory_.c_str(), 0700) != 0) return SystemError("chmod", directory_);
  return Ok();
}

Status StateFiles::Save(const std::string& key, const Json& json) {
  const std::string path = FileOf(key);
  const std::string draft = path + ".new";
  {
    platform::UniqueFd fd(::open(draft.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    if (!fd.Valid()) return SystemError("create", draft);
    SLUICE_CHECK(
        WriteWhole(fd.Get(), json.dump(-1, ' ', false, Json::error_handler_t::replace), draft),
        "mount state");
  }
  if (::rename(draft.c_str(), path.c_str()) != 0) return SystemError("rename", draft);
  return Ok();
}

Status StateFiles::Remove(const std::string& key) {
  const std::string path = FileOf(key);
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return SystemError("remove", path);
  return Ok();
}

Result<StateFiles::Loaded> StateFiles::LoadAll() {
  Loaded loaded;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(directory_, error)) {
    if (entry.path().extension() != kSuffix) continue;
    std::ifstream file(entry.path());
    std::ostringstream text;
    text << file.rdbuf();
    Json json = Json::parse(text.str(), nullptr, /*allow_exceptions=*/false);
    if (json.is_discarded()) {
      loaded.damaged.push_back(entry.path().string());
    } else {
      loaded.documents.push_back(std::move(json));
    }
  }
  if (error) {
    return Fail(Code::kInternal, fmt::format("list {}: {}", directory_, error.message()));
  }
  return loaded;
}

}  // namespace sluice::csi
