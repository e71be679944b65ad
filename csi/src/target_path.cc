#include "sluice/csi/target_path.h"

#include <algorithm>
#include <vector>

#include <fmt/format.h>

namespace sluice::csi {
namespace {

constexpr std::size_t kMaxPathLength = 4095;

bool IsControl(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }

Status CheckText(std::string_view path, std::string_view field) {
  if (path.size() > kMaxPathLength) {
    return Fail(Code::kInvalidArgument,
                fmt::format("{}: longer than {} bytes", field, kMaxPathLength));
  }
  if (std::any_of(path.begin(), path.end(), IsControl)) {
    return Fail(Code::kInvalidArgument, fmt::format("{}: control character in the path", field));
  }
  return Ok();
}

std::vector<std::string_view> Components(std::string_view path) {
  std::vector<std::string_view> parts;
  while (!path.empty()) {
    const std::size_t end = std::min(path.find('/'), path.size());
    if (end > 0) parts.push_back(path.substr(0, end));
    path.remove_prefix(std::min(end + 1, path.size()));
  }
  return parts;
}

}  // namespace

Result<std::string> CleanAbsolutePath(std::string_view path, std::string_view field) {
  SLUICE_CHECK(CheckText(path, field), "path");
  if (path.empty() || path.front() != '/') {
    return Fail(Code::kInvalidArgument, fmt::format("{}: \"{}\" is not absolute", field, path));
  }
  std::string clean;
  for (std::string_view part : Components(path)) {
    if (part == "." || part == "..") {
      return Fail(Code::kInvalidArgument,
                  fmt::format("{}: \"{}\" has a \"{}\" component", field, path, part));
    }
    clean.append("/").append(part);
  }
  return clean.empty() ? "/" : clean;
}

Result<std::string> CleanSubPath(std::string_view path, std::string_view field) {
  SLUICE_CHECK(CheckText(path, field), "path");
  std::string clean;
  for (std::string_view part : Components(path)) {
    if (part == ".") continue;
    if (part == "..") {
      return Fail(Code::kInvalidArgument,
                  fmt::format("{}: \"{}\" has a \"..\" component", field, path));
    }
    if (!clean.empty()) clean += '/';
    clean += part;
  }
  return clean;
}

bool IsBelow(std::string_view path, std::string_view root) {
  if (root == "/") return path.size() > 1 && path.front() == '/';
  return path.size() > root.size() + 1 && path.starts_with(root) && path[root.size()] == '/';
}

Result<TargetPath> ParseTargetPath(std::string_view path, std::string_view kubelet_root) {
  SLUICE_TRY(clean, CleanAbsolutePath(path, "target_path"), "publish target");
  const std::string pods = fmt::format("{}/pods", kubelet_root);
  std::vector<std::string_view> below;
  if (IsBelow(clean, pods)) below = Components(std::string_view(clean).substr(pods.size()));
  if (below.size() < 2) {
    return Fail(Code::kInvalidArgument,
                fmt::format("target_path: \"{}\" is not below {}/<pod uid>", clean, pods));
  }
  TargetPath target{.path = clean, .pod_uid = std::string(below[0]), .volume_name = ""};
  if (below.size() == 5 && below[1] == "volumes" && below[2] == "kubernetes.io~csi") {
    target.volume_name = below[3];
  }
  return target;
}

}  // namespace sluice::csi
