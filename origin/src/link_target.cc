#include "link_target.h"

#include <algorithm>

namespace sluice::origin {
namespace {

// Calls `visit` with each component that is not empty, until it returns false.
template <typename F>
bool ForEachComponent(std::string_view path, F&& visit) {
  while (!path.empty()) {
    const std::size_t slash = std::min(path.find('/'), path.size());
    const std::string_view part = path.substr(0, slash);
    if (!part.empty() && !visit(part)) return false;
    path.remove_prefix(std::min(slash + 1, path.size()));
  }
  return true;
}

}  // namespace

std::optional<std::string> PlainTarget(std::string_view path, std::string_view target) {
  if (target.empty() || target.front() == '/') return std::nullopt;
  auto above = std::ranges::count(path, '/');  // directories of the tree that ".." may leave
  bool named = false;
  const bool plain = ForEachComponent(target, [&](std::string_view part) {
    if (part == ".") return true;
    if (part != "..") return named = true;
    return !named && --above >= 0;
  });
  return plain ? std::optional(std::string(target)) : std::nullopt;
}

std::string RelativeTarget(std::string_view path, std::string_view to) {
  // Directories that both are in need not be left.
  std::size_t same = 0;
  for (std::size_t i = 0; i < path.size() && i < to.size() && path[i] == to[i]; ++i) {
    if (path[i] == '/') same = i + 1;
  }
  std::string target;
  for (auto up = std::ranges::count(path.substr(same), '/'); up > 0; --up) target += "../";
  target += to.substr(same);
  if (target.ends_with('/')) target.pop_back();
  return target.empty() ? "." : target;
}

std::optional<std::string_view> BelowRoot(std::string_view absolute, std::string_view root) {
  while (root.ends_with('/')) root.remove_suffix(1);
  if (!absolute.starts_with('/') || !absolute.starts_with(root)) return std::nullopt;
  absolute.remove_prefix(root.size());
  if (!absolute.empty() && absolute.front() != '/') return std::nullopt;
  while (absolute.starts_with('/')) absolute.remove_prefix(1);
  return absolute;
}

}  // namespace sluice::origin
