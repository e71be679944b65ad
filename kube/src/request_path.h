// URL paths and queries of the Kubernetes API. Pure.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "sluice/core/resource.h"
#include "sluice/core/result.h"

namespace sluice::kube {

// Percent-encodes everything but unreserved characters (RFC 3986).
std::string PercentEncode(std::string_view text);

// "/apis/<group>/<version>/namespaces/<ns>/<plural>"; without a namespace for cluster-scoped types
// and, for namespaced ones, over all namespaces.
Result<std::string> CollectionPath(const ResourceType& type, const std::string& ns);

// The path of one object, with "/<subresource>" when that is not empty. kInvalidArgument for a
// name or namespace that cannot be a path segment (empty, ".", "..", with '/' or control
// characters, over 253 bytes), and for a namespaced type without a namespace.
Result<std::string> ObjectPath(const ResourceType& type, const ObjectKey& key,
                               const std::string& subresource = "");

// "?a=1&b=2" in key order, values encoded, empty values left out; "" for no parameters.
std::string Query(const std::map<std::string, std::string>& parameters);

}  // namespace sluice::kube
