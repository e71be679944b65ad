#include "sluice/certs/certificate_secret.h"

#include <utility>

#include <fmt/format.h>

#include "sluice/certs/base64.h"
#include "sluice/core/json_access.h"

namespace sluice::certs {
namespace {

constexpr int kTries = 5;

std::string Field(const Json& secret, const char* key) {
  return DecodeBase64(StringOf(ChildOf(secret, "data"), key)).value_or("");
}

Identity ReadIdentity(const Json& secret) {
  return {.ca = {Field(secret, "ca-cert.pem"), Field(secret, "ca-key.pem")},
          .serving = {Field(secret, "cert.pem"), Field(secret, "key.pem")}};
}

void WriteIdentity(const Identity& identity, Json& secret) {
  Json& data = ObjectIn(secret, "data");
  data["ca-key.pem"] = EncodeBase64(identity.ca.key);
  data["ca-cert.pem"] = EncodeBase64(identity.ca.certificate);
  for (const char* key : {"key.pem", "tls.key"}) data[key] = EncodeBase64(identity.serving.key);
  for (const char* key : {"cert.pem", "tls.crt"}) {
    data[key] = EncodeBase64(identity.serving.certificate);
  }
}

bool LostRace(const Error& error) {
  return error.code == Code::kAlreadyExists || error.code == Code::kConflict;
}

}  // namespace

ServingNames ServiceNames(const std::string& ns) {
  const std::string name = fmt::format("{}.{}.svc", kServiceName, ns);
  return {.common_name = name, .dns = {"localhost", name}, .ips = {}};
}

CertificateSecret::CertificateSecret(Cluster& cluster, const Clock& clock, std::string ns,
                                     Policy policy)
    : cluster_(cluster), clock_(clock), ns_(std::move(ns)), policy_(policy) {}

Result<Renewal> CertificateSecret::Ensure() {
  auto renewal = EnsureOnce();
  for (int i = 1; i < kTries && !renewal && LostRace(renewal.error()); ++i) renewal = EnsureOnce();
  if (!renewal) {
    return Fail(renewal.error().Wrap(fmt::format("Secret {}/{}", ns_, kSecretName)));
  }
  return renewal;
}

Result<Renewal> CertificateSecret::EnsureOnce() {
  auto secret = cluster_.Get(resources::kSecret, {ns_, kSecretName});
  const bool absent = !secret && secret.error().code == Code::kNotFound;
  if (!secret && !absent) return Fail(secret.error());
  SLUICE_TRY(renewal,
             RenewIfNeeded(absent ? Identity{} : ReadIdentity(*secret), ServiceNames(ns_),
                           clock_.WallNow(), policy_),
             "certificates");
  if (renewal.reason.empty()) return renewal;
  if (absent) {
    renewal.reason = "there was none";
    Json created =
        Json::object({{"apiVersion", "v1"},
                      {"kind", "Secret"},
                      {"type", "Opaque"},
                      {"metadata", Json::object({{"namespace", ns_}, {"name", kSecretName}})}});
    WriteIdentity(renewal.identity, created);
    SLUICE_TRY(ignored, cluster_.Create(resources::kSecret, created), "create");
  } else {
    // Under the resource version that was read: a replica that renewed meanwhile wins.
    WriteIdentity(renewal.identity, *secret);
    SLUICE_TRY(ignored, cluster_.Replace(resources::kSecret, *secret), "replace");
  }
  return renewal;
}

Result<bool> EnsureCaBundle(Cluster& cluster, const std::string& configuration,
                            const std::string& ca_pem, PreviousCa previous, WallTime now) {
  const ObjectKey key{"", configuration};
  SLUICE_TRY(object, cluster.Get(resources::kMutatingWebhookConfiguration, key), "caBundle");
  Json webhooks = ItemsOf(object, "webhooks");
  bool differs = false;
  for (Json& webhook : webhooks) {
    if (!webhook.is_object()) continue;
    Json& client_config = ObjectIn(webhook, "clientConfig");
    const std::string current = StringOf(client_config, "caBundle");
    const std::string bundle = EncodeBase64(BundleWithPrevious(
        ca_pem, previous == PreviousCa::kKeep ? DecodeBase64(current).value_or("") : "", now));
    differs = differs || current != bundle;
    client_config["caBundle"] = bundle;
  }
  if (!differs) return false;
  // The list is replaced whole, so only over the version that was read.
  const Json patch = Json::object(
      {{"metadata",
        Json::object({{"resourceVersion", StringAt(object, "/metadata/resourceVersion")}})},
       {"webhooks", std::move(webhooks)}});
  SLUICE_TRY(ignored, cluster.MergePatch(resources::kMutatingWebhookConfiguration, key, patch),
             "caBundle");
  return true;
}

}  // namespace sluice::certs
