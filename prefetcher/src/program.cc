#include "sluice/prefetcher/program.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <ctime>
#include <filesystem>
#include <optional>
#include <ostream>
#include <system_error>
#include <thread>

#include "sluice/platform/guarded.h"
#include "sluice/platform/unique_fd.h"

namespace sluice::prefetcher {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::size_t kLeastBlock = 4096;
// Four of them must fit into the memory that an injected container has.
constexpr std::size_t kMostBlock = 32U << 20;
// So long after the end the program stays for hooks and probes in its container to see it.
constexpr milliseconds kLinger{5000};
// Of a failure a probe must have told by then, which a busy node may begin late.
constexpr milliseconds kLingerToTell{10'000};
// And so long after the probe has printed it, for the kubelet to be given its answer.
constexpr milliseconds kLingerTold{1'000};
constexpr milliseconds kLookEvery{100};
constexpr milliseconds kLogEvery{30'000};
constexpr milliseconds kLeastPatience{2000};
// The kubelet lets through 25 events of a pod and then one in five minutes, for all its containers
// together. With these an hour of prefetching makes less than 25.
constexpr milliseconds kMostPatience{240'000};
constexpr int kPatienceShare = 4;

template <typename Number>
std::optional<Number> ParseNumber(const std::string& text) {
  Number number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

bool HasEnded(const std::optional<Progress>& progress) {
  return progress && progress->phase == Progress::Phase::kFinished;
}

Verdict Look(const Options& options, Asker asker = Asker::kAnyone) {
  const StatusFiles files(options.status_directory);
  const auto progress = files.ReadProgress();
  // The result counts, whoever wrote it and whatever else is there.
  if (files.IsFinished() && !HasEnded(progress)) {
    return {.go_on = true, .line = "prefetching has finished"};
  }
  return Judge(progress, SinceBoot(), options.limit, asker);
}

milliseconds PatienceAt(const Options& options) {
  const auto progress = StatusFiles(options.status_directory).ReadProgress();
  const milliseconds age = progress ? SinceBoot() - progress->started : milliseconds(0);
  return std::clamp(age / kPatienceShare, kLeastPatience, kMostPatience);
}

// The kubelet made the file; where there is none, nobody wants to know.
void WriteTerminationMessage(const std::string& path, const std::string& line) {
  const platform::UniqueFd file(
      ::open(path.c_str(), O_WRONLY | O_TRUNC | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!file.Valid()) return;
  const std::string text = line + "\n";
  // Nothing can be done about a failure, and the log has it as well.
  if (::write(file.Get(), text.data(), text.size()) < 0) return;
}

class Life {
 public:
  Life(const Options& options, const platform::Log& log)
      : options_(options), log_(log), files_(options.status_directory) {}

  int Run() {
    std::error_code ignored;  // writing there says why it does not work
    std::filesystem::create_directories(options_.status_directory, ignored);
    if (files_.IsFinished()) {
      log_.Info("prefetched in an earlier life");
      Tell();
      return After(options_.when_done == WhenDone::kExit ? std::optional(0) : std::nullopt);
    }
    const sigset_t signals = StopSignals();
    std::jthread worker([this] {
      Work();
      ::kill(::getpid(), SIGUSR1);  // ends the wait below
    });
    int signal = 0;
    sigwait(&signals, &signal);
    if (signal != SIGUSR1) {
      WriteTerminationMessage(options_.termination_log, "ended early: " + Look(options_).line);
      ::_exit(0);  // the readers may be waiting for a file system
    }
    worker.join();
    return After(ExitStatus());
  }

 private:
  void Work() {
    PrefetchRequest request = options_.request;
    if (const auto earlier = files_.ReadProgress()) request.started = earlier->started;
    log_.Info("prefetching", {{"files", request.file_list}});
    const auto report = [this](Progress progress) {
      // Who does not exit for a failure leaves nothing to tell.
      progress.told = options_.when_done != WhenDone::kTell;
      Report(progress);
    };
    end_ = Prefetch(request, report, log_);
    const bool success = end_.failures == 0;
    const std::string line = DescribeEnd(end_);
    WriteTerminationMessage(options_.termination_log, line);
    if (auto status = files_.WriteResult(success); !status) {
      log_.Error("cannot write the result", {{"error", status.error().message}});
    }
    if (success) {
      log_.Info("prefetched", {{"result", line}});
    } else {
      log_.Error("prefetch failed", {{"result", line}});
    }
  }

  // This life is the proof that the last one's exit status was seen.
  void Tell() {
    auto progress = files_.ReadProgress();
    if (!HasEnded(progress) || progress->told) return;
    progress->told = true;
    Report(*progress);
  }

  void Report(const Progress& progress) {
    if (auto status = files_.WriteProgress(progress); !status && !warned_) {
      warned_ = true;
      log_.Warn("cannot write the progress", {{"error", status.error().message}});
    }
    if (progress.phase == Progress::Phase::kFinished) return;
    const auto now = SinceBoot();
    if (now - logged_ < kLogEvery) return;
    logged_ = now;
    log_.Info("progress", {{"so_far", Describe(progress)}});
  }

  [[nodiscard]] std::optional<int> ExitStatus() const {
    switch (options_.when_done) {
      case WhenDone::kIdle:
        return std::nullopt;
      case WhenDone::kExit:
        return 0;
      case WhenDone::kTell:
        return end_.failures == 0 ? std::nullopt : std::optional(1);
    }
    return std::nullopt;
  }

  // Stays for a moment, or for good when there is no exit status.
  [[nodiscard]] int After(std::optional<int> status) const {
    sigset_t signals = StopSignals();
    sigdelset(&signals, SIGUSR1);
    if (!status) {
      int signal = 0;
      sigwait(&signals, &signal);
      return 0;
    }
    // A probe comes every second; of a failure it says no until the next life.
    milliseconds end = SinceBoot() + (*status == 0 ? kLinger : kLingerToTell);
    bool told = *status == 0;
    constexpr timespec kSlice = {.tv_sec = 0, .tv_nsec = 100'000'000};
    while (SinceBoot() < end) {
      if (::sigtimedwait(&signals, nullptr, &kSlice) > 0) return 0;
      if (told || !files_.IsProbed()) continue;
      told = true;
      end = SinceBoot() + kLingerTold;
    }
    return *status;
  }

  const Options& options_;
  const platform::Log& log_;
  StatusFiles files_;
  Progress end_;
  milliseconds logged_ = SinceBoot();
  bool warned_ = false;
};

}  // namespace

void ReadEnvironment(const Environment& environment, const platform::Log& log, Options& options) {
  options.request.file_list = environment("FILE_PREFETCHER_FILE_LIST");
  if (const std::string text = environment("BUFFER_SIZE_IN_BYTES"); !text.empty()) {
    if (const auto bytes = ParseNumber<std::uint64_t>(text)) {
      options.request.block_bytes = std::clamp<std::uint64_t>(*bytes, kLeastBlock, kMostBlock);
    } else {
      log.Warn("BUFFER_SIZE_IN_BYTES is no number of bytes", {{"value", Printable(text)}});
    }
  }
  if (const std::string text = environment("FILE_PREFETCHER_TIMEOUT_SECONDS"); !text.empty()) {
    if (const auto limit = ParseNumber<std::int32_t>(text)) {
      options.limit = seconds(*limit);
    } else {
      log.Warn("FILE_PREFETCHER_TIMEOUT_SECONDS is no number of seconds",
               {{"value", Printable(text)}});
    }
  }
}

sigset_t StopSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGINT, SIGUSR1}) sigaddset(&signals, signal);
  return signals;
}

int Run(const Options& options, const platform::Log& log) { return Life(options, log).Run(); }

int PrintStatus(const Options& options, Asker asker, std::ostream& out) {
  const milliseconds begin = SinceBoot();
  const milliseconds longest = asker == Asker::kProbe ? PatienceAt(options) : milliseconds(0);
  const StatusFiles files(options.status_directory);
  Verdict verdict = Look(options, asker);
  // A failure is told at once.
  while (!verdict.go_on && SinceBoot() - begin < longest && !files.IsFinished()) {
    std::this_thread::sleep_for(kLookEvery);
    verdict = Look(options, asker);
  }
  out << verdict.line << '\n' << std::flush;
  if (asker == Asker::kProbe && !verdict.go_on && files.IsFinished()) files.NoteProbed();
  return verdict.go_on ? 0 : 1;
}

int WaitForEnd(const Options& options, std::ostream& out) {
  const milliseconds begin = SinceBoot();
  Verdict verdict = Look(options);
  // The second limit is for a prefetcher that never began.
  while (!verdict.go_on && SinceBoot() - begin < options.limit) {
    std::this_thread::sleep_for(kLookEvery);
    verdict = Look(options);
  }
  out << verdict.line << '\n';
  return 0;
}

}  // namespace sluice::prefetcher
