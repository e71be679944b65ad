// Which object names can be file names, and what becomes of those that cannot.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sluice/core/result.h"
#include "sluice/ports/origin.h"

namespace sluice::origin {

// Every component is 1 to 255 bytes long, has no NUL and is neither "." nor "..". All other bytes,
// newlines included, are legal in file names.
bool IsFilePath(std::string_view path);

// Objects while they are being listed, within a limit of memory.
class ObjectCollector {
 public:
  explicit ObjectCollector(std::uint64_t max_bytes) : max_bytes_(max_bytes) {}

  // kInvalidArgument, with limit and remedy, when the listing has become too long.
  Status Add(OriginObject object);
  [[nodiscard]] std::size_t Size() const { return objects_.size(); }
  std::vector<OriginObject> Take() && { return std::move(objects_); }

 private:
  const std::uint64_t max_bytes_;
  std::uint64_t bytes_ = 0;
  std::vector<OriginObject> objects_;
};

// Makes a listing out of objects in any order: sorted, those over kMostObjectBytes and names that
// are no file paths skipped and counted. Where one object's name is a directory of another ("a" and
// "a/b"), the directory wins and the object is skipped and counted; of two objects of one name (a
// broken server) the last wins.
Listing MakeListing(std::vector<OriginObject> objects);

}  // namespace sluice::origin
