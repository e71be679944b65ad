#include "sluice/platform/safe_path.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "beneath.h"

namespace sluice::platform {
namespace {

struct Place {
  UniqueFd parent;
  std::string name;
};

// The directory that holds `path`, opened; kNotFound when a parent is missing.
Result<Place> FindPlace(const std::string& root, const std::string& path) {
  SLUICE_TRY(relative, RelativeTo(root, path), path);
  const std::size_t end = relative.find_last_not_of('/');
  if (end == std::string::npos) {
    return Fail(Code::kInvalidArgument, fmt::format("{} is the root itself", path));
  }
  relative.resize(end + 1);
  const std::size_t slash = relative.rfind('/');
  const UniqueFd base(::open(root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!base.Valid()) return Fail(FromErrno(errno, "open " + root));
  SLUICE_TRY(parent,
             OpenBeneath(base.Get(), slash == std::string::npos ? "" : relative.substr(0, slash)),
             path);
  return Place{std::move(parent),
               slash == std::string::npos ? relative : relative.substr(slash + 1)};
}

Result<PathFacts> Look(const Place& place, const std::string& path) {
  struct statx info = {};
  const int flags = AT_SYMLINK_NOFOLLOW | AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT;
  if (::statx(place.parent.Get(), place.name.c_str(), flags, STATX_TYPE, &info) != 0) {
    if (errno == ENOENT) return PathFacts{};
    return Fail(FromErrno(errno, "look at " + path));
  }
  if (S_ISDIR(info.stx_mode)) return PathFacts{.kind = PathFacts::Kind::kDirectory, .link = ""};
  if (!S_ISLNK(info.stx_mode)) return PathFacts{.kind = PathFacts::Kind::kOther, .link = ""};
  char text[4096];
  const ssize_t n = ::readlinkat(place.parent.Get(), place.name.c_str(), text, sizeof(text));
  if (n < 0) return Fail(FromErrno(errno, "read symlink " + path));
  return PathFacts{.kind = PathFacts::Kind::kSymlink,
                   .link = std::string(text, static_cast<std::size_t>(n))};
}

int OpenAt2(int directory, const char* path, const struct open_how& how) {
  return static_cast<int>(::syscall(SYS_openat2, directory, path, &how, sizeof(how)));
}

bool IsDisconnected(int error) {
  return error == ENOTCONN || error == ECONNABORTED || error == ESHUTDOWN;
}

}  // namespace

Result<PathFacts> InspectPath(const std::string& root, const std::string& path) {
  Result<Place> place = FindPlace(root, path);
  if (!place && place.error().code == Code::kNotFound) return PathFacts{};
  if (!place) return Fail(place.error());
  return Look(*place, path);
}

Status RemovePath(const std::string& root, const std::string& path) {
  Result<Place> place = FindPlace(root, path);
  if (!place && place.error().code == Code::kNotFound) return Ok();
  if (!place) return Fail(place.error());
  SLUICE_TRY(facts, Look(*place, path), "remove");
  if (facts.kind == PathFacts::Kind::kMissing) return Ok();
  if (facts.kind == PathFacts::Kind::kOther) {
    return Fail(Code::kInvalidArgument,
                fmt::format("remove {}: neither a directory nor a symlink", path));
  }
  const int flags = facts.kind == PathFacts::Kind::kDirectory ? AT_REMOVEDIR : 0;
  if (::unlinkat(place->parent.Get(), place->name.c_str(), flags) != 0 && errno != ENOENT) {
    return Fail(FromErrno(errno, "remove " + path));
  }
  return Ok();
}

Result<std::vector<std::string>> ListNames(const std::string& root, const std::string& path,
                                           std::size_t max_names) {
  SLUICE_TRY(relative, RelativeTo(root, path), path);
  // The kernel would call it a way out, as it calls a mount.
  if (fmt::format("/{}/", relative).find("/../") != std::string::npos) {
    return Fail(Code::kInvalidArgument, fmt::format("path '{}' may not contain '..'", path));
  }
  const UniqueFd base(::open(root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!base.Valid()) return Fail(FromErrno(errno, "open " + root));
  struct open_how how = {};
  how.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV;
  UniqueFd directory(OpenAt2(base.Get(), relative.empty() ? "." : relative.c_str(), how));
  if (!directory.Valid() && errno == EXDEV) {
    return Fail(Code::kUnavailable, fmt::format("list {}: a mount is in the way", path));
  }
  if (!directory.Valid()) return Fail(FromErrno(errno, "list " + path));
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(::fdopendir(directory.Get()), ::closedir);
  if (!stream) return Fail(FromErrno(errno, "list " + path));
  (void)directory.Release();  // the stream's now
  std::vector<std::string> names;
  while (const dirent* const entry = ::readdir(stream.get())) {
    const std::string_view name = entry->d_name;
    if (name == "." || name == "..") continue;
    if (names.size() == max_names) {
      return Fail(Code::kInvalidArgument,
                  fmt::format("list {}: more than {} names", path, max_names));
    }
    names.emplace_back(name);
  }
  std::ranges::sort(names);
  return names;
}

Status PutSymlink(const std::string& text, const std::string& root, const std::string& path) {
  SLUICE_TRY(place, FindPlace(root, path), "symlink");
  if (::unlinkat(place.parent.Get(), place.name.c_str(), AT_REMOVEDIR) != 0 && errno != ENOENT) {
    return Fail(FromErrno(errno, "replace " + path));
  }
  if (::symlinkat(text.c_str(), place.parent.Get(), place.name.c_str()) != 0) {
    return Fail(FromErrno(errno, "create symlink " + path));
  }
  return Ok();
}

Result<DirectoryState> AskDirectory(const std::string& path, const std::string& sub_path) {
  Result<UniqueFd> root = OpenAbsolute(path);
  if (!root && root.error().code == Code::kNotFound) return DirectoryState::kMissing;
  if (!root) return Fail(root.error());
  // Without a sub path the root's attributes are asked for, else every component is looked up.
  struct statx info = {};
  if (::statx(root->Get(), "", AT_EMPTY_PATH | AT_STATX_FORCE_SYNC, STATX_TYPE, &info) != 0) {
    if (IsDisconnected(errno)) return DirectoryState::kDisconnected;
    return Fail(FromErrno(errno, "ask " + path));
  }
  if (sub_path.empty()) return DirectoryState::kAnswers;
  Result<UniqueFd> found = OpenBeneath(root->Get(), sub_path);
  if (found) return DirectoryState::kAnswers;
  if (found.error().code == Code::kNotFound) return DirectoryState::kMissing;
  return Fail(found.error().Wrap("look up below " + path));
}

Result<std::string> ReadFileBeneath(const std::string& root, const std::string& path,
                                    std::size_t max_bytes) {
  SLUICE_TRY(place, FindPlace(root, path), "read");
  struct open_how how = {};
  how.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV;
  const UniqueFd file(OpenAt2(place.parent.Get(), place.name.c_str(), how));
  if (!file.Valid()) return Fail(FromErrno(errno, "open " + path));
  struct stat info = {};
  if (::fstat(file.Get(), &info) != 0 || !S_ISREG(info.st_mode)) {
    return Fail(Code::kInvalidArgument, fmt::format("{} is no regular file", path));
  }
  std::string text(max_bytes, '\0');
  const ssize_t n = ::pread(file.Get(), text.data(), text.size(), 0);
  if (n < 0) return Fail(FromErrno(errno, "read " + path));
  text.resize(static_cast<std::size_t>(n));
  return text;
}

}  // namespace sluice::platform
