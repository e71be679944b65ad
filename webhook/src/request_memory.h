// Memory for long requests, of all connections together: what a client has sent of a request waits
// there without a thread, and however many clients send slowly, it has an end.
#pragma once

#include <atomic>
#include <cstddef>

namespace sluice::webhook {

// Threads: any.
class RequestMemory {
 public:
  explicit RequestMemory(std::size_t bytes) : left_(bytes) {}
  RequestMemory(const RequestMemory&) = delete;
  RequestMemory& operator=(const RequestMemory&) = delete;

  // False, and nothing is taken, when there is not so much.
  bool Take(std::size_t bytes) {
    std::size_t left = left_;
    while (left >= bytes) {
      if (left_.compare_exchange_weak(left, left - bytes)) return true;
    }
    return false;
  }
  void GiveBack(std::size_t bytes) { left_ += bytes; }

 private:
  std::atomic<std::size_t> left_;
};

}  // namespace sluice::webhook
