#include "sluice/core/transfer_options.h"

#include <charconv>
#include <string>

#include <fmt/format.h>

#include "sluice/core/mount_options.h"
#include "sluice/core/quantity.h"

namespace sluice {
namespace {

Status Wrong(const char* option, const std::string& value, const std::string& wanted) {
  return Fail(Code::kInvalidArgument,
              fmt::format("option \"{}\" is \"{}\"; {}", option, value, wanted));
}

Status ReadConnections(const std::string& value, TransferOptions& out) {
  if (value.empty()) return Ok();
  const char* const end = value.data() + value.size();
  const auto [rest, error] = std::from_chars(value.data(), end, out.max_connections);
  if (error == std::errc() && rest == end && out.max_connections >= 1 &&
      out.max_connections <= kMostConnections) {
    return Ok();
  }
  return Wrong("maxConnections", value,
               fmt::format("write a whole number from 1 to {}", kMostConnections));
}

Status ReadBandwidth(const std::string& value, TransferOptions& out) {
  if (value.empty()) return Ok();
  const auto bytes = ParseBytes(value);
  if (!bytes || *bytes < kLeastBandwidth) {
    return Wrong(
        "bandwidth", value,
        "write bytes a second as a quantity of 1Mi or more, for example 200Mi, or leave it "
        "out for no limit");
  }
  out.bytes_per_second = *bytes;
  return Ok();
}

Status ReadHedge(const std::string& value, TransferOptions& out) {
  if (!value.empty() && value != "true" && value != "false") {
    return Wrong("hedge", value, "write true or false");
  }
  out.hedge = value != "false";
  return Ok();
}

}  // namespace

Result<TransferOptions> ResolveTransferOptions(const MountConfig& mount) {
  TransferOptions out;
  for (const auto& [option, read] :
       {std::pair("maxConnections", &ReadConnections), std::pair("bandwidth", &ReadBandwidth),
        std::pair("hedge", &ReadHedge)}) {
    SLUICE_TRY(value, FindPlainOption(mount, {option}), mount.mount_point);
    SLUICE_CHECK(read(value, out), mount.mount_point);
  }
  return out;
}

}  // namespace sluice
