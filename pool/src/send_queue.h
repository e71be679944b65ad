// The requests that are on their way to a worker, sent from where their values lie.
#pragma once

#include <cstddef>
#include <deque>
#include <span>
#include <string>

#include "byte_stream.h"

namespace sluice::pool {

class SendQueue {
 public:
  // The value stays where it is until the request has gone whole, or the queue is cleared. It is
  // followed by a line end; an empty one by nothing.
  void Add(std::string head, std::span<const std::byte> value);
  [[nodiscard]] std::size_t Size() const { return requests_.size(); }
  [[nodiscard]] bool Empty() const { return requests_.empty(); }
  void Clear() { requests_.clear(); }

  struct Sent {
    std::size_t bytes = 0;     // 0: there was no room
    std::size_t requests = 0;  // that have gone whole by it
  };
  Sent SendSome(ByteStream& stream);

 private:
  struct Request {
    std::string head;
    std::span<const std::byte> value;
    [[nodiscard]] std::size_t Size() const;
  };
  std::deque<Request> requests_;
  std::size_t sent_ = 0;  // bytes of the first of them
};

}  // namespace sluice::pool
