#include "sluice/origin/make_origin.h"

#include <utility>

#include <fmt/format.h>

#include "sluice/core/s3_options.h"
#include "sluice/core/transfer_options.h"
#include "sluice/core/web_options.h"
#include "sluice/origin/http_origin.h"
#include "sluice/origin/hub_origin.h"
#include "sluice/origin/local_origin.h"
#include "sluice/origin/s3_origin.h"

namespace sluice::origin {
namespace {

Status CheckLimits(const OriginLimits& limits) {
  const auto zero = std::chrono::milliseconds(0);
  if (limits.max_connections == 0 || limits.max_attempts == 0 || limits.first_backoff <= zero ||
      limits.max_backoff < limits.first_backoff || limits.stall_timeout <= zero ||
      limits.connect_timeout <= zero || limits.deadline <= zero) {
    return Fail(Code::kInvalidArgument, "the limits of the origin must be more than zero");
  }
  return Ok();
}

Result<OriginLimits> LimitsOf(const MountConfig& mount, const OriginLimits& given) {
  if (auto status = CheckLimits(given); !status) return Fail(status.error());
  auto options = ResolveTransferOptions(mount);
  if (!options) return Fail(options.error());
  OriginLimits limits = given;
  if (options->max_connections > 0) limits.max_connections = options->max_connections;
  if (options->bytes_per_second > 0) limits.bytes_per_second = options->bytes_per_second;
  limits.hedge = given.hedge && options->hedge;
  return limits;
}

}  // namespace

Result<std::unique_ptr<Origin>> MakeOrigin(const MountConfig& mount, const OriginLimits& given,
                                           platform::Metrics& metrics, platform::Log log) {
  const auto chosen = LimitsOf(mount, given);
  if (!chosen) return Fail(chosen.error());
  const OriginLimits& limits = *chosen;
  auto uri = ParseMountUri(mount.mount_point);
  if (!uri) return Fail(uri.error().Wrap("mountPoint"));
  if (uri->scheme == "file" || uri->scheme == "local") {
    return MakeLocalOrigin(uri->path, limits, metrics);
  }
  if (uri->scheme == "pvc") {
    return Fail(Code::kInvalidArgument,
                fmt::format("{}: a claim is opened by its path; use file:///<directory>",
                            mount.mount_point));
  }
  if (IsWeb(uri->scheme)) {
    auto web = ResolveWebOptions(mount);
    if (!web) return Fail(web.error());
    return MakeHttpOrigin(*web, limits, metrics, std::move(log));
  }
  if (uri->scheme == "hf") {
    auto hub = ResolveHubOptions(mount);
    if (!hub) return Fail(hub.error());
    return MakeHubOrigin(*hub, limits, metrics, std::move(log));
  }
  auto options = ResolveS3Options(mount);
  if (!options) return Fail(options.error());
  return MakeS3Origin(*options, limits, metrics, std::move(log));
}

}  // namespace sluice::origin
