#include "folder_watch.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace sluice::pool {
namespace {

// kubelet swaps a ConfigMap by renaming a link over `..data`; others write or rename files.
constexpr std::uint32_t kChanges = IN_CREATE | IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM |
                                   IN_DELETE | IN_DELETE_SELF | IN_MOVE_SELF;

}  // namespace

FolderWatch::FolderWatch(std::string folder)
    : folder_(std::move(folder)), wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

void FolderWatch::Wait(const std::stop_token& stop, std::chrono::milliseconds longest) {
  const bool watched_before = watching_;
  if (!watching_) {
    // Anew each time: a watch of a folder that was replaced would stay silent.
    inotify_ = platform::UniqueFd(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
    watching_ = ::inotify_add_watch(inotify_.Get(), folder_.c_str(), kChanges) >= 0;
  }
  // What changed before there was a watch was not seen: look at once.
  if (watching_ && !watched_before) return;
  const std::stop_callback wake(stop, [this] {
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = ::write(wake_.Get(), &one, sizeof(one));
  });
  std::array<pollfd, 2> sources{pollfd{wake_.Get(), POLLIN, 0},
                                pollfd{watching_ ? inotify_.Get() : -1, POLLIN, 0}};
  ::poll(sources.data(), sources.size(), static_cast<int>(longest.count()));
  if (sources[1].revents != 0) Drain();
}

void FolderWatch::Drain() {
  alignas(inotify_event) std::array<std::byte, 16U << 10> buffer{};
  for (;;) {
    const ssize_t count = ::read(inotify_.Get(), buffer.data(), buffer.size());
    if (count <= 0) return;
    for (std::size_t at = 0; at < static_cast<std::size_t>(count);) {
      const auto* event = reinterpret_cast<const inotify_event*>(buffer.data() + at);
      if ((event->mask & (IN_IGNORED | IN_MOVE_SELF)) != 0) watching_ = false;
      at += sizeof(inotify_event) + event->len;
    }
  }
}

}  // namespace sluice::pool
