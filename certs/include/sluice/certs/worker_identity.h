// How the cache workers of one runtime and their clients know each other: an authority of the
// runtime's own, a certificate for all its workers and one for all its clients. Pure: issue, judge
// and renew, and time comes in as an argument.
//
// Nothing is ever shown that the other side does not trust yet. A new pair is of the authority that
// both trust; a new authority is trusted for a year before it signs. Clients read their files at
// each connection. Workers load theirs when a client tells them to, which it does in the last 30
// days of what they show, so within a year.
#pragma once

#include <chrono>
#include <string>

#include "sluice/certs/certificate.h"

namespace sluice::certs {

struct WorkerIdentity {
  KeyPair authority;   // signs
  KeyPair next;        // trusted, and signs after `authority`; empty: none yet
  std::string former;  // certificate of the authority before, as long as it lasts; may be empty
  KeyPair worker;
  KeyPair client;

  bool operator==(const WorkerIdentity&) const = default;
};

struct WorkerPolicy {
  std::chrono::seconds authority_lifetime = std::chrono::days(3650);
  std::chrono::seconds lifetime = std::chrono::days(365);  // of the others
  std::chrono::seconds renew_before = std::chrono::days(90);
  std::chrono::seconds sign_until = std::chrono::days(365);         // the authority's end
  std::chrono::seconds next_authority_at = std::chrono::days(730);  // before its end
};

// `current` with what is missing, wrong or about to end issued anew; a worker's certificate names
// `domain` and everything directly below it. The same when there is nothing to do. An authority
// that is lost is replaced at once, and then workers that run refuse clients until they start anew.
Result<WorkerIdentity> RenewWorkerIdentity(WorkerIdentity current, const std::string& domain,
                                           WallTime now, const WorkerPolicy& policy = {});

// The authorities that both sides trust, as PEM.
std::string TrustedAuthorities(const WorkerIdentity& identity);

}  // namespace sluice::certs
