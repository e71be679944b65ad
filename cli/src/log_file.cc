#include "log_file.h"

#include <filesystem>
#include <fstream>
#include <system_error>

#include <nlohmann/json.hpp>

#include "sluice/core/resource.h"
#include "sluice/core/timestamp.h"

namespace sluice::cli {

namespace fs = std::filesystem;

void BoundLog(const std::string& directory, std::uintmax_t max_bytes) {
  const fs::path log = fs::path(directory) / "log";
  std::error_code error;
  const std::uintmax_t size = fs::file_size(log, error);
  if (error || size <= max_bytes) return;
  fs::copy_file(log, fs::path(directory) / "log.1", fs::copy_options::overwrite_existing, error);
  // Even when there is no room for the copy: that is what the bound is for.
  fs::resize_file(log, 0, error);
}

std::string LastClientError(const std::string& directory,
                            std::chrono::system_clock::time_point since) {
  const std::string earliest = FormatTime(since);  // sorts as the times do
  std::string last;
  for (const char* const name : {"log.1", "log"}) {
    std::ifstream log(fs::path(directory) / name);
    for (std::string line; std::getline(log, line);) {
      const Json entry = Json::parse(line, nullptr, /*allow_exceptions=*/false);
      if (StringAt(entry, "/component") != "sluice-fuse") continue;
      if (StringAt(entry, "/level") != "error" || StringAt(entry, "/time") < earliest) continue;
      last = StringAt(entry, "/message");
      if (const std::string error = StringAt(entry, "/error"); !error.empty()) last += ": " + error;
    }
  }
  return last;
}

}  // namespace sluice::cli
