#include <filesystem>
#include <iostream>
#include <thread>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "sluice/platform/mount.h"

#include "runtime_directory.h"
#include "verbs.h"

namespace sluice::cli {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::seconds kUnmountPatience{30};
constexpr std::chrono::milliseconds kPoll{20};

Status AwaitHolderEnd(const std::string& directory) {
  const auto record = ReadRecord(directory);
  if (!record || !ProcessLives(record->holder_pid)) {
    // What a killed holder left.
    std::error_code ignored;
    std::filesystem::remove_all(directory, ignored);
    return Ok();
  }
  const auto deadline = Clock::now() + kUnmountPatience;
  while (ProcessLives(record->holder_pid) && ReadRecord(directory)) {
    if (Clock::now() > deadline) {
      return Fail(Code::kDeadlineExceeded,
                  fmt::format("unmounted, but process {} still runs", record->holder_pid));
    }
    std::this_thread::sleep_for(kPoll);
  }
  return Ok();
}

// Which of the mounts at `path` is ours: the one that its holder has noted, or, when no holder has
// noted any, the topmost one if it is a mount of sluice.
Result<std::uint32_t> FindDevice(const std::string& path, const std::string& directory) {
  const auto record = ReadRecord(directory);
  if (record && record->device != 0) return record->device;
  const auto mount = platform::FindMount(path);
  if (mount && mount->fs_type == "fuse.sluice") return mount->minor;
  if (record) return record->device;  // a holder that has not mounted: its directory is cleared
  return Fail(Code::kInvalidArgument, fmt::format("{} is not a mount of sluice", path));
}

Status Umount(const std::string& given, bool lazy) {
  SLUICE_TRY(path, CanonicalMountPath(given), "umount");
  SLUICE_TRY(runtime, RuntimeDirectory(), "umount");
  const std::string directory = MountDirectory(runtime, path);
  SLUICE_TRY(device, FindDevice(path, directory), "umount");
  SLUICE_CHECK(platform::UnmountFuse(path, device, lazy), "umount");
  // After a lazy one the client goes on for as long as files are open.
  return lazy ? Ok() : AwaitHolderEnd(directory);
}

}  // namespace

void AddUmount(CLI::App& app, int& exit_status) {
  struct Arguments {
    std::string path;
    bool lazy = false;
  };
  auto arguments = std::make_shared<Arguments>();
  CLI::App* const verb = app.add_subcommand("umount", "Unmount and wait until it is gone");
  verb->add_option("path", arguments->path, "Where it is mounted")->required();
  verb->add_flag("--lazy", arguments->lazy,
                 "Take it away now; programs that use it go on until they close their files");
  verb->footer("Example:\n  sluice umount /mnt/llama\n");
  verb->callback([arguments, &exit_status] {
    const Status done = Umount(arguments->path, arguments->lazy);
    if (done) {
      exit_status = kOk;
      return;
    }
    const char* next = "sluice status lists the mounts";
    if (done.error().code == Code::kPermissionDenied) next = "";
    if (done.error().code == Code::kConflict) next = "umount PATH takes away what is on top";
    if (done.error().code == Code::kUnavailable) {
      next = "end the programs that use it (fuser -vm PATH names them), or use --lazy";
    }
    exit_status = Report(done.error(), next);
  });
}

}  // namespace sluice::cli
