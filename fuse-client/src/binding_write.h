// The part of the binding that changes something: libfuse's requests become calls of Writing.
#pragma once

#include <fuse3/fuse_lowlevel.h>

#include <functional>
#include <map>
#include <string>

#include "sluice/platform/metrics.h"

#include "attributes.h"
#include "writing.h"

namespace sluice::fuse_client {

// What these requests need of the binding that they arrive at.
struct WriteSide {
  Writing* writing = nullptr;  // null: the dataset is only read
  std::function<fuse_entry_param(const Attributes&)> entry;
  std::function<Result<Attributes>(std::uint64_t id)> attributes;  // of any node
  platform::Counter* errors = nullptr;
  platform::Metrics* metrics = nullptr;

  void Count(const char* operation) const;
  void ReplyError(fuse_req_t request, int error) const;  // 0: it is done
};

// Of the binding whose session the request came through.
const WriteSide& WriteSideOf(fuse_req_t request);

// An open that asks for writing. True when it is answered.
bool OpenForWriting(fuse_req_t request, fuse_ino_t id, const fuse_file_info& info);
// An open for reading: true when it is answered, since the file is being written.
bool RefuseReading(fuse_req_t request, fuse_ino_t id);

void AddWriteOperations(fuse_lowlevel_ops& ops);

}  // namespace sluice::fuse_client
