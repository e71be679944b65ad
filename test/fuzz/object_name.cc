// Any bytes as names: of objects in a store, of Kubernetes objects, and as patterns of paths. The
// first byte ends each name.
#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "sluice/core/path_pattern.h"

#include "demand.h"
#include "object_names.h"
#include "request_path.h"

namespace {

using sluice::OriginObject;
using sluice::test::Demand;
namespace kube = sluice::kube;
namespace origin = sluice::origin;

constexpr std::size_t kMostNames = 64;

std::vector<std::string> Cut(std::string_view text, char end) {
  std::vector<std::string> parts;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t at = std::min(text.find(end, begin), text.size());
    parts.emplace_back(text.substr(begin, at - begin));
    begin = at + 1;
  }
  return parts;
}

// What IsFilePath says, said another way.
bool IsFile(const std::string& path) {
  return std::ranges::all_of(Cut(path, '/'), [](const std::string& part) {
    return !part.empty() && part.size() < 256 && part != "." && part != ".." &&
           !std::ranges::count(part, '\0');
  });
}

// What MakeListing does, without its speed: sizes by path.
std::map<std::string, std::uint64_t> ExpectedListing(const std::vector<std::string>& names) {
  std::map<std::string, std::uint64_t> files;
  std::set<std::string> directories;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (!IsFile(names[i])) continue;
    files[names[i]] = i;
  }
  for (const auto& [path, size] : files) {
    for (std::size_t at = 0; at < path.size(); ++at) {
      if (path[at] == '/') directories.insert(path.substr(0, at));
    }
  }
  for (const std::string& directory : directories) files.erase(directory);
  return files;
}

void FuzzListing(const std::vector<std::string>& names) {
  std::vector<OriginObject> objects(names.size());
  for (std::size_t i = 0; i < names.size(); ++i) {
    Demand(origin::IsFilePath(names[i]) == IsFile(names[i]), "file or not", names[i]);
    objects[i].path = names[i];
    objects[i].size = i;
  }
  const sluice::Listing listing = origin::MakeListing(std::move(objects));
  const auto expected = ExpectedListing(names);
  Demand(listing.objects.size() == expected.size() &&
             listing.skipped == names.size() - expected.size(),
         "what is no file is left out and counted", "");
  const auto same = [](const OriginObject& object, const auto& file) {
    return object.path == file.first && object.size == file.second;
  };
  Demand(std::ranges::equal(listing.objects, expected, same), "the files, in order", "");
}

// As the API server reads a segment of a path.
std::string Decoded(std::string_view segment) {
  std::string name;
  for (std::size_t i = 0; i < segment.size(); ++i) {
    if (segment[i] != '%') {
      name += segment[i];
      continue;
    }
    name += static_cast<char>(std::stoi(std::string(segment.substr(i + 1, 2)), nullptr, 16));
    i += 2;
  }
  return name;
}

void FuzzObjectPath(const std::string& ns, const std::string& name) {
  const auto path = kube::ObjectPath(sluice::resources::kPod, {ns, name}, "status");
  if (!path) return;
  // "", "api", "v1", "namespaces", ns, "pods", name, "status"
  const auto segments = Cut(*path, '/');
  Demand(segments.size() == 8 && Decoded(segments[4]) == ns && Decoded(segments[6]) == name &&
             segments[7] == "status",
         "a path leads to the object", *path);
  Demand(ns != ".." && ns != "." && name != ".." && name != ".", "no name leads elsewhere", *path);
}

std::string Joined(const std::vector<std::string>& parts) {
  std::string text;
  for (const std::string& part : parts) text += "/" + part;
  return text;
}

void FuzzPattern(const std::string& text, const std::string& path) {
  const auto parts = sluice::CleanComponents(path);
  for (const std::string& part : parts) {
    Demand(!part.empty() && part != "." && part != ".." && !std::ranges::count(part, '/'),
           "a clean path goes down only", path);
    Demand(sluice::MatchesName("*", part), "an asterisk takes every name", part);
    Demand(!sluice::IsPlainName(text) || sluice::MatchesName(text, part) == (text == part),
           "a name without special characters is itself", part);
  }
  Demand(sluice::CleanComponents(Joined(parts)) == parts, "what is clean stays so", path);
  const auto pattern = sluice::PathPattern::Parse(text);
  if (!pattern) return;
  auto state = pattern->Start();
  for (const std::string& part : parts) {
    const auto next = pattern->Step(state, part);
    const auto only = pattern->OnlyNames(state);
    Demand(!only || std::ranges::count(*only, part) > 0 || pattern->IsOver(next),
           "where only some names lead on, others do not", path);
    Demand(!pattern->Matches(state) || pattern->Matches(next), "who matches a directory means all",
           path);
    state = next;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  std::vector<std::string> names = Cut(text, static_cast<char>(data[0]));
  names.resize(std::min(names.size(), kMostNames));
  for (std::size_t i = 0; i + 1 < names.size(); ++i) {
    FuzzObjectPath(names[i], names[i + 1]);
    FuzzPattern(names[i], names[i + 1]);
  }
  FuzzListing(names);
  return 0;
}
