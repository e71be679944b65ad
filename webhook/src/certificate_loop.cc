#include "sluice/webhook/certificate_loop.h"

#include <chrono>
#include <utility>

#include <fmt/format.h>

#include "sluice/platform/pause.h"
#include "sluice/platform/read_file.h"

namespace sluice::webhook {
namespace {

constexpr std::chrono::seconds kLookAtFilesEvery{2};

platform::Gauge& ExpiryGauge(platform::Metrics& metrics) {
  return metrics.AddGauge("sluice_webhook_certificate_expiry_timestamp_seconds",
                          "When the serving certificate ends.");
}

void SetExpiry(const std::string& certificate, platform::Gauge& gauge) {
  if (auto end = certs::NotAfter(certificate)) {
    gauge.Set(static_cast<double>(std::chrono::system_clock::to_time_t(*end)));
  }
}

}  // namespace

SecretCertificates::SecretCertificates(Parts parts)
    : parts_(std::move(parts)),
      secret_(parts_.cluster, parts_.clock, parts_.ns, parts_.policy),
      expiry_(ExpiryGauge(parts_.metrics)) {}

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
  SetExpiry(serving.certificate, expiry_);
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

Status SecretCertificates::KeepBundle(const std::string& ca_certificate) {
  const bool changing = ca_certificate != trusted_ca_ ||
                        parts_.clock.Now() - trusted_since_ < parts_.timing.keep_previous;
  auto written = certs::EnsureCaBundle(
      parts_.cluster, certs::kConfigurationName, ca_certificate,
      changing ? certs::PreviousCa::kKeep : certs::PreviousCa::kDrop, parts_.clock.WallNow());
  if (!written) return Fail(written.error());
  if (*written) {
    parts_.log.Info("caBundle written", {{"configuration", certs::kConfigurationName}});
  }
  return Ok();
}

bool SecretCertificates::Check() {
  settling_ = false;
  auto identity = Ensure();
  if (!identity) {
    parts_.log.Error("certificate not checked", {{"error", identity.error().message}});
    return false;
  }
  const std::string& ca = identity->ca.certificate;
  // What the CA that is trusted already has signed needs no waiting.
  if (ca == current_.ca.certificate && !UseIfNew(*identity)) return false;
  if (auto kept = KeepBundle(ca); !kept) {
    parts_.log.Error("caBundle not checked", {{"configuration", certs::kConfigurationName},
                                              {"error", kept.error().message}});
    // Nobody calls us, or somebody else keeps the bundle: neither is a reason to wait.
    const Code code = kept.error().code;
    if (code == Code::kNotFound || code == Code::kPermissionDenied) trusted_ = true;
    return false;
  }
  settling_ = !Settled(ca);
  if (settling_ || !UseIfNew(*identity)) return false;
  trusted_ = true;
  return true;
}

bool SecretCertificates::UseIfNew(const certs::Identity& identity) {
  if (identity == current_) return true;
  auto used = Use(identity);
  if (!used) {
    parts_.log.Error("certificate not taken into use", {{"error", used.error().message}});
  }
  return used.has_value();
}

std::string SecretCertificates::NotTrustedReason() const {
  return trusted_ ? "" : "the serving certificate's CA is not known to be in caBundle yet";
}

void SecretCertificates::Run(const std::stop_token& stop) {
  const std::stop_callback wake(stop, [this] { woken_.Notify(); });
  while (!stop.stop_requested()) {
    const bool done = Check();
    const auto pause = done        ? parts_.timing.check_every
                       : settling_ ? parts_.timing.settle
                                   : parts_.timing.retry_after;
    woken_.WaitUntil(std::chrono::steady_clock::now() + pause,
                     [&](bool woken) { return woken || stop.stop_requested(); });
    woken_.With([](bool& woken) { woken = false; });
  }
}

void SecretCertificates::Wake() {
  woken_.With([](bool& woken) { woken = true; });
  woken_.Notify();
}

FileCertificates::FileCertificates(std::string directory, UseCertificate use,
                                   platform::Metrics& metrics, platform::Log log)
    : directory_(std::move(directory)),
      use_(std::move(use)),
      expiry_(ExpiryGauge(metrics)),
      log_(std::move(log)) {}

Status FileCertificates::Use(certs::KeyPair pair) {
  if (auto used = use_(pair.certificate, pair.key); !used) return used;
  SetExpiry(pair.certificate, expiry_);
  current_ = std::move(pair);
  return Ok();
}

Result<certs::KeyPair> FileCertificates::Read() const {
  SLUICE_TRY(certificate, platform::ReadFile(directory_ + "/tls.crt"), "serving certificate");
  SLUICE_TRY(key, platform::ReadFile(directory_ + "/tls.key"), "serving certificate");
  return certs::KeyPair{std::move(certificate), std::move(key)};
}

Status FileCertificates::Start() {
  SLUICE_TRY(pair, Read(), "start");
  SLUICE_CHECK(Use(std::move(pair)), directory_);
  return Ok();
}

bool FileCertificates::Check() {
  auto pair = Read();
  if (!pair || *pair == current_) return false;
  // Between two renames the files do not match; the next look sees both.
  if (auto used = Use(std::move(*pair)); !used) {
    log_.Warn("certificate files not taken into use",
              {{"directory", directory_}, {"error", used.error().message}});
    return false;
  }
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
