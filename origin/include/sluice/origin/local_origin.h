// A directory of this machine (also a mounted NFS share or volume) as an origin.
#pragma once

#include <memory>
#include <string>

#include "sluice/origin/make_origin.h"

namespace sluice::origin {

// Nothing outside `root` can be reached, whatever is changed meanwhile (openat2 RESOLVE_BENEATH,
// and no link is followed to read). A symbolic link whose text stays beneath the root is listed as
// a link (Hugging Face's cache is built of such), dangling or not; one that is absolute, or goes up
// after a name, in other words that mean the same. Links that leave the root, and everything else
// that is neither file nor directory are skipped and counted, like names that cannot be read.
//
// The version of a file is its size, modification time (ns) and inode; it is checked before and
// after each block that is delivered. The root is opened anew for each operation, so a share that
// is mounted later is found.
//
// Deadlines are looked at between blocks of 1 MiB: a read that hangs in the kernel (a dead NFS
// server on a hard mount) holds its thread until the kernel gives up.
std::unique_ptr<Origin> MakeLocalOrigin(std::string root, const OriginLimits& limits,
                                        platform::Metrics& metrics);

}  // namespace sluice::origin
