#include "sluice/prefetcher/progress.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <utility>

#include <fmt/format.h>

#include "sluice/core/json_access.h"
#include "sluice/platform/read_file.h"
#include "sluice/platform/unique_fd.h"

namespace sluice::prefetcher {
namespace {

constexpr const char* kStatusName = "prefetcher.status";
constexpr const char* kProbedName = "prefetcher.probed";
constexpr const char* kProgressName = "prefetcher.progress";
constexpr std::size_t kMostProgressBytes = 64U << 10;
// The application may write there as well (asynchronous mode shares the volume), so sums need room.
constexpr std::uint64_t kMostCount = 1ULL << 62U;

constexpr std::array<std::pair<Progress::Phase, const char*>, 3> kPhases{{
    {Progress::Phase::kCounting, "counting"},
    {Progress::Phase::kReading, "reading"},
    {Progress::Phase::kFinished, "finished"},
}};

struct Unit {
  double bytes;
  const char* name;
};

Unit UnitOf(std::uint64_t bytes) {
  constexpr std::array<Unit, 4> kUnits{{{1e12, "TB"}, {1e9, "GB"}, {1e6, "MB"}, {1e3, "kB"}}};
  for (const Unit& unit : kUnits) {
    if (static_cast<double>(bytes) >= unit.bytes) return unit;
  }
  return {1, "bytes"};
}

std::string InUnit(std::uint64_t bytes, const Unit& unit) {
  return fmt::format("{:.{}f}", static_cast<double>(bytes) / unit.bytes, unit.bytes > 1 ? 1 : 0);
}

std::string WithUnit(std::uint64_t bytes) {
  const Unit unit = UnitOf(bytes);
  return InUnit(bytes, unit) + " " + unit.name;
}

std::string Failures(const Progress& progress) {
  if (progress.failures == 0 && progress.cause.empty()) return "";
  return fmt::format("; {} failed, first: {}", progress.failures, progress.cause);
}

Result<std::uint64_t> Count(const Json& json, const char* key) {
  const auto found = json.find(key);
  if (found == json.end() || !found->is_number_integer() ||
      (found->is_number_integer() && !found->is_number_unsigned()) ||
      found->get<std::uint64_t>() > kMostCount) {
    return Fail(Code::kInvalidArgument, fmt::format("progress: {} is no count", key));
  }
  return found->get<std::uint64_t>();
}

Result<Progress::Phase> PhaseOf(const Json& json) {
  const std::string wanted = StringOf(json, "phase");
  for (const auto& [phase, name] : kPhases) {
    if (wanted == name) return phase;
  }
  return Fail(Code::kInvalidArgument, "progress: no known phase");
}

const char* NameOf(Progress::Phase wanted) {
  for (const auto& [phase, name] : kPhases) {
    if (wanted == phase) return name;
  }
  return "";
}

Error SystemError(const char* doing, const std::string& path) {
  return {Code::kInternal, fmt::format("{} {}: {}", doing, path, std::strerror(errno))};
}

}  // namespace

std::string Describe(const Progress& progress) {
  if (progress.phase == Progress::Phase::kCounting) {
    return fmt::format("counting files: {} so far, {}{}", progress.files_total,
                       WithUnit(progress.bytes_total), Failures(progress));
  }
  const bool all = progress.phase == Progress::Phase::kFinished && progress.failures == 0;
  if (all) {
    return fmt::format("prefetched {} files, {} in {} s", progress.files_done,
                       WithUnit(progress.bytes_done),
                       (progress.ended - progress.started).count() / 1000);
  }
  const Unit unit = UnitOf(progress.bytes_total);
  return fmt::format("prefetched {} of {} files, {} of {} {}{}", progress.files_done,
                     progress.files_total, InUnit(progress.bytes_done, unit),
                     InUnit(progress.bytes_total, unit), unit.name, Failures(progress));
}

std::string FormatProgress(const Progress& progress) {
  return Json::object({{"phase", NameOf(progress.phase)},
                       {"filesTotal", progress.files_total},
                       {"bytesTotal", progress.bytes_total},
                       {"filesDone", progress.files_done},
                       {"bytesDone", progress.bytes_done},
                       {"failures", progress.failures},
                       {"cause", Printable(progress.cause)},
                       {"told", progress.told},
                       {"startedMs", static_cast<std::uint64_t>(progress.started.count())},
                       {"endedMs", static_cast<std::uint64_t>(progress.ended.count())}})
             .dump() +
         "\n";
}

Result<Progress> ParseProgress(const std::string& text) {
  const Json json = Json::parse(text, nullptr, false);
  if (!json.is_object()) return Fail(Code::kInvalidArgument, "progress: no JSON object");
  Progress progress;
  SLUICE_TRY(phase, PhaseOf(json), "parse");
  progress.phase = phase;
  std::uint64_t started = 0;
  std::uint64_t ended = 0;
  const std::array<std::pair<const char*, std::uint64_t*>, 7> counts{{
      {"filesTotal", &progress.files_total},
      {"bytesTotal", &progress.bytes_total},
      {"filesDone", &progress.files_done},
      {"bytesDone", &progress.bytes_done},
      {"failures", &progress.failures},
      {"startedMs", &started},
      {"endedMs", &ended},
  }};
  for (const auto& [key, value] : counts) {
    SLUICE_TRY(count, Count(json, key), "parse");
    *value = count;
  }
  progress.cause = Printable(StringOf(json, "cause"));
  progress.told = FlagOf(json, "told");
  progress.started = std::chrono::milliseconds(started);
  progress.ended = std::chrono::milliseconds(ended);
  return progress;
}

Verdict Judge(const std::optional<Progress>& progress, std::chrono::milliseconds now,
              std::chrono::milliseconds limit, Asker asker) {
  if (!progress) return {.go_on = false, .line = "prefetching has not begun"};
  std::string line = Describe(*progress);
  if (progress->phase == Progress::Phase::kFinished) {
    const bool untold = asker == Asker::kProbe && progress->failures > 0 && !progress->told;
    return {.go_on = !untold || now - progress->started >= limit, .line = DescribeEnd(*progress)};
  }
  if (now - progress->started < limit) return {.go_on = false, .line = line};
  return {.go_on = true,
          .line = fmt::format("{}; the limit of {} s is over, so the application starts meanwhile",
                              line, limit.count() / 1000)};
}

std::string DescribeEnd(const Progress& progress) {
  return (progress.failures == 0 ? "" : "prefetch failed: ") + Describe(progress);
}

std::string Printable(const std::string& text, std::size_t most) {
  std::string printable;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const std::string next =
        byte >= 0x20 && byte < 0x7F ? std::string(1, c) : fmt::format("\\x{:02x}", byte);
    if (printable.size() + next.size() > most) {
      printable += "...";
      break;
    }
    printable += next;
  }
  return printable;
}

