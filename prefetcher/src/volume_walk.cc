#include "volume_walk.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <set>
#include <utility>

#include <fmt/format.h>

namespace sluice::prefetcher {
namespace {

using platform::UniqueFd;

// A descriptor is open for each level of the walk.
constexpr std::size_t kMostLevels = 128;
constexpr int kFileFlags = O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
constexpr int kDirectoryFlags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;

// Follows links, but not out of the volume. Fails with ELOOP where the kernel cannot promise that.
UniqueFd OpenInside(const Volume& volume, const std::string& path, int flags) {
  struct open_how how = {};
  how.flags = static_cast<std::uint64_t>(flags);
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
  const long fd = ::syscall(SYS_openat2, volume.root.Get(), path.c_str(), &how, sizeof(how));
  if (fd < 0 && (errno == ENOSYS || errno == EPERM)) errno = ELOOP;
  return UniqueFd(static_cast<int>(fd));
}

// The errors of links that lead nowhere we go, and of what went away meanwhile.
bool IsNoFile(int error) {
  return error == ENOENT || error == ELOOP || error == EXDEV || error == ENXIO;
}

// Where the patterns stand at one place of the walk.
using States = std::vector<PathPattern::State>;

enum class Kind { kGone, kFile, kDirectory, kLink, kOther };

// A directory that the walk is in.
struct Place {
  std::shared_ptr<const UniqueFd> directory;
  std::string path;  // below the volume
  States states;
  std::size_t level = 0;
};

class Walk {
 public:
  Walk(std::shared_ptr<const Volume> volume, const std::vector<VolumePattern>& patterns,
       const WalkSink& sink)
      : volume_(std::move(volume)),
        patterns_(patterns),
        sink_(sink),
        matched_(patterns.size(), false) {}

  void Run() {
    States states;
    for (const VolumePattern& pattern : patterns_) states.push_back(pattern.pattern.Start());
    Note(states);
    Enter({std::make_shared<const UniqueFd>(::fcntl(volume_->root.Get(), F_DUPFD_CLOEXEC, 0)), "",
           std::move(states), 0});
    for (std::size_t i = 0; i < patterns_.size(); ++i) {
      if (!matched_[i]) sink_.problem(patterns_[i].text, "no such file");
    }
  }

 private:
  void Note(const States& states) {
    for (std::size_t i = 0; i < states.size(); ++i) {
      if (patterns_[i].pattern.Matches(states[i])) matched_[i] = true;
    }
  }

  [[nodiscard]] bool Matches(const States& states) const {
    for (std::size_t i = 0; i < states.size(); ++i) {
      if (patterns_[i].pattern.Matches(states[i])) return true;
    }
    return false;
  }

  static bool AreOver(const States& states) {
    return std::all_of(states.begin(), states.end(), PathPattern::IsOver);
  }

  // Names that alone can match; nullopt when the directory must be listed.
  [[nodiscard]] std::optional<std::set<std::string>> OnlyNames(const States& states) const {
    std::set<std::string> names;
    for (std::size_t i = 0; i < states.size(); ++i) {
      auto some = patterns_[i].pattern.OnlyNames(states[i]);
      if (!some) return std::nullopt;
      names.insert(some->begin(), some->end());
    }
    return names;
  }

  void Enter(const Place& place) {
    if (place.level == kMostLevels) {
      sink_.problem(Shown(place.path), fmt::format("deeper than {} directories", kMostLevels));
      return;
    }
    if (const auto names = OnlyNames(place.states)) {
      for (const std::string& name : *names) Visit(place, name, DT_UNKNOWN);
      return;
    }
    // A descriptor of its own: the stream moves its position and closes it.
    const int copy = ::openat(place.directory->Get(), ".", kDirectoryFlags);
    DIR* const opened = copy < 0 ? nullptr : ::fdopendir(copy);
    if (opened == nullptr) {
      sink_.problem(Shown(place.path), std::strerror(errno));
      if (copy >= 0) ::close(copy);
      return;
    }
    const std::unique_ptr<DIR, int (*)(DIR*)> stream(opened, ::closedir);
    while (true) {
      errno = 0;
      const dirent* const entry = ::readdir(stream.get());  // NOLINT(concurrency-mt-unsafe): own
      if (entry == nullptr) break;
      const std::string name = entry->d_name;
      if (name != "." && name != "..") Visit(place, name, entry->d_type);
    }
    if (errno != 0) sink_.problem(Shown(place.path), std::strerror(errno));
  }

