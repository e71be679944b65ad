// What a worker's reply means for the operation that it answers.
#pragma once

#include <cstdint>

#include "sluice/core/result.h"

#include "operation.h"
#include "reply.h"

namespace sluice::pool {

// An error when no worker in its senses answers so: the connection is out of step.
Result<Ending> Judge(const Operation& operation, std::uint32_t opaque, const Reply& reply);

}  // namespace sluice::pool
