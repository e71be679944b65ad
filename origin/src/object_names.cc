#include "object_names.h"

#include <algorithm>

#include <fmt/format.h>

namespace sluice::origin {
namespace {

constexpr std::size_t kMaxComponent = 255;

bool ByPath(const OriginObject& a, const OriginObject& b) { return a.path < b.path; }

void Sort(std::vector<OriginObject>& objects) {
  if (!std::is_sorted(objects.begin(), objects.end(), ByPath)) {
    std::stable_sort(objects.begin(), objects.end(), ByPath);
  }
}

// Indices of objects that other objects have as a directory. `objects` is sorted.
std::vector<std::size_t> FilesThatAreDirectories(const std::vector<OriginObject>& objects) {
  std::vector<std::size_t> found;
  std::string_view previous;
  for (const OriginObject& object : objects) {
    const std::string_view path = object.path;
    // Directories that the previous path had too were looked up then.
    const auto same = static_cast<std::size_t>(
        std::mismatch(path.begin(), path.end(), previous.begin(), previous.end()).first -
        path.begin());
    for (std::size_t slash = path.find('/', same); slash != std::string_view::npos;
         slash = path.find('/', slash + 1)) {
      const std::string_view directory = path.substr(0, slash);
      const auto at = std::lower_bound(
          objects.begin(), objects.end(), directory,
          [](const OriginObject& o, std::string_view wanted) { return o.path < wanted; });
      if (at != objects.end() && at->path == directory) {
        found.push_back(static_cast<std::size_t>(at - objects.begin()));
      }
    }
    previous = path;
  }
  std::sort(found.begin(), found.end());
  found.erase(std::unique(found.begin(), found.end()), found.end());
  return found;
}

}  // namespace

bool IsFilePath(std::string_view path) {
  if (path.find('\0') != std::string_view::npos) return false;
  while (true) {
    const std::size_t slash = path.find('/');
    const std::string_view part = path.substr(0, slash);
    if (part.empty() || part.size() > kMaxComponent || part == "." || part == "..") return false;
    if (slash == std::string_view::npos) return true;
    path.remove_prefix(slash + 1);
  }
}

Status ObjectCollector::Add(OriginObject object) {
  bytes_ += MemoryOf(object);
  if (bytes_ > max_bytes_) {
    return Fail(
        Code::kInvalidArgument,
        fmt::format(
            "the listing takes more than the {:.1f} MiB of memory that it may, after {} "
            "objects: restart the client if the origin has grown since its start, else raise the "
            "memory budget, or mount less of the origin",
            static_cast<double>(max_bytes_) / (1 << 20), objects_.size()));
  }
  objects_.push_back(std::move(object));
  return Ok();
}

Listing MakeListing(std::vector<OriginObject> objects) {
  Listing listing;
  const std::size_t before = objects.size();
  std::erase_if(objects, [](const OriginObject& o) {
    return !IsFilePath(o.path) || o.size > kMostObjectBytes;
  });
  Sort(objects);
  // Keep the last of equals.
  const auto kept = std::unique(objects.rbegin(), objects.rend(),
                                [](const auto& a, const auto& b) { return a.path == b.path; });
  objects.erase(objects.begin(), kept.base());
  const std::vector<std::size_t> hidden = FilesThatAreDirectories(objects);
  std::size_t index = 0;
  auto next = hidden.begin();
  std::erase_if(objects, [&](const OriginObject&) {
    const bool hide = next != hidden.end() && *next == index;
    if (hide) ++next;
    ++index;
    return hide;
  });
  listing.skipped = before - objects.size();
  listing.objects = std::move(objects);
  return listing;
}

}  // namespace sluice::origin
