#include "sluice/core/web_options.h"

#include <algorithm>
#include <string_view>

#include <fmt/format.h>

#include "hub_uri.h"

namespace sluice {
namespace {

constexpr const char* kHubEndpoint = "https://huggingface.co";

struct Shared {
  std::string ca_file;
  CredentialSource token;
};

Result<Shared> ResolveShared(const MountConfig& mount) {
  Shared shared;
  auto ca = FindOption(mount, {"caFile"});
  if (!ca) return Fail(ca.error());
  shared.ca_file = ca->file.empty() ? ca->value : ca->file;
  auto token = FindOption(mount, {"token"});
  if (!token) return Fail(token.error());
  shared.token = std::move(*token);
  return shared;
}

// A path below the mount point, as it is put into a URL later.
Status CheckManifest(std::string_view manifest) {
  const bool plain = std::all_of(manifest.begin(), manifest.end(), [](char c) {
    return static_cast<unsigned char>(c) >= ' ' && c != '\x7f';
  });
  const bool listed = manifest.ends_with(".json") || manifest.ends_with(".txt");
  const std::string padded = fmt::format("/{}/", manifest);
  if (!plain || !listed || padded.find("//") != std::string::npos ||
      padded.find("/../") != std::string::npos || padded.find("/./") != std::string::npos ||
      manifest.find("://") != std::string_view::npos) {
    return Fail(Code::kInvalidArgument,
                "option \"manifest\" must be the path of a .json or .txt file, relative to the "
                "mount point");
  }
  return Ok();
}

// As Git has them, less what is rare.
Status CheckRevision(std::string_view revision) {
  const bool plain = std::all_of(revision.begin(), revision.end(), [](char c) {
    return static_cast<unsigned char>(c) > ' ' &&
           std::string_view("\x7f~^:?*[\\@").find(c) == std::string_view::npos;
  });
  if (plain && !revision.starts_with('/') && !revision.ends_with('/') &&
      revision.find("..") == std::string_view::npos &&
      revision.find("//") == std::string_view::npos && revision.size() <= 255) {
    return Ok();
  }
  return Fail(Code::kInvalidArgument,
              "the revision must be the name of a branch or tag, or a commit");
}

}  // namespace

Result<WebOptions> ResolveWebOptions(const MountConfig& mount) {
  auto uri = ParseMountUri(mount.mount_point);
  if (!uri) return Fail(uri.error().Wrap("mountPoint"));
  if (!IsWeb(uri->scheme)) {
    return Fail(Code::kInvalidArgument,
                fmt::format("{}: scheme \"{}\" is no web server", mount.mount_point, uri->scheme));
  }
  WebOptions out;
  out.url = fmt::format("{}://{}/{}", uri->scheme, uri->authority, uri->path);
  if (mount.mount_point.ends_with('/') && !out.url.ends_with('/')) out.url += '/';
  SLUICE_TRY(shared, ResolveShared(mount), mount.mount_point);
  out.ca_file = std::move(shared.ca_file);
  out.token = std::move(shared.token);
  SLUICE_TRY(manifest, FindPlainOption(mount, {"manifest"}), mount.mount_point);
  if (!manifest.empty()) {
    SLUICE_CHECK(CheckManifest(manifest), mount.mount_point);
    if (!out.url.ends_with('/')) out.url += '/';
  }
  out.manifest = std::move(manifest);
  return out;
}

Result<HubOptions> ResolveHubOptions(const MountConfig& mount) {
  auto uri = ParseMountUri(mount.mount_point);
  if (!uri) return Fail(uri.error().Wrap("mountPoint"));
  if (uri->scheme != "hf") {
    return Fail(Code::kInvalidArgument,
                fmt::format("{}: scheme \"{}\" is not the Hub's", mount.mount_point, uri->scheme));
  }
  SLUICE_TRY(hub, ParseHubUri(std::string_view(mount.mount_point).substr(5)), "mountPoint");
  HubOptions out;
  out.kind = std::move(hub.kind);
  out.repository = std::move(hub.repository);
  out.path = std::move(uri->path);
  SLUICE_TRY(revision, FindPlainOption(mount, {"revision"}), mount.mount_point);
  if (!revision.empty() && !hub.revision.empty()) {
    return Fail(Code::kInvalidArgument,
                fmt::format("{}: the revision is given twice, after '@' and as option "
                            "\"revision\"; keep one",
                            mount.mount_point));
  }
  out.revision = !revision.empty() ? revision : hub.revision;
  if (out.revision.empty()) out.revision = "main";
  SLUICE_CHECK(CheckRevision(out.revision), mount.mount_point);
  SLUICE_TRY(address, FindPlainOption(mount, {"endpoint"}), mount.mount_point);
  SLUICE_TRY(endpoint, ParseEndpoint(address.empty() ? kHubEndpoint : address), mount.mount_point);
  out.endpoint = endpoint.Url();
  SLUICE_TRY(shared, ResolveShared(mount), mount.mount_point);
  out.ca_file = std::move(shared.ca_file);
  out.token = std::move(shared.token);
  return out;
}

}  // namespace sluice
