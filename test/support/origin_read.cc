// Reads one object through the origin adapter alone, as fast as it goes, and says how fast and at
// which cost: what the layers above can hope for.
//
//   origin-read --config config.json --object weights.bin --range-mb 8 --in-flight 8
//
// The configuration is that of sluice-fuse; its first mount is used. MB are 10^6 bytes, ranges are
// in MiB.

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <mutex>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "sluice/origin/make_origin.h"

namespace {

using sluice::Code;
using sluice::Fail;
using sluice::Ok;
using sluice::Origin;
using sluice::OriginObject;
using sluice::Status;
using Clock = std::chrono::steady_clock;

double CpuSeconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

// Keeps a number of ranged reads under way, each into a buffer of its own.
class Reader {
 public:
  Reader(Origin& origin, OriginObject object, std::uint64_t range, unsigned in_flight)
      : origin_(origin), object_(std::move(object)), range_(range) {
    for (unsigned i = 0; i < in_flight; ++i) {
      free_.push_back(std::make_unique<std::vector<std::byte>>(range));
    }
    in_flight_ = in_flight;
  }

  Status Run() {
    for (std::uint64_t at = 0; at < object_.size; at += range_) {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return !free_.empty() || !status_; });
      if (!status_) break;
      auto buffer = std::move(free_.back());
      free_.pop_back();
      lock.unlock();
      Start(at, std::min(range_, object_.size - at), std::move(buffer));
    }
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return free_.size() == in_flight_; });
    return status_;
  }

 private:
  using Buffer = std::unique_ptr<std::vector<std::byte>>;

  void Start(std::uint64_t at, std::uint64_t length, Buffer buffer) {
    auto place = std::make_shared<std::pair<Buffer, std::size_t>>(std::move(buffer), 0);
    origin_.ReadAsync(
        object_, at, length,
        [place](std::span<const std::byte> bytes) {
          std::memcpy(place->first->data() + place->second, bytes.data(), bytes.size());
          place->second += bytes.size();
          return true;
        },
        [this, place](Status status) {
          const std::lock_guard lock(mutex_);
          if (!status) status_ = std::move(status);
          free_.push_back(std::move(place->first));
          changed_.notify_all();
        });
  }

  Origin& origin_;
  const OriginObject object_;
  const std::uint64_t range_;
  std::size_t in_flight_ = 0;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Buffer> free_;
  Status status_ = Ok();
};

struct Wanted {
  std::string config;
  std::string object;
  unsigned range_mb = 8;
  unsigned in_flight = 8;
};

Status Run(const Wanted& wanted) {
  std::ifstream file(wanted.config);
  const auto document = nlohmann::json::parse(file, nullptr, /*allow_exceptions=*/false);
  if (document.is_discarded()) return Fail(Code::kInvalidArgument, wanted.config + ": no JSON");
  SLUICE_TRY(config, sluice::ParseFuseConfig(document), wanted.config);
  sluice::platform::Metrics metrics;
  SLUICE_TRY(origin,
             sluice::origin::MakeOrigin(config.mounts.front(), {}, metrics,
                                        sluice::platform::Log("origin-read")),
             "open");
  SLUICE_TRY(listing, origin->List(), "list");
  const auto found = std::ranges::find(listing.objects, wanted.object, &sluice::OriginObject::path);
  if (found == listing.objects.end()) return Fail(Code::kNotFound, wanted.object);
  sluice::OriginObject object = std::move(*found);
  const std::uint64_t size = object.size;
  Reader reader(*origin, std::move(object), std::uint64_t{wanted.range_mb} << 20, wanted.in_flight);
  const auto begin = Clock::now();
  const double cpu = CpuSeconds();
  SLUICE_CHECK(reader.Run(), "read");
  const double took = std::chrono::duration<double>(Clock::now() - begin).count();
  const double bytes = static_cast<double>(size);
  std::printf("%.0f MB in %.2f s: %.1f MB/s, %.0f ns of CPU per KiB (%u x %u MiB)\n", bytes / 1e6,
              took, bytes / 1e6 / took, (CpuSeconds() - cpu) * 1e9 / (bytes / 1024),
              wanted.in_flight, wanted.range_mb);
  return Ok();
}

}  // namespace

int main(int argc, char** argv) {
  Wanted wanted;
  CLI::App app{"Reads one object through the origin adapter and measures"};
  app.add_option("--config", wanted.config, "configuration of sluice-fuse")->required();
  app.add_option("--object", wanted.object, "path below the mount")->required();
  app.add_option("--range-mb", wanted.range_mb, "MiB per request")->capture_default_str();
  app.add_option("--in-flight", wanted.in_flight, "requests at once")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  if (wanted.range_mb == 0 || wanted.in_flight == 0) return 2;
  if (const Status status = Run(wanted); !status) {
    std::fprintf(stderr, "origin-read: %s\n", status.error().message.c_str());
    return 1;
  }
  return 0;
}
