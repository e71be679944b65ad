#include "sluice/core/s3_options.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>
#include <vector>

#include <fmt/format.h>

namespace sluice {
namespace {

enum class Field {
  kEndpoint,
  kRegion,
  kAccessKeyId,
  kSecretAccessKey,
  kSessionToken,
  kPathStyle,
  kCaFile,
  kIdentity,
  kStsEndpoint,
  kMetadataEndpoint,
  kRequesterPays
};

struct Alias {
  std::string_view option;
  Field field;
};

// Spellings in order of preference. A leading "fs.*" stands for the mount's own scheme first and
// then the other schemes, since Jindo users name the protocol there.
constexpr auto kAliases = std::to_array<Alias>({
    {"endpoint", Field::kEndpoint},
    {"fs.*.endpoint", Field::kEndpoint},
    {"alluxio.underfs.s3.endpoint", Field::kEndpoint},
    {"alluxio.underfs.oss.endpoint", Field::kEndpoint},
    {"region", Field::kRegion},
    {"fs.*.region", Field::kRegion},
    {"alluxio.underfs.s3.endpoint.region", Field::kRegion},
    {"alluxio.underfs.s3.region", Field::kRegion},
    {"accessKeyId", Field::kAccessKeyId},
    {"fs.*.accessKeyId", Field::kAccessKeyId},
    {"aws.accessKeyId", Field::kAccessKeyId},
    {"access-key", Field::kAccessKeyId},
    {"secretAccessKey", Field::kSecretAccessKey},
    {"fs.*.accessKeySecret", Field::kSecretAccessKey},
    {"aws.secretKey", Field::kSecretAccessKey},
    {"aws.secretAccessKey", Field::kSecretAccessKey},
    {"secret-key", Field::kSecretAccessKey},
    {"sessionToken", Field::kSessionToken},
    {"fs.*.securityToken", Field::kSessionToken},
    {"aws.sessionToken", Field::kSessionToken},
    {"token", Field::kSessionToken},
    {"pathStyle", Field::kPathStyle},
    {"alluxio.underfs.s3.disable.dns.buckets", Field::kPathStyle},
    {"caFile", Field::kCaFile},
    {"credentials", Field::kIdentity},
    {"stsEndpoint", Field::kStsEndpoint},
    {"metadataEndpoint", Field::kMetadataEndpoint},
    {"requesterPays", Field::kRequesterPays},
});

struct KnownIdentity {
  std::string_view value;  // of option "credentials"
  S3Identity identity;
  bool of_aws;  // for the schemes that speak AWS's own protocol
};

constexpr auto kIdentities = std::to_array<KnownIdentity>({
    {"keys", S3Identity::kKeys, false},
    {"anonymous", S3Identity::kAnonymous, false},
    {"web-identity", S3Identity::kWebIdentity, true},
    {"container", S3Identity::kContainer, true},
    {"instance", S3Identity::kInstance, true},
});

constexpr std::array<std::string_view, 4> kJindoSchemes = {"s3", "oss", "cos", "obs"};

// All option names that mean `field`, best first.
std::vector<std::string> Spellings(Field field, std::string_view scheme) {
  std::vector<std::string> names;
  for (const Alias& alias : kAliases) {
    if (alias.field != field) continue;
    if (!alias.option.starts_with("fs.*")) {
      names.emplace_back(alias.option);
      continue;
    }
    const std::string_view tail = alias.option.substr(4);
    names.push_back(fmt::format("fs.{}{}", scheme == "minio" ? "s3" : scheme, tail));
    for (const std::string_view other : kJindoSchemes) {
      std::string name = fmt::format("fs.{}{}", other, tail);
      if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
    }
  }
  return names;
}

Result<CredentialSource> Look(const MountConfig& mount, Field field, std::string_view scheme) {
  return FindOption(mount, Spellings(field, scheme));
}

Result<std::string> LookValue(const MountConfig& mount, Field field, std::string_view scheme) {
  return FindPlainOption(mount, Spellings(field, scheme));
}

Result<bool> LookTruth(const MountConfig& mount, Field field, std::string_view scheme,
                       bool otherwise) {
  auto text = LookValue(mount, field, scheme);
  if (!text) return Fail(text.error());
  if (text->empty()) return otherwise;
  if (*text == "true" || *text == "false") return *text == "true";
  return Fail(Code::kInvalidArgument,
              fmt::format("option \"{}\" must be true or false", Spellings(field, scheme).front()));
}

// An endpoint that has a default elsewhere; empty when it is not given.
Result<std::string> LookEndpoint(const MountConfig& mount, Field field, std::string_view scheme) {
  auto text = LookValue(mount, field, scheme);
  if (!text || text->empty()) return text;
  auto endpoint = ParseEndpoint(*text);
  if (!endpoint) {
    return Fail(
        endpoint.error().Wrap(fmt::format("option \"{}\"", Spellings(field, scheme).front())));
  }
  return endpoint->Url();
}

bool IsIpAddress(std::string_view host) {
  return host.starts_with('[') || std::all_of(host.begin(), host.end(), [](char c) {
           return (c >= '0' && c <= '9') || c == '.';
         });
}

bool SpeaksAws(std::string_view scheme) { return scheme == "s3" || scheme == "minio"; }

// The region that the big providers put into their host names.
std::string RegionOfHost(std::string_view host) {
  const auto between = [&](std::string_view front, std::string_view tail) -> std::string {
    const std::size_t begin = host.find(front);
    if (begin == std::string_view::npos || !host.ends_with(tail)) return "";
    const std::size_t start = begin + front.size();
    if (start + tail.size() >= host.size()) return "";
    return std::string(host.substr(start, host.size() - tail.size() - start));
  };
  if (auto region = between("oss-", ".aliyuncs.com"); !region.empty()) {
    if (region.ends_with("-internal")) region.resize(region.size() - 9);
    return region.starts_with("accelerate") ? "" : region;
  }
  for (const auto& [front, tail] :
       std::initializer_list<std::pair<const char*, const char*>>{{"cos.", ".myqcloud.com"},
                                                                  {"obs.", ".myhuaweicloud.com"},
                                                                  {"s3.", ".amazonaws.com"},
                                                                  {"s3-", ".amazonaws.com"},
                                                                  {"s3.", ".amazonaws.com.cn"}}) {
    if (auto region = between(front, tail); !region.empty()) return region;
  }
  return "";
}

bool IsVirtualHostProvider(std::string_view host) {
  constexpr std::array<std::string_view, 5> kTails = {".amazonaws.com", ".amazonaws.com.cn",
                                                      ".aliyuncs.com", ".myqcloud.com",
                                                      ".myhuaweicloud.com"};
  return std::any_of(kTails.begin(), kTails.end(),
                     [&](std::string_view tail) { return host.ends_with(tail); });
}

// Where a bucket of this provider lives when only the region is known.
std::optional<std::string> DefaultHost(std::string_view scheme, const std::string& region) {
  if (scheme == "s3") {
    const std::string where = region.empty() ? "us-east-1" : region;
    return fmt::format("s3.{}.amazonaws.com{}", where, where.starts_with("cn-") ? ".cn" : "");
  }
  if (region.empty()) return std::nullopt;
  if (scheme == "oss") return fmt::format("oss-{}.aliyuncs.com", region);
  if (scheme == "cos") return fmt::format("cos.{}.myqcloud.com", region);
  if (scheme == "obs") return fmt::format("obs.{}.myhuaweicloud.com", region);
  return std::nullopt;
}

// OSS speaks the S3 protocol with version 4 signatures at s3.oss-<region>.aliyuncs.com; users know
// the host without "s3.".
void UseS3HostOfOss(Endpoint& endpoint) {
  if (endpoint.host.starts_with("oss-") && endpoint.host.ends_with(".aliyuncs.com")) {
    endpoint.host = "s3." + endpoint.host;
  }
}

Status ResolveEndpoint(const MountConfig& mount, S3Options& out) {
  auto region = LookValue(mount, Field::kRegion, out.scheme);
  if (!region) return Fail(region.error());
  auto text = LookValue(mount, Field::kEndpoint, out.scheme);
  if (!text) return Fail(text.error());
  if (text->empty()) {
    const auto host = DefaultHost(out.scheme, *region);
    if (!host) {
      return Fail(Code::kInvalidArgument,
                  fmt::format("option \"endpoint\" (or \"fs.{}.endpoint\") is missing",
                              out.scheme == "minio" ? "s3" : out.scheme));
    }
    *text = *host;
  }
  auto endpoint = ParseEndpoint(*text);
  if (!endpoint) return Fail(endpoint.error());
  UseS3HostOfOss(*endpoint);
  out.endpoint = endpoint->Url();
  out.region = !region->empty() ? *region : RegionOfHost(endpoint->host);
  if (out.region.empty()) out.region = "us-east-1";

  // A dot in the bucket does not match the provider's wildcard certificate.
  const bool dotted = out.bucket.find('.') != std::string::npos && endpoint->scheme == "https";
  auto style =
      LookTruth(mount, Field::kPathStyle, out.scheme,
                dotted || IsIpAddress(endpoint->host) || !IsVirtualHostProvider(endpoint->host));
  if (!style) return Fail(style.error());
  out.path_style = *style;
  return Ok();
}

Status ResolveKeys(const MountConfig& mount, S3Options& out) {
  struct Wanted {
    Field field;
    CredentialSource* target;
  };
  for (const auto& [field, target] : {Wanted{Field::kAccessKeyId, &out.access_key_id},
                                      Wanted{Field::kSecretAccessKey, &out.secret_access_key},
                                      Wanted{Field::kSessionToken, &out.session_token}}) {
    auto source = Look(mount, field, out.scheme);
    if (!source) return Fail(source.error());
    *target = std::move(*source);
  }
  if (out.access_key_id.Given() != out.secret_access_key.Given()) {
    const bool has_id = out.access_key_id.Given();
    return Fail(Code::kInvalidArgument,
                fmt::format("option \"{}\" is given without {}; give both, or none for anonymous "
                            "access",
                            has_id ? out.access_key_id.option : out.secret_access_key.option,
                            has_id ? "secretAccessKey" : "accessKeyId"));
  }
  if (out.session_token.Given() && !out.access_key_id.Given()) {
    return Fail(Code::kInvalidArgument,
                fmt::format("option \"{}\" is given without accessKeyId and secretAccessKey",
                            out.session_token.option));
  }
  return Ok();
}

// The row of the option's value; null when it is not given.
Result<const KnownIdentity*> NamedIdentity(const MountConfig& mount, std::string_view scheme) {
  auto value = LookValue(mount, Field::kIdentity, scheme);
  if (!value) return Fail(value.error());
  if (value->empty()) return nullptr;
  for (const KnownIdentity& known : kIdentities) {
    if (known.value == *value) return &known;
  }
  return Fail(Code::kInvalidArgument,
              "option \"credentials\" must be one of keys, anonymous, web-identity, container, "
              "instance");
}

Status ResolveIdentity(const MountConfig& mount, S3Options& out) {
  const auto found = NamedIdentity(mount, out.scheme);
  if (!found) return Fail(found.error());
  const KnownIdentity* const named = *found;
  const bool has_keys = out.access_key_id.Given();
  if (named == nullptr) {
    if (has_keys) out.identity = S3Identity::kKeys;
    // The environment's identities are AWS's.
    if (!has_keys && !SpeaksAws(out.scheme)) out.identity = S3Identity::kAnonymous;
    return Ok();
  }
  if (named->of_aws && !SpeaksAws(out.scheme)) {
    return Fail(Code::kInvalidArgument,
                fmt::format("option \"credentials\": \"{}\" is for s3:// and minio://; for {}:// "
                            "write keys (with fs.{}.accessKeyId and fs.{}.accessKeySecret) or "
                            "anonymous",
                            named->value, out.scheme, out.scheme, out.scheme));
  }
  if (has_keys && named->identity != S3Identity::kKeys) {
    return Fail(Code::kInvalidArgument,
                fmt::format("option \"credentials\" is \"{}\", but option \"{}\" is given too; "
                            "remove the keys, or write keys",
                            named->value, out.access_key_id.option));
  }
  if (!has_keys && named->identity == S3Identity::kKeys) {
    return Fail(Code::kInvalidArgument,
                "option \"credentials\" is \"keys\", but there are none; give accessKeyId and "
                "secretAccessKey, best from a Secret (encryptOptions)");
  }
  out.identity = named->identity;
  return Ok();
}

Status ResolveCredentials(const MountConfig& mount, S3Options& out) {
  if (auto status = ResolveKeys(mount, out); !status) return status;
  if (auto status = ResolveIdentity(mount, out); !status) return status;
  auto sts = LookEndpoint(mount, Field::kStsEndpoint, out.scheme);
  if (!sts) return Fail(sts.error());
  auto metadata = LookEndpoint(mount, Field::kMetadataEndpoint, out.scheme);
  if (!metadata) return Fail(metadata.error());
  auto pays = LookTruth(mount, Field::kRequesterPays, out.scheme, false);
  if (!pays) return Fail(pays.error());
  out.sts_endpoint = std::move(*sts);
  out.metadata_endpoint = std::move(*metadata);
  out.requester_pays = *pays;
  if (out.requester_pays && out.identity == S3Identity::kAnonymous) {
    return Fail(Code::kInvalidArgument,
                "option \"requesterPays\" needs credentials: who pays must sign; give keys, or "
                "another kind in option \"credentials\"");
  }
  return Ok();
}

}  // namespace

Result<S3Options> ResolveS3Options(const MountConfig& mount) {
  auto uri = ParseMountUri(mount.mount_point);
  if (!uri) return Fail(uri.error().Wrap("mountPoint"));
  if (!IsObjectStore(uri->scheme)) {
    return Fail(Code::kInvalidArgument, fmt::format("{}: scheme \"{}\" is no object store",
                                                    mount.mount_point, uri->scheme));
  }
  S3Options out;
  out.scheme = uri->scheme;
  out.bucket = uri->authority;
  if (!uri->path.empty()) out.prefix = uri->path + "/";
  SLUICE_CHECK(ResolveEndpoint(mount, out), mount.mount_point);
  SLUICE_CHECK(ResolveCredentials(mount, out), mount.mount_point);
  auto ca = Look(mount, Field::kCaFile, out.scheme);
  if (!ca) return Fail(ca.error().Wrap(mount.mount_point));
  out.ca_file = ca->file.empty() ? ca->value : ca->file;
  return out;
}

}  // namespace sluice
