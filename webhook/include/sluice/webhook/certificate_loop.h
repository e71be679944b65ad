// Keeps the server's certificate current while it runs: from the cluster's Secret, or from files.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <stop_token>
#include <string>

#include "sluice/certs/certificate_secret.h"
#include "sluice/platform/guarded.h"
#include "sluice/platform/log.h"
#include "sluice/platform/metrics.h"
#include "sluice/webhook/tls_server.h"

namespace sluice::webhook {

// Takes a new certificate and key into use.
using UseCertificate =
    std::function<Status(const std::string& certificate, const std::string& key)>;

// The certificate of the Secret fluid-webhook-certs, and the caBundle that belongs to it. A new CA
// is trusted before a running server serves under it: for some minutes the bundle holds it beside
// the one before, and API servers get a moment to notice. A server that starts is not to be asked
// until NotTrustedReason is empty. Threads: Start and Run from one thread, the others from any.
class SecretCertificates {
 public:
  struct Timing {
    std::chrono::milliseconds check_every{60'000};
    std::chrono::milliseconds retry_after{10'000};
    std::chrono::milliseconds settle{3'000};  // from a bundle's writing to its use everywhere
    // A CA that was replaced is trusted for so long: every replica has changed over by then.
    std::chrono::milliseconds keep_previous{600'000};
  };
  struct Parts {
    Cluster& cluster;
    const Clock& clock;
    std::string ns;
    std::string directory;  // the files are written there too; empty: nowhere
    UseCertificate use;
    platform::Metrics& metrics;
    platform::Log log;
    certs::Policy policy = {};
    Timing timing = {};
  };
  explicit SecretCertificates(Parts parts);

  // Issues what is missing and takes it into use. An error means that nothing can be served.
  Status Start();
  // Checks again at intervals and whenever woken, until stopped.
  void Run(const std::stop_token& stop);
  // The configuration may have changed.
  void Wake();
  // Why API servers may refuse what is served; empty once they trust it, and from then on.
  [[nodiscard]] std::string NotTrustedReason() const;

  // One round of Run; true when all is as it should be.
  bool Check();

 private:
  Result<certs::Identity> Ensure();
  Status Use(const certs::Identity& identity);
  // False when it cannot be used.
  bool UseIfNew(const certs::Identity& identity);
  Status KeepBundle(const std::string& ca_certificate);
  // Whether API servers surely trust the CA, which was put or found in the bundle just now.
  bool Settled(const std::string& ca_certificate);

  Parts parts_;
  certs::CertificateSecret secret_;
  certs::Identity current_;
  std::string trusted_ca_;  // in the bundle since `trusted_since_`
  std::chrono::steady_clock::time_point trusted_since_;
  bool settling_ = false;
  std::atomic<bool> trusted_{false};
  platform::Gauge& expiry_;
  platform::Guarded<bool> woken_{false};
};

// tls.crt and tls.key of a directory, read again when their bytes change.
class FileCertificates {
 public:
  FileCertificates(std::string directory, UseCertificate use, platform::Metrics& metrics,
                   platform::Log log);
  // kNotFound or kInvalidArgument when the files cannot be used.
  Status Start();
  void Run(const std::stop_token& stop);
  // One look at the files; true when a new certificate was taken into use.
  bool Check();

 private:
  Result<certs::KeyPair> Read() const;
  Status Use(certs::KeyPair pair);

  std::string directory_;
  UseCertificate use_;
  platform::Gauge& expiry_;
  platform::Log log_;
  certs::KeyPair current_;
};

}  // namespace sluice::webhook
