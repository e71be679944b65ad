// Cluster objects read one by one from the API server.
#pragma once

#include <memory>
#include <utility>

#include "sluice/ports/cluster.h"
#include "sluice/ports/object_source.h"

namespace sluice {

// Every Find is a GET. The cluster must outlive it.
class LiveObjects final : public ObjectSource {
 public:
  explicit LiveObjects(Cluster& cluster) : cluster_(cluster) {}

  Result<std::shared_ptr<const Json>> Find(const ResourceType& type,
                                           const ObjectKey& key) const override {
    auto object = cluster_.Get(type, key);
    if (!object) return Fail(object.error());
    return std::make_shared<const Json>(std::move(*object));
  }

 private:
  Cluster& cluster_;
};

}  // namespace sluice
