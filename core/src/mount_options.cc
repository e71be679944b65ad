#include "sluice/core/mount_options.h"

#include <algorithm>

#include <fmt/format.h>

#include "sluice/core/s3_options.h"
#include "sluice/core/transfer_options.h"
#include "sluice/core/web_options.h"

namespace sluice {

Result<CredentialSource> FindOption(const MountConfig& mount,
                                    const std::vector<std::string>& spellings) {
  for (const std::string& name : spellings) {
    const auto option = mount.options.find(name);
    const auto file = mount.secret_files.find(name);
    if (option != mount.options.end() && file != mount.secret_files.end()) {
      return Fail(
          Code::kInvalidArgument,
          fmt::format("option \"{}\" is given twice, plainly and as a Secret; keep one", name));
    }
    if (file != mount.secret_files.end()) return CredentialSource{file->second, "", name};
    if (option != mount.options.end() && !option->second.empty()) {
      return CredentialSource{"", option->second, name};
    }
  }
  return CredentialSource{};
}

Result<std::string> FindPlainOption(const MountConfig& mount,
                                    const std::vector<std::string>& spellings) {
  auto source = FindOption(mount, spellings);
  if (!source) return Fail(source.error());
  if (!source->file.empty()) {
    return Fail(Code::kInvalidArgument,
                fmt::format("option \"{}\" must be a plain option: only credentials can come from "
                            "a Secret",
                            source->option));
  }
  return source->value;
}

Result<Endpoint> ParseEndpoint(std::string_view text) {
  const auto bad = [](std::string_view why) {
    return Fail(Code::kInvalidArgument,
                fmt::format("the endpoint {}; write http://host:port or https://host", why));
  };
  Endpoint endpoint;
  if (const std::size_t mark = text.find("://"); mark != std::string_view::npos) {
    endpoint.scheme = text.substr(0, mark);
    if (endpoint.scheme != "http" && endpoint.scheme != "https") {
      return bad("must be http or https");
    }
    text.remove_prefix(mark + 3);
  }
  if (text.ends_with('/')) text.remove_suffix(1);
  if (text.find('@') != std::string_view::npos) return bad("must not carry credentials");
  if (text.find_first_of("/?#") != std::string_view::npos) return bad("must not have a path");
  const std::size_t bracket = text.starts_with('[') ? text.find(']') : 0;
  if (bracket == std::string_view::npos) return bad("has an unclosed '['");
  const std::size_t colon = text.find(':', bracket);
  endpoint.host = text.substr(0, colon);
  if (colon != std::string_view::npos) {
    endpoint.port = text.substr(colon);
    const std::string digits = endpoint.port.substr(1);
    if (digits.empty() || digits.size() > 5 ||
        digits.find_first_not_of("0123456789") != std::string::npos || std::stoi(digits) == 0 ||
        std::stoi(digits) > 65535) {
      return bad("has a malformed port");
    }
  }
  const bool legal = std::all_of(endpoint.host.begin(), endpoint.host.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '-' || c == '_' || c == '[' || c == ']' || c == ':';
  });
  if (endpoint.host.empty() || !legal) return bad("has no host name or a malformed one");
  return endpoint;
}

Status CheckMountOptions(const MountConfig& mount) {
  const auto uri = ParseMountUri(mount.mount_point);
  if (!uri) return Fail(uri.error().Wrap("mountPoint"));
  Status status;
  const auto note = [&](const auto& options) {
    if (!options) status = Fail(options.error());
  };
  if (IsObjectStore(uri->scheme)) note(ResolveS3Options(mount));
  if (IsWeb(uri->scheme)) note(ResolveWebOptions(mount));
  if (uri->scheme == "hf") note(ResolveHubOptions(mount));
  if (status) note(ResolveTransferOptions(mount));
  return status;
}

}  // namespace sluice
