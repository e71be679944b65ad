// Small edits of a pod document whose shape has been checked.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "dataset_use.h"

namespace sluice::injection {

std::vector<std::string> Split(std::string_view text, char separator);

std::string LabelOf(const Json& pod, std::string_view key);
std::string AnnotationOf(const Json& pod, std::string_view key);
void SetLabel(Json& pod, const std::string& key, const std::string& value);
void SetAnnotation(Json& pod, const std::string& key, const std::string& value);

// Names of the volumes whose claim is one of these.
std::set<std::string> VolumesOfClaims(const Json& pod, const DatasetUses& uses);
std::set<std::string> VolumesOfClaim(const Json& pod, const std::string& claim);

// Whether the container mounts one of the volumes.
bool MountsAny(const Json& container, const std::set<std::string>& volumes);

// Whether a container or init container of the pod has this name.
bool HasContainer(const Json& pod, std::string_view name);

// The name under which the pod goes into paths: its own, or the stem of a generated one.
std::string NameInPaths(const Json& pod);

// spec.containers and spec.initContainers that exist, for writing.
std::vector<Json*> AllContainers(Json& pod);

// Puts an element at the front of spec.<list>.
void Prepend(Json& pod, const std::string& list, Json element);

}  // namespace sluice::injection
