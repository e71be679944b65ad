// What the webhook watches, cut down to what admission reads, and packed where that is much.
#pragma once

#include <memory>
#include <vector>

#include "sluice/kube/informer.h"
#include "sluice/ports/object_source.h"

namespace sluice::webhook {

std::vector<kube::InformedResource> InformedResources();

// The same cut for an object of any kind; those that are not watched stay as they are.
void KeepWhatAdmissionReads(Json& object);

// Objects that were cut down, as admission reads them. Threads: any.
class UnpackedObjects final : public ObjectSource {
 public:
  // `kept` must outlive the object.
  explicit UnpackedObjects(const ObjectSource& kept) : kept_(kept) {}
  Result<std::shared_ptr<const Json>> Find(const ResourceType& type,
                                           const ObjectKey& key) const override;

 private:
  const ObjectSource& kept_;
};

}  // namespace sluice::webhook
