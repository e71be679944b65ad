#include "sluice/certs/worker_identity.h"

#include <utility>

namespace sluice::certs {
namespace {

constexpr const char* kAuthorityName = "sluice cache workers";
constexpr const char* kClientName = "sluice client";

Result<KeyPair> IssueAuthority(WallTime now, const WorkerPolicy& policy) {
  return IssueCa(kAuthorityName, now, {.lifetime = policy.authority_lifetime});
}

// An authority as long as it lasts.
std::string IfValid(const KeyPair& authority, WallTime now) {
  const auto end = NotAfter(authority.certificate);
  return end && *end > now ? authority.certificate : "";
}

Status RenewAuthorities(WorkerIdentity& identity, WallTime now, const WorkerPolicy& policy) {
  if (!CaProblem(identity.authority, now, {.renew_ca_before = policy.sign_until}).empty()) {
    identity.former = IfValid(identity.authority, now);
    identity.authority = std::exchange(identity.next, {});
    if (!CaProblem(identity.authority, now, {.renew_ca_before = policy.sign_until}).empty()) {
      SLUICE_TRY(authority, IssueAuthority(now, policy), "authority of the workers");
      identity.authority = std::move(authority);
    }
  }
  const Policy soon{.renew_ca_before = policy.next_authority_at};
  const bool last = !CaProblem(identity.authority, now, soon).empty();
  if (last && !CaProblem(identity.next, now, soon).empty()) {
    SLUICE_TRY(next, IssueAuthority(now, policy), "next authority of the workers");
    identity.next = std::move(next);
  }
  if (IfValid({identity.former, ""}, now).empty()) identity.former.clear();
  return Ok();
}

}  // namespace

Result<WorkerIdentity> RenewWorkerIdentity(WorkerIdentity current, const std::string& domain,
                                           WallTime now, const WorkerPolicy& policy) {
  SLUICE_CHECK(RenewAuthorities(current, now, policy), "renew");
  const Policy leaf{.lifetime = policy.lifetime, .renew_serving_before = policy.renew_before};
  const std::string& trusted = current.authority.certificate;
  if (!ServingProblem({current.authority, current.worker}, "any." + domain, now, leaf).empty()) {
    const ServingNames names{.common_name = domain, .dns = {domain, "*." + domain}, .ips = {}};
    SLUICE_TRY(worker, IssueServing(current.authority, names, now, leaf), "of the workers");
    current.worker = std::move(worker);
  }
  if (!ClientProblem(current.client, trusted, now, leaf).empty()) {
    SLUICE_TRY(client, IssueClient(current.authority, kClientName, now, leaf), "of the clients");
    current.client = std::move(client);
  }
  return current;
}

std::string TrustedAuthorities(const WorkerIdentity& identity) {
  return identity.authority.certificate + identity.next.certificate + identity.former;
}

}  // namespace sluice::certs
