// A directory of a test's own, with a volume in it.
#pragma once

#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace sluice::test {

class Scratch {
 public:
  Scratch() {
    std::string path = std::filesystem::temp_directory_path() / "prefetch.XXXXXX";
    root_ = ::mkdtemp(path.data());
    std::filesystem::create_directories(Data() + "/v");
    std::filesystem::create_directories(StatusDirectory());
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() {
    std::error_code ignored;
    std::filesystem::remove_all(root_, ignored);
  }

  [[nodiscard]] std::string Path(const std::string& name) const { return root_ / name; }
  [[nodiscard]] std::string Data() const { return Path("data"); }
  [[nodiscard]] std::string StatusDirectory() const { return Path("status"); }
  [[nodiscard]] std::string InVolume(const std::string& path) const {
    return Data() + "/v/" + path;
  }

  // A file of the volume `v`, with its directories.
  void Put(const std::string& path, std::size_t bytes) const {
    std::filesystem::create_directories(std::filesystem::path(InVolume(path)).parent_path());
    std::ofstream(InVolume(path), std::ios::binary) << std::string(bytes, 'x');
  }

  static std::string Read(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

 private:
  std::filesystem::path root_;
};

}  // namespace sluice::test
