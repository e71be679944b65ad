// The Secrets that hold a runtime's WorkerIdentity, one for each who needs to know.
#pragma once

#include <string>

#include "sluice/certs/worker_identity.h"
#include "sluice/core/resource.h"
#include "sluice/ports/cluster.h"

namespace sluice::certs {

// Each Secret without its data, but with its owner.
struct WorkerSecrets {
  Json authority;  // the keys that sign; for the controller alone
  Json worker;     // ca.crt, tls.crt and tls.key of the workers
  Json client;     // the same of the clients
  std::string domain;
};

// Makes and renews what is in them (RenewWorkerIdentity); what is good is only read. True when
// anything was issued. kAlreadyExists where a Secret of that name is not the owner's.
Result<bool> EnsureWorkerSecrets(Cluster& cluster, const WorkerSecrets& wanted, WallTime now,
                                 const WorkerPolicy& policy = {});

}  // namespace sluice::certs
