// Keeps the server's certificate current while it runs: from the cluster's Secret, or from files.
#pragma once

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

// The certificate of the Secret fluid-webhook-certs, and the caBundle that belongs to it.
// Threads: Start and Run from one thread, Wake from any.
class SecretCertificates {
 public:
  struct Parts {
    Cluster& cluster;
    const Clock& clock;
    std::string ns;
    std::string directory;  // the files are written there too; empty: nowhere
    UseCertificate use;
    platform::Metrics& metrics;
    platform::Log log;
  };
  explicit SecretCertificates(Parts parts);

  // Issues what is missing and takes it into use. An error means that nothing can be served.
  Status Start();
  // Checks again at intervals and whenever woken, until stopped.
  void Run(const std::stop_token& stop);
  // The configuration may have changed.
  void Wake();

  // One round of Run; true when all is as it should be.
  bool Check();

 private:
  Status Refresh();

  Parts parts_;
  certs::CertificateSecret secret_;
  certs::Identity current_;
  platform::Gauge& expiry_;
  platform::Guarded<bool> woken_{false};
};

// tls.crt and tls.key of a directory, read again when their bytes change.
class FileCertificates {
 public:
  FileCertificates(std::string directory, UseCertificate use, platform::Log log);
  // kNotFound or kInvalidArgument when the files cannot be used.
  Status Start();
  void Run(const std::stop_token& stop);
  // One look at the files; true when a new certificate was taken into use.
  bool Check();

 private:
  Result<certs::KeyPair> Read() const;

  std::string directory_;
  UseCertificate use_;
  platform::Log log_;
  certs::KeyPair current_;
};

}  // namespace sluice::webhook
