// Ends the program, and says what everybody was doing, when something takes for ever.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <list>
#include <mutex>
#include <string>
#include <thread>

namespace sluice::reading_model {

struct Doing {
  const char* what = "nothing";
  std::string object;
  std::uint64_t offset = 0;
  std::uint64_t size = 0;
};

// Threads: any; each place is one thread's.
class HangWatch {
 public:
  // `describe` adds to the report; it may be called while everything hangs.
  HangWatch(std::chrono::seconds patience, std::function<std::string()> describe);

  class Place {
   public:
    void Begin(Doing doing);
    void End() { Begin({}); }

   private:
    friend class HangWatch;
    mutable std::mutex mutex_;
    Doing doing_;
    std::chrono::steady_clock::time_point since_;
  };
  // Lives as long as the watch.
  Place& Add();

 private:
  void Look();
  [[noreturn]] void Report();

  const std::chrono::seconds patience_;
  const std::function<std::string()> describe_;
  std::mutex mutex_;
  std::list<Place> places_;
  std::jthread thread_;
};

}  // namespace sluice::reading_model