  void Visit(const Place& place, const std::string& name, unsigned char type) {
    States next(place.states.size());
    for (std::size_t i = 0; i < next.size(); ++i) {
      next[i] = patterns_[i].pattern.Step(place.states[i], name);
    }
    if (AreOver(next)) return;
    const std::string path = place.path.empty() ? name : place.path + "/" + name;
    switch (KindOf(*place.directory, path, name, type)) {
      case Kind::kFile:
        if (!Matches(next)) break;
        Note(next);
        sink_.file({volume_, place.directory, path, false});
        break;
      case Kind::kDirectory:
        Note(next);
        EnterEntry(
            place, path,
            UniqueFd(::openat(place.directory->Get(), name.c_str(), kDirectoryFlags | O_NOFOLLOW)),
            std::move(next));
        break;
      case Kind::kLink:
        VisitLink(place, path, name, next);
        break;
      case Kind::kGone:
      case Kind::kOther:
        break;
    }
  }

  Kind KindOf(const UniqueFd& directory, const std::string& path, const std::string& name,
              unsigned char type) {
    struct stat info = {};
    mode_t mode = DTTOIF(type);
    if (type == DT_UNKNOWN) {
      if (::fstatat(directory.Get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
        if (errno != ENOENT && errno != ENOTDIR) sink_.problem(Shown(path), std::strerror(errno));
        return Kind::kGone;
      }
      mode = info.st_mode & S_IFMT;
    }
    if (mode == S_IFREG) return Kind::kFile;
    if (mode == S_IFDIR) return Kind::kDirectory;
    return mode == S_IFLNK ? Kind::kLink : Kind::kOther;
  }

  void EnterEntry(const Place& parent, const std::string& path, UniqueFd entry, States states) {
    if (!entry.Valid()) {
      sink_.problem(Shown(path), std::strerror(errno));
      return;
    }
    Enter({std::make_shared<const UniqueFd>(std::move(entry)), path, std::move(states),
           parent.level + 1});
  }

  void VisitLink(const Place& place, const std::string& path, const std::string& name,
                 const States& next) {
    const UniqueFd target = OpenInside(*volume_, path, O_PATH | O_CLOEXEC);
    struct stat info = {};
    if (!target.Valid() || ::fstat(target.Get(), &info) != 0) {
      if (!IsNoFile(errno)) sink_.problem(Shown(path), std::strerror(errno));
      return;
    }
    if (S_ISREG(info.st_mode) && Matches(next)) {
      Note(next);
      sink_.file({volume_, place.directory, path, true});
    }
    if (!S_ISDIR(info.st_mode)) return;
    States spelled(next.size());
    for (std::size_t i = 0; i < spelled.size(); ++i) {
      spelled[i] = patterns_[i].pattern.StepSpelledOut(place.states[i], name);
    }
    if (AreOver(spelled)) return;
    Note(spelled);
    EnterEntry(place, path, OpenInside(*volume_, path, kDirectoryFlags), std::move(spelled));
  }

  [[nodiscard]] std::string Shown(const std::string& path) const {
    return path.empty() ? volume_->path : volume_->path + "/" + path;
  }

  std::shared_ptr<const Volume> volume_;
  const std::vector<VolumePattern>& patterns_;
  const WalkSink& sink_;
  std::vector<bool> matched_;
};

}  // namespace

std::string FoundFile::Name() const { return path.substr(path.rfind('/') + 1); }

std::uint64_t FoundFile::Size() const {
  struct stat info = {};
  if (!is_link) {
    const bool known = ::fstatat(directory->Get(), Name().c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0;
    return known ? static_cast<std::uint64_t>(info.st_size) : 0;
  }
  const UniqueFd target = OpenInside(*volume, path, O_PATH | O_CLOEXEC);
  if (!target.Valid() || ::fstat(target.Get(), &info) != 0) return 0;
  return static_cast<std::uint64_t>(info.st_size);
}

Result<FoundFile::Opened> FoundFile::Open() const {
  Opened opened;
  opened.file = is_link
                    ? OpenInside(*volume, path, kFileFlags)
                    : UniqueFd(::openat(directory->Get(), Name().c_str(), kFileFlags | O_NOFOLLOW));
  if (!opened.file.Valid()) {
    const bool gone = is_link && IsNoFile(errno);
    return Fail(gone ? Code::kNotFound : Code::kInternal, std::strerror(errno));
  }
  struct stat info = {};
  if (::fstat(opened.file.Get(), &info) != 0) return Fail(Code::kInternal, std::strerror(errno));
  if (!S_ISREG(info.st_mode)) return Fail(Code::kNotFound, "not a regular file");
  opened.size = static_cast<std::uint64_t>(info.st_size);
  return opened;
}

void WalkVolume(const std::shared_ptr<const Volume>& volume,
                const std::vector<VolumePattern>& patterns, const WalkSink& sink) {
  Walk(volume, patterns, sink).Run();
}

}  // namespace sluice::prefetcher
