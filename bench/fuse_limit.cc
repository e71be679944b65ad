// What a client of libfuse reaches that has nothing to do: one file, "data", each read of which is
// answered at once from one buffer, whatever the offset, by libfuse's threads.
//   fuse_limit SIZE MOUNT_POINT     serves in the foreground, until it is unmounted or ended
#define FUSE_USE_VERSION 314

#include <fuse_lowlevel.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

namespace {

constexpr fuse_ino_t kFile = 2;
constexpr double kForever = 3600;

std::uint64_t file_size = 0;
std::vector<char> bytes(1U << 20, 'x');

struct stat AttributesOf(fuse_ino_t node) {
  struct stat attributes = {};
  attributes.st_ino = node;
  attributes.st_mode = node == kFile ? S_IFREG | 0444 : S_IFDIR | 0555;
  attributes.st_nlink = 1;
  attributes.st_size = node == kFile ? static_cast<off_t>(file_size) : 0;
  return attributes;
}

void Lookup(fuse_req_t request, fuse_ino_t /*parent*/, const char* name) {
  if (std::strcmp(name, "data") != 0) {
    fuse_reply_err(request, ENOENT);
    return;
  }
  fuse_entry_param entry = {};
  entry.ino = kFile;
  entry.attr = AttributesOf(kFile);
  entry.attr_timeout = entry.entry_timeout = kForever;
  fuse_reply_entry(request, &entry);
}

void GetAttributes(fuse_req_t request, fuse_ino_t node, fuse_file_info* /*file*/) {
  const struct stat attributes = AttributesOf(node);
  fuse_reply_attr(request, &attributes, kForever);
}

void Read(fuse_req_t request, fuse_ino_t /*node*/, std::size_t size, off_t offset,
          fuse_file_info* /*file*/) {
  const std::uint64_t begin = std::min(static_cast<std::uint64_t>(offset), file_size);
  fuse_reply_buf(request, bytes.data(),
                 std::min({size, bytes.size(), static_cast<std::size_t>(file_size - begin)}));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fputs("usage: fuse_limit SIZE MOUNT_POINT\n", stderr);
    return 2;
  }
  file_size = std::strtoull(argv[1], nullptr, 10);
  fuse_lowlevel_ops operations = {};
  operations.lookup = Lookup;
  operations.getattr = GetAttributes;
  operations.read = Read;
  fuse_args arguments = FUSE_ARGS_INIT(1, argv);
  fuse_session* session = fuse_session_new(&arguments, &operations, sizeof(operations), nullptr);
  if (session == nullptr || fuse_session_mount(session, argv[2]) != 0) return 1;
  if (fuse_set_signal_handlers(session) != 0) return 1;
  fuse_loop_config* config = fuse_loop_cfg_create();
  const int ended = fuse_session_loop_mt(session, config);
  fuse_loop_cfg_destroy(config);
  fuse_remove_signal_handlers(session);
  fuse_session_unmount(session);
  fuse_session_destroy(session);
  return ended < 0 ? 1 : 0;
}
