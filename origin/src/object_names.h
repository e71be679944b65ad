// Which object names can be file names, and what becomes of those that cannot.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "sluice/ports/origin.h"

namespace sluice::origin {

// Every component is 1 to 255 bytes long, has no NUL and is neither "." nor "..". All other bytes,
// newlines included, are legal in file names.
bool IsFilePath(std::string_view path);

// Makes a listing out of objects in any order: sorted, names that are no file paths skipped and
// counted. Where one object's name is a directory of another ("a" and "a/b"), the directory wins
// and the object is skipped and counted; of two objects of one name (a broken server) the last
// wins.
Listing MakeListing(std::vector<OriginObject> objects);

}  // namespace sluice::origin