std::chrono::milliseconds SinceBoot() {
  timespec now = {};
  ::clock_gettime(CLOCK_BOOTTIME, &now);
  return std::chrono::duration_cast<std::chrono::milliseconds>(
      std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec));
}

bool StatusFiles::IsFinished() const {
  // A link that leads nowhere is something that exists, too.
  struct stat info = {};
  return ::lstat((directory_ + "/" + kStatusName).c_str(), &info) == 0;
}

Status StatusFiles::WriteResult(bool success) const {
  return Replace(kStatusName, success ? "prefetch_result=success\n" : "prefetch_result=fail\n");
}

void StatusFiles::NoteProbed() const { (void)Replace(kProbedName, ""); }

bool StatusFiles::IsProbed() const {
  struct stat info = {};
  return ::lstat((directory_ + "/" + kProbedName).c_str(), &info) == 0;
}

std::optional<Progress> StatusFiles::ReadProgress() const {
  auto text = platform::ReadFile(directory_ + "/" + kProgressName, kMostProgressBytes);
  if (!text) return std::nullopt;
  auto progress = ParseProgress(*text);
  if (!progress) return std::nullopt;
  return *progress;
}

Status StatusFiles::WriteProgress(const Progress& progress) const {
  return Replace(kProgressName, FormatProgress(progress));
}

Status StatusFiles::Replace(const std::string& name, const std::string& text) const {
  const std::string path = directory_ + "/" + name;
  const std::string draft = path + ".part";
  // Whoever else writes there must not lead us to another file.
  if (::unlink(draft.c_str()) != 0 && errno != ENOENT) return Fail(SystemError("remove", draft));
  platform::UniqueFd file(
      ::open(draft.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644));
  if (!file.Valid()) return Fail(SystemError("create", draft));
  const ssize_t written = ::write(file.Get(), text.data(), text.size());
  if (written != static_cast<ssize_t>(text.size())) return Fail(SystemError("write", draft));
  if (::rename(draft.c_str(), path.c_str()) != 0) return Fail(SystemError("rename to", path));
  return Ok();
}

}  // namespace sluice::prefetcher
