#include <algorithm>
#include <array>
#include <iostream>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "client_metrics.h"
#include "runtime_directory.h"
#include "verbs.h"

namespace sluice::cli {
namespace {

struct MountStatus {
  MountRecord record;
  std::uint64_t cached_bytes = 0;
  std::uint64_t hit_bytes = 0;   // read from this machine's memory and disk
  std::uint64_t miss_bytes = 0;  // read from the origin
  std::uint64_t passthrough_opens = 0;
};

MountStatus StatusOf(const KnownMount& known) {
  MountStatus status{.record = known.record};
  if (!ProcessLives(status.record.holder_pid)) {
    // The mount may still be served: the client has its own descriptors.
    status.record.state = IsMounted(status.record) ? "no holder" : "dead";
    if (status.record.error.empty()) {
      status.record.error = "the holder process ended; sluice umount clears this";
    }
  }
  const auto metrics = FetchMetrics(known.directory + "/metrics.sock");
  if (!metrics) return status;
  const auto value = [&](const char* series) {
    const auto found = metrics->find(series);
    return found == metrics->end() ? 0 : static_cast<std::uint64_t>(std::max(0.0, found->second));
  };
  status.cached_bytes = value("sluice_cache_bytes");
  status.hit_bytes = value("sluice_cache_hit_bytes_total{tier=\"disk\"}") +
                     value("sluice_cache_hit_bytes_total{tier=\"memory\"}");
  status.miss_bytes = value("sluice_cache_miss_bytes_total");
  status.passthrough_opens = value("sluice_fuse_passthrough_opens_total");
  return status;
}

Json ToJson(const MountStatus& status) {
  return Json::object({{"path", status.record.path},
                       {"pid", status.record.client_pid},
                       {"holderPid", status.record.holder_pid},
                       {"origin", status.record.origin},
                       {"state", status.record.state},
                       {"error", status.record.error},
                       {"restarts", status.record.restarts},
                       {"cachedBytes", status.cached_bytes},
                       {"hitBytes", status.hit_bytes},
                       {"missBytes", status.miss_bytes},
                       {"passthrough", status.record.passthrough},
                       {"passthroughOpens", status.passthrough_opens}});
}

std::string Size(std::uint64_t bytes) {
  constexpr std::array<const char*, 5> kUnits = {"B", "KiB", "MiB", "GiB", "TiB"};
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  for (; value >= 1024 && unit + 1 < kUnits.size(); ++unit) value /= 1024;
  return unit == 0 ? fmt::format("{} B", bytes) : fmt::format("{:.1f} {}", value, kUnits[unit]);
}

void PrintTable(const std::vector<MountStatus>& all) {
  std::vector<std::array<std::string, 8>> rows = {
      {"PATH", "STATE", "PID", "ORIGIN", "CACHED", "HITS", "MISSES", "PASSTHROUGH"}};
  for (const MountStatus& status : all) {
    rows.push_back(
        {status.record.path, status.record.state, std::to_string(status.record.client_pid),
         status.record.origin, Size(status.cached_bytes), Size(status.hit_bytes),
         Size(status.miss_bytes),
         status.record.passthrough ? fmt::format("{} opens", status.passthrough_opens) : "off"});
  }
  std::array<std::size_t, 8> widths = {};
  for (const auto& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  for (const auto& row : rows) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) line += fmt::format("{:{}}  ", row[i], widths[i]);
    line.erase(line.find_last_not_of(' ') + 1);
    std::cout << line << '\n';
  }
  for (const MountStatus& status : all) {
    if (!status.record.error.empty()) {
      std::cout << fmt::format("{}: {}\n", status.record.path, status.record.error);
    }
  }
}

}  // namespace

void AddStatus(CLI::App& app, int& exit_status) {
  auto as_json = std::make_shared<bool>(false);
  CLI::App* const verb = app.add_subcommand("status", "List the mounts of this machine");
  verb->add_flag("--json", *as_json, "As a JSON list");
  verb->footer("Examples:\n  sluice status\n  sluice status --json | jq '.[].cachedBytes'\n");
  verb->callback([as_json, &exit_status] {
    const auto runtime = RuntimeDirectory();
    if (!runtime) {
      exit_status = Report(runtime.error(), "");
      return;
    }
    std::vector<MountStatus> all;
    for (const KnownMount& known : KnownMounts(*runtime)) all.push_back(StatusOf(known));
    if (*as_json) {
      Json list = Json::array();
      for (const MountStatus& status : all) list.push_back(ToJson(status));
      std::cout << list.dump(2, ' ', false, Json::error_handler_t::replace) << '\n';
    } else if (all.empty()) {
      std::cout << "nothing is mounted; sluice mount --help shows how\n";
    } else {
      PrintTable(all);
    }
    exit_status = kOk;
  });
}

}  // namespace sluice::cli
