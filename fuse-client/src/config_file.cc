#include "config_file.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace sluice::fuse_client {
namespace {

constexpr std::size_t kMaxConfigBytes = 4U << 20;

Result<Json> ReadJson(const std::string& path) {
  std::ifstream file(path);
  if (!file) {
    const Code code = errno == EACCES ? Code::kPermissionDenied : Code::kNotFound;
    return Fail(code, fmt::format("{}: {}", path, std::strerror(errno)));
  }
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  Json document = Json::parse(text.size() > kMaxConfigBytes ? "" : text, nullptr, false);
  if (!document.is_object()) {
    return Fail(Code::kInvalidArgument, fmt::format("{}: must be a JSON object", path));
  }
  return document;
}

}  // namespace

Result<FuseConfig> LoadConfig(const Options& options) {
  Json document;
  std::string name = options.config_file;
  if (!options.config_file.empty()) {
    SLUICE_TRY(read, ReadJson(options.config_file), "configuration");
    document = std::move(read);
  } else {
    Json mount = Json::object({{"mountPoint", options.origin}, {"name", "data"}, {"path", "/"}});
    document = Json::object();
    if (!options.options_file.empty()) {
      name = options.options_file;
      SLUICE_TRY(read, ReadJson(options.options_file), "options");
      for (const char* key : {"options", "secretFiles"}) {
        if (read.contains(key)) mount[key] = read[key];
      }
      if (read.contains("cache")) document["cache"] = read["cache"];
    }
    document["mounts"] = Json::array({std::move(mount)});
  }
  SLUICE_TRY(config, ParseFuseConfig(document), name);
  return config;
}

}  // namespace sluice::fuse_client
