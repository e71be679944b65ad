#include "index_object.h"

#include <chrono>

namespace sluice::fuse_client {

OriginObject ObjectAt(const Index& index, std::uint32_t node, const std::string& mount_path) {
  const IndexNode& n = index.Node(node);
  const std::string path = index.Path(node);
  OriginObject object;
  object.path = mount_path.empty() ? path : path.substr(mount_path.size() + 1);
  object.size = n.size;
  object.version = index.Version(node);
  object.modified = std::chrono::system_clock::time_point(
      std::chrono::duration_cast<std::chrono::system_clock::duration>(
          std::chrono::nanoseconds(n.modified_ns)));
  return object;
}

}  // namespace sluice::fuse_client
