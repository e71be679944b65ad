// How far a prefetch is, and the two files that tell: what the container's hooks and probes, the
// application and the next life of the container know of it.
//
//   prefetcher.status     "prefetch_result=success" or "prefetch_result=fail"; there when it is
//   over prefetcher.progress   a Progress as one line of JSON; replaced twice a second
//
// Both are replaced as a whole, so a reader sees an old one or a new one.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "sluice/core/result.h"

namespace sluice::prefetcher {

// The path of the status directory is part of the compatible contract.
inline constexpr const char* kStatusDirectory = "/tmp/fluid-file-prefetcher/status";

struct Progress {
  enum class Phase { kCounting, kReading, kFinished };
  Phase phase = Phase::kCounting;
  std::uint64_t files_total = 0;
  std::uint64_t bytes_total = 0;
  std::uint64_t files_done = 0;  // read to their end
  std::uint64_t bytes_done = 0;
  std::uint64_t failures = 0;  // files, directories and patterns
  std::string cause;           // of the first failure; printable
  bool told = false;           // of the failure, by the container's exit status
  // On the machine's clock since boot, which a new life of the container shares.
  std::chrono::milliseconds started{0};
  std::chrono::milliseconds ended{0};

  friend bool operator==(const Progress&, const Progress&) = default;
};

// "prefetched 3 of 14 files, 1.2 of 2.2 GB", "counting files: 12 so far, 3.4 GB", …
std::string Describe(const Progress& progress);

std::string FormatProgress(const Progress& progress);
// kInvalidArgument for anything else than what FormatProgress writes.
Result<Progress> ParseProgress(const std::string& text);

// What may hold back the application, and what it is told meanwhile.
struct Verdict {
  bool go_on = false;  // finished, or the limit is over
  std::string line;
};
// Who is asked. A probe that says no once makes an event of its line, so it does for a failure
// until the container's exit status has told of it as well.
enum class Asker { kAnyone, kProbe };
// `progress` is empty before the first was written.
Verdict Judge(const std::optional<Progress>& progress, std::chrono::milliseconds now,
              std::chrono::milliseconds limit, Asker asker = Asker::kAnyone);

// "prefetch failed: …" or what Describe says: the result in one line.
std::string DescribeEnd(const Progress& progress);

// Bytes of a name or message that are not printable become \xNN; cut to `most` characters.
std::string Printable(const std::string& text, std::size_t most = 300);

// The clock since boot; it goes on while the machine sleeps.
std::chrono::milliseconds SinceBoot();

class StatusFiles {
 public:
  explicit StatusFiles(std::string directory) : directory_(std::move(directory)) {}

  [[nodiscard]] bool IsFinished() const;
  // Says that it is over; after the last progress.
  [[nodiscard]] Status WriteResult(bool success) const;

  // A probe has told of the failure. Best effort.
  void NoteProbed() const;
  [[nodiscard]] bool IsProbed() const;

  [[nodiscard]] std::optional<Progress> ReadProgress() const;  // empty when there is none
  [[nodiscard]] Status WriteProgress(const Progress& progress) const;

 private:
  [[nodiscard]] Status Replace(const std::string& name, const std::string& text) const;

  std::string directory_;
};

}  // namespace sluice::prefetcher
