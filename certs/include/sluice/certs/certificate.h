// Certification authorities of our own and what they sign: issue and judge. No I/O, and time comes
// in as an argument.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "sluice/core/result.h"

namespace sluice::certs {

using WallTime = std::chrono::system_clock::time_point;

// PEM texts that belong together. The key is PKCS#1 when we wrote it; any unencrypted PEM key is
// read.
struct KeyPair {
  std::string certificate;
  std::string key;

  bool operator==(const KeyPair&) const = default;
};

struct Identity {
  KeyPair ca;
  KeyPair serving;

  bool operator==(const Identity&) const = default;
};

struct ServingNames {
  std::string common_name;  // labels at its end that X.509 has no room for are left out
  std::vector<std::string> dns;
  std::vector<std::string> ips;
};

inline constexpr std::chrono::days kLifetime{3650};
inline constexpr std::chrono::days kRenewServingBefore{183};  // six months
inline constexpr std::chrono::days kRenewCaBefore{365};

// How long certificates live, and how long before their end they are renewed.
struct Policy {
  std::chrono::seconds lifetime = kLifetime;
  std::chrono::seconds renew_serving_before = kRenewServingBefore;
  std::chrono::seconds renew_ca_before = kRenewCaBefore;
};

// RSA 2048, a serving pair no longer than its CA. Takes a noticeable fraction of a second.
Result<KeyPair> IssueCa(const std::string& common_name, WallTime now, const Policy& policy = {});
Result<KeyPair> IssueServing(const KeyPair& ca, const ServingNames& names, WallTime now,
                             const Policy& policy = {});
// Of a client, which servers know by its CA alone.
Result<KeyPair> IssueClient(const KeyPair& ca, const std::string& common_name, WallTime now,
                            const Policy& policy = {});

// Empty when the pair may go on signing, else why not.
std::string CaProblem(const KeyPair& ca, WallTime now, const Policy& policy = {});
// Empty when the pair may go on serving `dns_name`, else why not: key and certificate do not
// match, the CA did not sign it, it does not fit the name, or it ends too soon.
std::string ServingProblem(const Identity& identity, const std::string& dns_name, WallTime now,
                           const Policy& policy = {});

// The same of a client's pair, which names nobody.
std::string ClientProblem(const KeyPair& client, const std::string& ca_certificate, WallTime now,
                          const Policy& policy = {});

// The identity to use: `current` when it is good, else with a new serving pair, and with a new CA
// when that one is bad too. `reason` says why something was issued; empty when nothing was.
struct Renewal {
  Identity identity;
  std::string reason;
};
Result<Renewal> RenewIfNeeded(const Identity& current, const ServingNames& names, WallTime now,
                              const Policy& policy = {});

// What clients are to trust: the CA, and after it the newest other one of the bundle that they
// trust now if that is still valid, because a replica may go on serving under it for a while.
std::string BundleWithPrevious(const std::string& ca_certificate, const std::string& current_bundle,
                               WallTime now);

// When the certificate ends.
Result<WallTime> NotAfter(const std::string& certificate);

}  // namespace sluice::certs
