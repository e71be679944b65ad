// The workers of a dataset's pool, as the controller lists them in the ConfigMap
// `<dataset>-fuse-config` (key workers.json) and the clients read them from that file:
//
//   {"workers": [{"name": "ds-worker-0", "address": "10.0.0.7:11211"}]}
//
// A client places chunks by the names, which outlive a worker's address.
#pragma once

#include <string>
#include <vector>

#include "sluice/core/resource.h"
#include "sluice/core/result.h"

namespace sluice {

struct PoolMember {
  std::string name;     // unique in the list
  std::string address;  // "host:port", IPv6 in brackets
  bool operator==(const PoolMember&) const = default;
};

// kInvalidArgument names the field ("workers[1].address: …"). Sorted by name.
Result<std::vector<PoolMember>> ParsePoolMembers(const Json& document);
Json RenderPoolMembers(const std::vector<PoolMember>& members);

}  // namespace sluice
