#include "sluice/prefetcher/prefetch.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "sluice/platform/guarded.h"
#include "sluice/platform/pause.h"

#include "volume_walk.h"

namespace sluice::prefetcher {
namespace {

using platform::Guarded;

constexpr std::chrono::milliseconds kReportEvery{500};
constexpr auto kForever = std::chrono::hours(24) * 3650;
// Enough for the readers to go on while the walk lists a directory.
constexpr std::size_t kMostWaiting = 64;
// Failures that are logged; more are only counted.
constexpr std::uint64_t kMostLogged = 20;
constexpr std::size_t kMostTries = 3;

std::vector<std::string> SplitList(std::string_view list) {
  std::vector<std::string> parts;
  for (std::size_t begin = 0; begin <= list.size();) {
    const std::size_t end = std::min(list.find(';', begin), list.size());
    if (end > begin) parts.emplace_back(list.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

std::string Join(const std::vector<std::string>& components, std::size_t begin, std::size_t end) {
  std::string path;
  for (std::size_t i = begin; i < end; ++i) path += "/" + components[i];
  return path;
}

// How many components of the pattern name its volume.
std::size_t VolumeDepth(const std::vector<std::string>& pattern,
                        const std::vector<std::string>& data_root) {
  const std::size_t below_root = data_root.size() + 1;
  const bool in_data = pattern.size() >= below_root &&
                       std::equal(data_root.begin(), data_root.end(), pattern.begin()) &&
                       IsPlainName(pattern[data_root.size()]);
  if (in_data) return below_root;
  // The last one is what is wanted, even when it is plain.
  std::size_t depth = 0;
  while (depth + 1 < pattern.size() && IsPlainName(pattern[depth])) ++depth;
  return depth;
}

class Prefetcher {
 public:
  Prefetcher(const PrefetchRequest& request, const std::function<void(const Progress&)>& report,
             const platform::Log& log)
      : request_(request), report_(report), log_(log) {}

  Progress Run() {
    const auto now = SinceBoot();
    const bool again = request_.started > std::chrono::milliseconds(0) && request_.started <= now;
    progress_.With([&](Progress& p) { p.started = again ? request_.started : now; });
    std::jthread reporter([this](const std::stop_token& stop) { ReportUntil(stop); });
    FindVolumes();
    Count();
    Read();
    reporter.request_stop();
    reporter.join();
    Progress end = progress_.With([](Progress& p) {
      p.phase = Progress::Phase::kFinished;
      p.ended = SinceBoot();
      return p;
    });
    report_(end);
    return end;
  }

 private:
  struct Work {
    std::shared_ptr<const Volume> volume;
    std::vector<VolumePattern> patterns;
  };
  struct Waiting {
    std::deque<FoundFile> files;
    bool no_more = false;
  };

  void ReportUntil(const std::stop_token& stop) {
    do {
      report_(progress_.With([](const Progress& p) { return p; }));
    } while (platform::Pause(stop, kReportEvery));
  }

  void Problem(const std::string& path, const std::string& problem) {
    const std::string text = fmt::format("{}: {}", Printable(path), problem);
    const std::uint64_t count = progress_.With([&](Progress& p) {
      if (p.failures == 0) p.cause = text;
      return ++p.failures;
    });
    if (count > kMostLogged) return;
    log_.Warn("cannot prefetch", {{"path", Printable(path)}, {"error", problem}});
    if (count == kMostLogged) log_.Warn("further failures are only counted");
  }

  void FindVolumes() {
    const std::vector<std::string> data_root = CleanComponents(request_.data_root);
    std::map<std::string, Work> by_path;
    const std::vector<std::string> patterns = SplitList(request_.file_list);
    if (patterns.empty()) Problem("FILE_PREFETCHER_FILE_LIST", "names no file");
    for (const std::string& text : patterns) {
      if (!text.starts_with('/')) {
        Problem(text, "is no absolute path");
        continue;
      }
      const std::vector<std::string> components = CleanComponents(text);
      const std::size_t depth = VolumeDepth(components, data_root);
      const std::string path = Join(components, 0, depth);
      auto pattern = PathPattern::Parse(Join(components, depth, components.size()));
      if (!pattern) {
        Problem(text, pattern.error().message);
        continue;
      }
      by_path[path.empty() ? "/" : path].patterns.push_back({text, std::move(*pattern)});
    }
    for (auto& [path, work] : by_path) OpenVolume(path, std::move(work));
  }

  void OpenVolume(const std::string& path, Work work) {
    platform::UniqueFd root(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!root.Valid()) {
      for (const VolumePattern& pattern : work.patterns) {
        Problem(pattern.text, std::strerror(errno));
      }
      return;
    }
    work.volume = std::make_shared<const Volume>(Volume{path == "/" ? "" : path, std::move(root)});
    work_.push_back(std::move(work));
  }

  void Count() {
    const WalkSink sink{.file =
                            [this](const FoundFile& file) {
                              const std::uint64_t size = file.Size();
                              progress_.With([&](Progress& p) {
                                ++p.files_total;
                                p.bytes_total += size;
                              });
                            },
                        .problem = [](const std::string& /*path*/, const std::string& /*what*/) {}};
    for (const Work& work : work_) WalkVolume(work.volume, work.patterns, sink);
    progress_.With([](Progress& p) { p.phase = Progress::Phase::kReading; });
  }

  void Read() {
    std::vector<std::jthread> readers;
    for (unsigned i = 0; i < std::max(request_.readers, 1U); ++i) {
      readers.emplace_back([this] { ReadWaiting(); });
    }
    const WalkSink sink{.file = [this](FoundFile file) { Add(std::move(file)); },
                        .problem = [this](const std::string& path,
                                          const std::string& what) { Problem(path, what); }};
    for (const Work& work : work_) WalkVolume(work.volume, work.patterns, sink);
    waiting_.With([](Waiting& w) { w.no_more = true; });
    waiting_.Notify();
  }

  void Add(FoundFile file) {
    const auto deadline = std::chrono::steady_clock::now() + kForever;
    waiting_.WaitUntil(deadline, [](const Waiting& w) { return w.files.size() < kMostWaiting; });
    // Nobody else adds, so there is room still.
    waiting_.With([&](Waiting& w) { w.files.push_back(std::move(file)); });
    waiting_.Notify();
  }

  void ReadWaiting() {
    std::vector<char> block(request_.block_bytes);
    const auto deadline = std::chrono::steady_clock::now() + kForever;
    while (true) {
      std::optional<FoundFile> file;
      bool over = false;
      waiting_.WaitUntil(deadline, [&](Waiting& w) {
        over = w.no_more && w.files.empty();
        if (over || w.files.empty()) return over;
        file = std::move(w.files.front());
        w.files.pop_front();
        return true;
      });
      waiting_.Notify();
      if (over) return;
      ReadFile(*file, block);
    }
  }

  void ReadFile(const FoundFile& file, std::vector<char>& block) {
    auto opened = file.Open();
    if (!opened && opened.error().code == Code::kNotFound) return;  // it changed meanwhile
    if (!opened) {
      Problem(file.ShownPath(), opened.error().message);
      return;
    }
    ::posix_fadvise(opened->file.Get(), 0, 0, POSIX_FADV_SEQUENTIAL);
    std::uint64_t at = 0;
    std::size_t failed = 0;
    while (at < opened->size) {
      const std::size_t want = std::min<std::uint64_t>(block.size(), opened->size - at);
      const ssize_t n = ::pread(opened->file.Get(), block.data(), want, static_cast<off_t>(at));
      if (n == 0) break;  // it was cut meanwhile
      if (n < 0 && (errno == EINTR || (errno == EIO && ++failed < kMostTries))) continue;
      if (n < 0) {
        Problem(file.ShownPath(), std::strerror(errno));
        return;
      }
      failed = 0;
      at += static_cast<std::uint64_t>(n);
      progress_.With([&](Progress& p) { p.bytes_done += static_cast<std::uint64_t>(n); });
    }
    progress_.With([](Progress& p) { ++p.files_done; });
  }

  const PrefetchRequest& request_;
  const std::function<void(const Progress&)>& report_;
  const platform::Log& log_;
  std::vector<Work> work_;
  Guarded<Progress> progress_;
  Guarded<Waiting> waiting_;
};

}  // namespace

Progress Prefetch(const PrefetchRequest& request,
                  const std::function<void(const Progress&)>& report, const platform::Log& log) {
  return Prefetcher(request, report, log).Run();
}

}  // namespace sluice::prefetcher
