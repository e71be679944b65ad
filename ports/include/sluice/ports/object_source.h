// Read-only view of cluster objects: a watch-fed snapshot, or live GETs.
#pragma once

#include <memory>

#include "sluice/core/resource.h"
#include "sluice/core/result.h"

namespace sluice {

// May be called from any thread. The returned object is immutable and outlives the call.
class ObjectSource {
 public:
  virtual ~ObjectSource() = default;
  // kNotFound when it does not exist; other codes only from live sources.
  virtual Result<std::shared_ptr<const Json>> Find(const ResourceType& type,
                                                   const ObjectKey& key) const = 0;
};

}  // namespace sluice
