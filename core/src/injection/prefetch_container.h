// The container of sluice-prefetch, in both of its forms: what the pod's annotation of ours asks
// for, and what Fluid's do.
#pragma once

#include <string>
#include <vector>

#include "dataset_use.h"

namespace sluice::injection {

// Paths of the compatible contract.
inline constexpr const char* kPrefetchStatusDirectory = "/tmp/fluid-file-prefetcher/status";
inline constexpr const char* kPrefetchDataRoot = "/data/";

// Names of the pod's volumes of a claim, in the order of the pod.
std::vector<std::string> VolumesInOrder(const Json& pod, const std::string& claim);

// "/a/./b/../c/" as "/a/c"; ".." stops at the root. "" is the root.
std::string CleanAbsolute(const std::string& path);

// The value of a plain environment variable.
Json EnvironmentValue(const std::string& name, const std::string& value);

// Makes `container` run our program, which ends in a way that fits how the pod is restarted, with
// no more rights than reading takes: as the user that the application reads as.
enum class Restarts { kByKubelet, kByPod };
void RunPrefetchProgram(const Json& pod, const DatasetUses& uses, const std::string& image,
                        Restarts restarts, Json& container);

// Puts the container behind the FUSE sidecars that are in spec.<list>, or first; sidecars that come
// later are put in front.
void PlaceBehindSidecars(Json container, const char* list, Json& pod);

// A handler that holds back what starts after the container.
Json PrefetchWaitHook();

// Our image has no shell, so nobody may give it hooks that want one.
bool RunsPrefetchProgram(const Json& container);

}  // namespace sluice::injection
