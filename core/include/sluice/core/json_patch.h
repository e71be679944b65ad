// RFC 6902: the operations that turn one document into another, few and readable.
#pragma once

#include "sluice/core/resource.h"

namespace sluice {

// A JSON Patch (an array of operations) with Apply(from, patch) == to; empty when they are equal.
// An element put into an array is one "add" and leaves its neighbours alone: elements that are
// objects with a `name` are recognised by it (and by `mountPath`), others by their value. An array
// whose order changed is replaced whole.
// What is new is moved out of `to`.
Json DiffJson(const Json& from, Json to);

}  // namespace sluice
