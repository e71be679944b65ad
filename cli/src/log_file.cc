#include "log_file.h"

#include <filesystem>
#include <system_error>

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

}  // namespace sluice::cli
