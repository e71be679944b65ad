#include "sluice/webhook/certificate_loop.h"

#include <chrono>
#include <utility>

#include <fmt/format.h>

#include "sluice/platform/pause.h"
#include "sluice/platform/read_file.h"

namespace sluice::webhook {
namespace {

constexpr std::chrono::seconds kLookAtFilesEvery{2};

}  // namespace

SecretCertificates::SecretCertificates(Parts parts)
    : parts_(std::move(parts)),
      secret_(parts_.cluster, parts_.clock, parts_.ns, parts_.policy),
      expiry_(parts_.metrics.AddGauge("sluice_webhook_certificate_expiry_timestamp_seconds",
                                      "When the serving certificate ends.")) {}

Status SecretCertificates::Start() {
  auto identity = Ensure();
  if (!identity) return Fail(identity.error());
  return Use(*identity);
}

Result<certs::Identity> SecretCertificates::Ensure() {
  SLUICE_TRY(renewal, secret_.Ensure(), "serving certificate");
  if (!renewal.reason.empty()) {
    parts_.log.Info("issued a serving certificate", {{"reason", renewal.reason}});
  }
  return std::move(renewal.identity);
}

Status SecretCertificates::Use(const certs::Identity& identity) {
  const certs::KeyPair& serving = identity.serving;
  SLUICE_CHECK(parts_.use(serving.certificate, serving.key), "serving certificate");
  current_ = identity;
  if (auto end = certs::NotAfter(serving.certificate)) {
    expiry_.Set(static_cast<double>(std::chrono::system_clock::to_time_t(*end)));
  }
  if (!parts_.directory.empty()) {
    // We serve from memory; the files are for those who look.
    auto written = certs::WriteCertificateFiles(parts_.directory, current_);
    if (!written) {
      parts_.log.Warn("certificate files not written", {{"error", written.error().message}});
    }
  }
  return Ok();
}

bool SecretCertificates::Settled(const std::string& ca_certificate) {
  if (ca_certificate != trusted_ca_) {
    trusted_ca_ = ca_certificate;
    trusted_since_ = parts_.clock.Now();
  }
  return parts_.clock.Now() - trusted_since_ >= parts_.timing.settle;
}

bool SecretCertificates::Check() {
  auto identity = Ensure();
  if (!identity) {
    parts_.log.Error("certificate not checked", {{"error", identity.error().message}});
    return false;
  }
  auto written = certs::EnsureCaBundle(parts_.cluster, certs::kConfigurationName,
                                       identity->ca.certificate, parts_.clock.WallNow());
  if (!written) {
    parts_.log.Error("caBundle not checked", {{"configuration", certs::kConfigurationName},
                                              {"error", written.error().message}});
    return false;
  }
  if (*written) {
    parts_.log.Info("caBundle written", {{"configuration", certs::kConfigurationName}});
  }
  const bool settled = Settled(identity->ca.certificate);
  if (*identity == current_) return true;
  if (!settled && identity->ca.certificate != current_.ca.certificate) return false;
  if (auto used = Use(*identity); !used) {
    parts_.log.Error("certificate not taken into use", {{"error", used.error().message}});
    return false;
  }
  return true;
}

void SecretCertificates::Run(const std::stop_token& stop) {
  const std::stop_callback wake(stop, [this] { woken_.Notify(); });
  while (!stop.stop_requested()) {
    const auto pause = Check() ? parts_.timing.check_every : parts_.timing.retry_after;
    woken_.WaitUntil(std::chrono::steady_clock::now() + pause,
                     [&](bool woken) { return woken || stop.stop_requested(); });
    woken_.With([](bool& woken) { woken = false; });
  }
}

void SecretCertificates::Wake() {
  woken_.With([](bool& woken) { woken = true; });
  woken_.Notify();
}

FileCertificates::FileCertificates(std::string directory, UseCertificate use, platform::Log log)
    : directory_(std::move(directory)), use_(std::move(use)), log_(std::move(log)) {}

Result<certs::KeyPair> FileCertificates::Read() const {
  SLUICE_TRY(certificate, platform::ReadFile(directory_ + "/tls.crt"), "serving certificate");
  SLUICE_TRY(key, platform::ReadFile(directory_ + "/tls.key"), "serving certificate");
  return certs::KeyPair{std::move(certificate), std::move(key)};
}

Status FileCertificates::Start() {
  SLUICE_TRY(pair, Read(), "start");
  SLUICE_CHECK(use_(pair.certificate, pair.key), directory_);
  current_ = std::move(pair);
  return Ok();
}

bool FileCertificates::Check() {
  auto pair = Read();
  if (!pair || *pair == current_) return false;
  // Between two renames the files do not match; the next look sees both.
  if (auto used = use_(pair->certificate, pair->key); !used) {
    log_.Warn("certificate files not taken into use",
              {{"directory", directory_}, {"error", used.error().message}});
    return false;
  }
  current_ = std::move(*pair);
  log_.Info("certificate files taken into use", {{"directory", directory_}});
  return true;
}

void FileCertificates::Run(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    (void)platform::Pause(stop, kLookAtFilesEvery);
    Check();
  }
}

}  // namespace sluice::webhook
