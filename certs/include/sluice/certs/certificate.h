// The webhook's own certification authority and serving certificate: issue and judge. No I/O, and
// time comes in as an argument.
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
  std::string common_name;
  std::vector<std::string> dns;
  std::vector<std::string> ips;
};

inline constexpr std::chrono::days kLifetime{3650};
inline constexpr std::chrono::days kRenewServingBefore{183};  // six months
inline constexpr std::chrono::days kRenewCaBefore{365};

// RSA 2048, ten years, a serving pair no longer than its CA. Takes a noticeable fraction of a
// second.
Result<KeyPair> IssueCa(const std::string& common_name, WallTime now);
Result<KeyPair> IssueServing(const KeyPair& ca, const ServingNames& names, WallTime now);

// Empty when the pair may go on signing, else why not.
std::string CaProblem(const KeyPair& ca, WallTime now);
// Empty when the pair may go on serving `dns_name`, else why not: key and certificate do not
// match, the CA did not sign it, it does not fit the name, or it ends within six months.
std::string ServingProblem(const Identity& identity, const std::string& dns_name, WallTime now);

// The identity to use: `current` when it is good, else with a new serving pair, and with a new CA
// when that one is bad too. `reason` says why something was issued; empty when nothing was.
struct Renewal {
  Identity identity;
  std::string reason;
};
Result<Renewal> RenewIfNeeded(const Identity& current, const ServingNames& names, WallTime now);

// When the certificate ends.
Result<WallTime> NotAfter(const std::string& certificate);

}  // namespace sluice::certs
