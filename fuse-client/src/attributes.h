// What a name in the dataset stands for.
#pragma once

#include <cstdint>

namespace sluice::fuse_client {

struct Attributes {
  std::uint64_t id = 0;
  bool is_directory = false;
  std::uint64_t size = 0;
  std::int64_t modified_ns = 0;
  bool is_link = false;  // symbolic
  bool passing = false;  // may mean something else at any moment: not to be kept by the kernel
};

}  // namespace sluice::fuse_client
