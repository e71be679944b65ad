#include "sluice/certs/worker_secrets.h"

#include <map>
#include <utility>

#include <fmt/format.h>

#include "sluice/certs/base64.h"
#include "sluice/core/json_access.h"

namespace sluice::certs {
namespace {

constexpr int kMostTries = 5;
constexpr const char* kCertificate = "tls.crt";
constexpr const char* kKey = "tls.key";
constexpr const char* kTrusted = "ca.crt";
constexpr const char* kNextCertificate = "next.crt";
constexpr const char* kNextKey = "next.key";
constexpr const char* kFormer = "former.crt";

using Texts = std::map<std::string, std::string>;  // by key of the Secret

std::string OwnerOf(const Json& object) {
  return StringAt(object, "/metadata/ownerReferences/0/uid");
}

// The Secret as it is; null where there is none.
Result<Json> Find(Cluster& cluster, const Json& wanted) {
  const ObjectKey key = KeyOf(wanted);
  auto secret = cluster.Get(resources::kSecret, key);
  if (!secret) {
    if (secret.error().code == Code::kNotFound) return Json();
    return Fail(secret.error().Wrap(fmt::format("Secret {}", key.ToString())));
  }
  if (OwnerOf(*secret) != OwnerOf(wanted)) {
    return Fail(Code::kAlreadyExists,
                fmt::format("Secret {} exists already and is not this runtime's; remove it",
                            key.ToString()));
  }
  return secret;
}

std::string TextOf(const Json& secret, const char* key) {
  return DecodeBase64(StringOf(ChildOf(secret, "data"), key)).value_or("");
}

KeyPair PairOf(const Json& secret) { return {TextOf(secret, kCertificate), TextOf(secret, kKey)}; }

// Creates or replaces it under the version that was seen; false when it has this already.
Result<bool> Write(Cluster& cluster, const Json& wanted, const Json& seen, const Texts& texts) {
  Json data = Json::object();
  for (const auto& [key, text] : texts) {
    if (!text.empty()) data[key] = EncodeBase64(text);
  }
  if (ChildOf(seen, "data") == data) return false;
  Json secret = seen.is_object() ? seen : wanted;
  secret["data"] = std::move(data);
  auto written = seen.is_object() ? cluster.Replace(resources::kSecret, secret)
                                  : cluster.Create(resources::kSecret, secret);
  if (!written) {
    return Fail(written.error().Wrap(fmt::format("Secret {}", KeyOf(wanted).ToString())));
  }
  return true;
}

Result<bool> EnsureOnce(Cluster& cluster, const WorkerSecrets& wanted, WallTime now,
                        const WorkerPolicy& policy) {
  SLUICE_TRY(authority, Find(cluster, wanted.authority), "authority");
  SLUICE_TRY(worker, Find(cluster, wanted.worker), "workers");
  SLUICE_TRY(client, Find(cluster, wanted.client), "clients");
  const WorkerIdentity current{
      .authority = PairOf(authority),
      .next = {TextOf(authority, kNextCertificate), TextOf(authority, kNextKey)},
      .former = TextOf(authority, kFormer),
      .worker = PairOf(worker),
      .client = PairOf(client)};
  SLUICE_TRY(identity, RenewWorkerIdentity(current, wanted.domain, now, policy), "certificates");
  const std::string trusted = TrustedAuthorities(identity);
  // The authority first: what it signed is of no use without it.
  SLUICE_TRY(authority_written,
             Write(cluster, wanted.authority, authority,
                   {{kCertificate, identity.authority.certificate},
                    {kKey, identity.authority.key},
                    {kNextCertificate, identity.next.certificate},
                    {kNextKey, identity.next.key},
                    {kFormer, identity.former}}),
             "authority");
  SLUICE_TRY(worker_written,
             Write(cluster, wanted.worker, worker,
                   {{kTrusted, trusted},
                    {kCertificate, identity.worker.certificate},
                    {kKey, identity.worker.key}}),
             "workers");
  SLUICE_TRY(client_written,
             Write(cluster, wanted.client, client,
                   {{kTrusted, trusted},
                    {kCertificate, identity.client.certificate},
                    {kKey, identity.client.key}}),
             "clients");
  return authority_written || worker_written || client_written;
}

}  // namespace

Result<bool> EnsureWorkerSecrets(Cluster& cluster, const WorkerSecrets& wanted, WallTime now,
                                 const WorkerPolicy& policy) {
  auto written = EnsureOnce(cluster, wanted, now, policy);
  // Another one wrote meanwhile.
  for (int i = 1; i < kMostTries && !written; ++i) {
    const Code code = written.error().code;
    if (code != Code::kConflict && code != Code::kAlreadyExists) break;
    written = EnsureOnce(cluster, wanted, now, policy);
  }
  return written;
}

}  // namespace sluice::certs
