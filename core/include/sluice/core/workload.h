// Pods inside of what makes pods: where a Deployment, a Job, … keeps the template of its pods.
#pragma once

#include <optional>
#include <string>

#include "sluice/core/resource.h"

namespace sluice::workload {

// JSON pointer of the pod template in the object: "" for a Pod itself; nothing for a kind that
// makes no pods. Known are the kinds of Kubernetes and Knative's Service and Configuration.
std::optional<std::string> TemplatePath(const Json& object);

// The pod as its controller would create it from the template, in namespace `ns`: a generateName
// from the object's name. A Pod gets the namespace only. The template need not be well-formed.
Json PodOf(const Json& object, const std::string& path, const std::string& ns);

// Puts labels, annotations and spec of `pod` back into the template.
void PutBack(const Json& pod, const std::string& path, Json& object);

}  // namespace sluice::workload
