// The Secret that all replicas of the webhook share: its CA and its serving certificate.
#pragma once

#include <string>

#include "sluice/certs/certificate.h"
#include "sluice/ports/clock.h"
#include "sluice/ports/cluster.h"

namespace sluice::certs {

inline constexpr const char* kSecretName = "fluid-webhook-certs";
inline constexpr const char* kServiceName = "fluid-pod-admission-webhook";
inline constexpr const char* kConfigurationName = "fluid-pod-admission-webhook";

// `<service>.<ns>.svc`, and localhost.
ServingNames ServiceNames(const std::string& ns);

class CertificateSecret {
 public:
  // Cluster and clock must outlive the object.
  CertificateSecret(Cluster& cluster, const Clock& clock, std::string ns, Policy policy = {});

  // The identity in the Secret, issued or renewed first when that is due. When another replica was
  // faster, its identity. Safe to call again and again.
  Result<Renewal> Ensure();

 private:
  Result<Renewal> EnsureOnce();

  Cluster& cluster_;
  const Clock& clock_;
  std::string ns_;
  Policy policy_;
};

enum class PreviousCa { kKeep, kDrop };

// Gives every webhook of the configuration a bundle of the CA, and of the one before it
// (BundleWithPrevious) if that is kept, when it has another. True when something was written. A
// configuration that does not exist (yet) is kNotFound.
Result<bool> EnsureCaBundle(Cluster& cluster, const std::string& configuration,
                            const std::string& ca_pem, PreviousCa previous, WallTime now);

// The files of the contract, mode 0600, each replaced in one step: ca-key.pem, ca-cert.pem,
// key.pem, cert.pem, tls.key, tls.crt.
Status WriteCertificateFiles(const std::string& directory, const Identity& identity);

}  // namespace sluice::certs
