// The labels and annotations of the contract.
#pragma once

namespace sluice::injection::keys {

inline constexpr const char* kTrue = "true";

// Pod labels.
inline constexpr const char* kServerlessInject = "serverless.fluid.io/inject";
inline constexpr const char* kServerfulInject = "fuse.serverful.fluid.io/inject";
inline constexpr const char* kDeprecatedSidecarInject = "fuse.sidecar.fluid.io/inject";
inline constexpr const char* kUnprivilegedInject = "unprivileged.sidecar.fluid.io/inject";
inline constexpr const char* kEnableInjection = "fluid.io/enable-injection";  // namespaces as well
inline constexpr const char* kInjectDone = "done.sidecar.fluid.io/inject";
inline constexpr const char* kCacheDirInject = "cachedir.sidecar.fluid.io/inject";
inline constexpr const char* kFusePostStart = "fuse.sidecar.poststart.fluid.io/inject";
inline constexpr const char* kAppPostStart = "app.poststart.fluid.io/inject";
inline constexpr const char* kManagedBy = "fluid.io/managed-by";
inline constexpr const char* kDatasetName = "dataset-name.sidecar.fluid.io/";
inline constexpr const char* kDatasetNamespace = "dataset-namespace.sidecar.fluid.io/";
inline constexpr const char* kSchedPrefix = "fluid.io/dataset.";
inline constexpr const char* kSchedSuffix = ".sched";
inline constexpr const char* kSchedRequired = "required";

// Namespace labels.
inline constexpr const char* kPodSecurityEnforce = "pod-security.kubernetes.io/enforce";

// Pod annotations.
inline constexpr const char* kPlatform = "serverless.fluid.io/platform";
inline constexpr const char* kHostPathMode = "default.fuse-sidecar.fluid.io/host-mount-path-mode";
inline constexpr const char* kSkipPrecheck = "sidecar.fluid.io/skip-precheck";
inline constexpr const char* kDatasetsInUse = "fluid.io/datasets-in-use";
inline constexpr const char* kScrape = "prometheus.fuse.fluid.io/scrape";
inline constexpr const char* kPrefetch = "file-prefetcher.fluid.io/inject";
inline constexpr const char* kPrefetchFileList = "file-prefetcher.fluid.io/file-list";
inline constexpr const char* kPrefetchAsync = "file-prefetcher.fluid.io/async-prefetch";
inline constexpr const char* kPrefetchTimeout = "file-prefetcher.fluid.io/prefetch-timeout-seconds";
inline constexpr const char* kPrefetchExtraEnvs = "file-prefetcher.fluid.io/extra-envs";
inline constexpr const char* kPrefetchImage = "file-prefetcher.fluid.io/image";
inline constexpr const char* kPrefetchDone = "file-prefetcher.fluid.io/inject-done";
inline constexpr const char* kSluicePrefetch = "sluice.io/prefetch";
inline constexpr const char* kSluicePrefetchMode = "sluice.io/prefetch-mode";
inline constexpr const char* kSluicePrefetchTimeout = "sluice.io/prefetch-timeout-seconds";
inline constexpr const char* kSluicePrefetchDone = "sluice.io/prefetch-done";

// PersistentVolumeClaims.
inline constexpr const char* kDatasetPvcPrefix = "fluid.io/s-";
inline constexpr const char* kWrappedBy = "fluid.io/wrapped-by";

// ConfigMaps.
inline constexpr const char* kDatasetId = "fluid.io/dataset-id";
inline constexpr const char* kScriptHash = "fluid.io/check-mount-script-sha256";

// Nodes.
inline constexpr const char* kDatasetNum = "fluid.io/dataset-num";

}  // namespace sluice::injection::keys
