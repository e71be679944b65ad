// The Kubernetes API over HTTPS: the adapter behind ports/cluster.h.
//
//   SLUICE_TRY(config, kube::FindConfig(kubeconfig_flag), "find the API server");
//   SLUICE_TRY(cluster, kube::Connect(std::move(config), {}, metrics), "API client");
//   auto pod = cluster->Get(resources::kPod, {"default", "web"});
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>

#include "sluice/kube/config.h"
#include "sluice/platform/metrics.h"
#include "sluice/ports/cluster.h"

namespace sluice::kube {

struct ClientOptions {
  std::string field_manager = "sluice";
  std::string user_agent = "sluice";
  // Of one call with all its attempts; watches end by the server's own limit instead.
  std::chrono::milliseconds deadline{30'000};
  std::chrono::milliseconds connect_timeout{5'000};
  std::chrono::milliseconds retry_base{200};  // doubled per attempt, with full jitter
  unsigned max_attempts = 4;
  // Asked of the server, which ends the stream then. Below the silence after which a stream counts
  // as dead: the API server sends no bookmarks for a kind that never had an event.
  std::chrono::seconds watch_timeout{120};
  std::size_t page_size = 500;  // items per LIST page
  std::size_t max_body_bytes = 64U << 20;
  std::size_t max_event_bytes = 8U << 20;  // one line of a watch
  std::size_t idle_connections = 4;
};

// Only reads the configuration: the first request connects. kInvalidArgument for a server URL,
// certificate or key that cannot be used. The metrics registry must outlive the cluster.
Result<std::unique_ptr<Cluster>> Connect(Config config, ClientOptions options,
                                         platform::Metrics& metrics);

}  // namespace sluice::kube
