#include "tiny_fuse_client.h"

#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

namespace sluice::csi {
namespace {

constexpr std::uint64_t kRoot = 1;
constexpr std::uint64_t kHello = 2;
constexpr std::uint64_t kSub = 3;
constexpr std::uint64_t kInner = 4;
constexpr std::size_t kBuffer = 256 << 10;

fuse_attr AttrOf(std::uint64_t node) {
  fuse_attr attr = {};
  const bool directory = node == kRoot || node == kSub;
  attr.ino = node;
  attr.mode = directory ? S_IFDIR | 0755U : S_IFREG | 0644U;
  attr.size = directory ? 0 : std::strlen(kTinyText);
  attr.nlink = 1;
  attr.blksize = 4096;
  return attr;
}

std::uint64_t Find(std::uint64_t parent, const char* name) {
  if (parent == kRoot && std::strcmp(name, "hello.txt") == 0) return kHello;
  if (parent == kRoot && std::strcmp(name, "sub") == 0) return kSub;
  if (parent == kSub && std::strcmp(name, "inner.txt") == 0) return kInner;
  return 0;
}

void Reply(int device, std::uint64_t unique, int error, const void* body = nullptr,
           std::size_t size = 0) {
  fuse_out_header header = {};
  header.len = static_cast<std::uint32_t>(sizeof(header) + size);
  header.error = -error;
  header.unique = unique;
  iovec parts[2] = {{&header, sizeof(header)}, {const_cast<void*>(body), size}};
  (void)!::writev(device, parts, size > 0 ? 2 : 1);
}

template <typename T>
void ReplyWith(int device, std::uint64_t unique, const T& body) {
  Reply(device, unique, 0, &body, sizeof(body));
}

void ReplyInit(int device, std::uint64_t unique) {
  fuse_init_out out = {};
  out.major = FUSE_KERNEL_VERSION;
  out.minor = 31;
  out.max_write = 4096;
  ReplyWith(device, unique, out);
}

void ReplyLookup(int device, const fuse_in_header& in, const char* name) {
  const std::uint64_t node = Find(in.nodeid, name);
  if (node == 0) return Reply(device, in.unique, ENOENT);
  fuse_entry_out out = {};
  out.nodeid = node;
  out.generation = 1;
  out.attr = AttrOf(node);
  ReplyWith(device, in.unique, out);  // no timeouts: each use asks again
}

void ReplyRead(int device, const fuse_in_header& in, const fuse_read_in& read) {
  const std::string text = kTinyText;
  const std::size_t begin = std::min<std::size_t>(read.offset, text.size());
  const std::size_t size = std::min<std::size_t>(read.size, text.size() - begin);
  Reply(device, in.unique, 0, text.data() + begin, size);
}

void Answer(int device, const std::vector<char>& buffer) {
  fuse_in_header in = {};
  std::memcpy(&in, buffer.data(), sizeof(in));
  const char* body = buffer.data() + sizeof(in);
  switch (in.opcode) {
    case FUSE_INIT:
      return ReplyInit(device, in.unique);
    case FUSE_LOOKUP:
      return ReplyLookup(device, in, body);
    case FUSE_GETATTR: {
      fuse_attr_out out = {};
      out.attr = AttrOf(in.nodeid);
      return ReplyWith(device, in.unique, out);
    }
    case FUSE_OPEN:
    case FUSE_OPENDIR: {
      fuse_open_out out = {};
      out.open_flags = FOPEN_DIRECT_IO;
      return ReplyWith(device, in.unique, out);
    }
    case FUSE_READ: {
      fuse_read_in read = {};
      std::memcpy(&read, body, sizeof(read));
      return ReplyRead(device, in, read);
    }
    case FUSE_READDIR:
    case FUSE_RELEASE:
    case FUSE_RELEASEDIR:
    case FUSE_FLUSH:
      return Reply(device, in.unique, 0);
    case FUSE_FORGET:
    case FUSE_BATCH_FORGET:
    case FUSE_INTERRUPT:
      return;
    default:
      return Reply(device, in.unique, ENOSYS);
  }
}

}  // namespace

TinyFuseClient::TinyFuseClient(std::string socket_path)
    : socket_path_(std::move(socket_path)),
      failure_{Code::kInternal, ""},
      thread_([this](const std::stop_token& stop) { Run(stop); }) {}

TinyFuseClient::TinyFuseClient(std::string socket_path, Error failure)
    : socket_path_(std::move(socket_path)),
      failure_(std::move(failure)),
      thread_([this](const std::stop_token& stop) { Run(stop); }) {}

TinyFuseClient::~TinyFuseClient() {
  thread_.request_stop();
  thread_.join();
}

void TinyFuseClient::Run(const std::stop_token& stop) {
  while (!stop.stop_requested() && client_ == nullptr) {
    auto connected = broker::Client::Connect(
        socket_path_, std::chrono::steady_clock::now() + std::chrono::milliseconds(300));
    if (connected) client_ = std::move(*connected);
  }
  if (client_ == nullptr) return;
  const broker::Bundle bundle = client_->TakeBundle();
  if (!failure_.message.empty()) {
    (void)client_->ReportFailure(failure_);
  } else {
    (void)client_->ReportReady();
    serving_ = true;
  }
  Serve(bundle.device.Get(), stop);
  serving_ = false;
  client_.reset();
}

void TinyFuseClient::Serve(int device, const std::stop_token& stop) {
  std::vector<char> buffer(kBuffer);
  ::fcntl(device, F_SETFL, O_NONBLOCK);
  while (!stop.stop_requested()) {
    pollfd ready = {.fd = device, .events = POLLIN, .revents = 0};
    if (::poll(&ready, 1, 50) <= 0) continue;
    const ssize_t n = ::read(device, buffer.data(), buffer.size());
    if (n < 0 && errno == ENODEV) return;  // unmounted
    if (n < static_cast<ssize_t>(sizeof(fuse_in_header))) continue;
    if (!failure_.message.empty()) continue;
    Answer(device, buffer);
  }
}

}  // namespace sluice::csi
