// Temporary credentials, renewed in time while they are used.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <random>
#include <thread>

#include "sluice/platform/guarded.h"
#include "sluice/platform/log.h"
#include "sluice/platform/metrics.h"
#include "sluice/ports/clock.h"

#include "credentials_provider.h"
#include "credentials_source.h"

namespace sluice::origin {

struct RenewalLimits {
  unsigned max_attempts = 3;                     // of one renewal
  std::chrono::milliseconds deadline{20'000};    // of one renewal, its retries included
  std::chrono::milliseconds first_backoff{100};  // between attempts; doubles, full jitter
  std::chrono::milliseconds max_backoff{2'000};
  std::chrono::milliseconds first_pause{1'000};  // after a failed renewal; doubles, with jitter
  std::chrono::milliseconds max_pause{30'000};
  std::chrono::seconds margin{300};        // before the end, or a third of the whole life
  std::chrono::seconds refusal_pause{30};  // younger credentials are not renewed when refused
};

// Current() asks for a renewal when the end is near; that happens on a thread of its own, while the
// old credentials are given out until they end. When a renewal fails, the next one waits a moment;
// without valid credentials Current() then fails with what the renewal failed with. Credentials
// that the server refused are not given out again.
//
// Counts sluice_origin_credentials_total{source,result} and tells
// sluice_origin_credentials_expiry_timestamp_seconds{source}. `clock` and `metrics` must outlive
// it; the destructor cancels a renewal and joins its thread.
class RenewedCredentials final : public CredentialsProvider {
 public:
  RenewedCredentials(std::unique_ptr<CredentialsSource> source, const RenewalLimits& limits,
                     const Clock& clock, platform::Metrics& metrics, platform::Log log);

  Result<SharedCredentials> Current() override;
  Result<Renewal> Renew(const SharedCredentials& refused) override;
  [[nodiscard]] std::string_view Source() const override { return source_->Name(); }

 private:
  struct State {
    SharedCredentials credentials;  // null: none yet
    std::chrono::system_clock::time_point expires;
    std::chrono::system_clock::time_point renew_at;
    std::chrono::steady_clock::time_point renewed;
    bool refused = false;                              // by the server
    bool wanted = false;                               // a renewal is asked for or under way
    std::optional<Error> failure;                      // of the latest renewal
    std::chrono::steady_clock::time_point not_before;  // of the next renewal
  };

  void Run(const std::stop_token& stop);
  Result<TemporaryCredentials> AskSeveralTimes(const std::stop_token& stop);
  Result<TemporaryCredentials> AskOnce(std::chrono::steady_clock::time_point deadline,
                                       const std::stop_token& stop);
  void Keep(TemporaryCredentials fresh);
  void NoteFailure(Error error);
  std::chrono::milliseconds Jittered(std::chrono::milliseconds least,
                                     std::chrono::milliseconds most);

  const std::unique_ptr<CredentialsSource> source_;
  const RenewalLimits limits_;
  const Clock& clock_;
  platform::Metrics& metrics_;
  platform::Log log_;
  platform::Guarded<State> state_;
  // The rest belongs to the thread.
  std::minstd_rand random_;
  std::chrono::milliseconds pause_;
  std::jthread thread_;
};

}  // namespace sluice::origin
