#include "send_queue.h"

#include <algorithm>
#include <array>
#include <utility>

#include "request.h"

namespace sluice::pool {
namespace {

constexpr std::size_t kGathered = 4;  // requests sent by one call

// Adds what is left of `bytes` when `skip` bytes are gone; takes off what it skipped.
void Append(std::array<iovec, kGathered * 3>& pieces, std::size_t& count, const void* data,
            std::size_t size, std::size_t& skip) {
  const std::size_t gone = std::min(skip, size);
  skip -= gone;
  if (gone == size) return;
  void* const rest = const_cast<std::byte*>(static_cast<const std::byte*>(data)) + gone;
  pieces.at(count++) = {rest, size - gone};
}

}  // namespace

std::size_t SendQueue::Request::Size() const {
  return head.size() + (value.empty() ? 0 : value.size() + kLineEnd.size());
}

void SendQueue::Add(std::string head, std::span<const std::byte> value) {
  requests_.push_back({std::move(head), value});
}

SendQueue::Sent SendQueue::SendSome(ByteStream& stream) {
  std::array<iovec, kGathered * 3> pieces{};
  std::size_t count = 0;
  std::size_t skip = sent_;
  for (std::size_t i = 0; i < std::min(requests_.size(), kGathered); ++i) {
    const Request& one = requests_[i];
    Append(pieces, count, one.head.data(), one.head.size(), skip);
    if (one.value.empty()) continue;
    Append(pieces, count, one.value.data(), one.value.size(), skip);
    Append(pieces, count, kLineEnd.data(), kLineEnd.size(), skip);
  }
  Sent sent{.bytes = stream.Send(std::span(pieces).first(count))};
  sent_ += sent.bytes;
  while (!requests_.empty() && sent_ >= requests_.front().Size()) {
    sent_ -= requests_.front().Size();
    requests_.pop_front();
    ++sent.requests;
  }
  return sent;
}

}  // namespace sluice::pool
