#include "hang_watch.h"

#include <condition_variable>
#include <cstdlib>
#include <iostream>
#include <stop_token>
#include <string_view>
#include <utility>

#include <fmt/format.h>

namespace sluice::reading_model {
namespace {

constexpr std::chrono::milliseconds kLookEvery{500};

}  // namespace

HangWatch::HangWatch(std::chrono::seconds patience, std::function<std::string()> describe)
    : patience_(patience),
      describe_(std::move(describe)),
      thread_([this](const std::stop_token& stop) {
        std::mutex mutex;
        std::condition_variable_any wake;
        std::unique_lock lock(mutex);
        while (!wake.wait_for(lock, stop, kLookEvery, [&] { return stop.stop_requested(); }))
          Look();
      }) {}

void HangWatch::Place::Begin(Doing doing) {
  std::lock_guard lock(mutex_);
  doing_ = std::move(doing);
  since_ = std::chrono::steady_clock::now();
}

HangWatch::Place& HangWatch::Add() {
  std::lock_guard lock(mutex_);
  return places_.emplace_back();
}

void HangWatch::Look() {
  const auto now = std::chrono::steady_clock::now();
  bool hangs = false;
  {
    std::lock_guard lock(mutex_);
    for (const Place& place : places_) {
      std::lock_guard one(place.mutex_);
      const bool busy = place.doing_.what != Doing{}.what;
      hangs = hangs || (busy && now - place.since_ > patience_);
    }
  }
  if (hangs) Report();
}

void HangWatch::Report() {
  const auto now = std::chrono::steady_clock::now();
  std::cerr << "SOMETHING HANGS\n";
  {
    std::lock_guard lock(mutex_);
    for (const Place& place : places_) {
      std::lock_guard one(place.mutex_);
      const std::chrono::duration<double> time = now - place.since_;
      std::cerr << fmt::format("  {:8.1f} s  {} {} at {} size {}\n", time.count(),
                               place.doing_.what, place.doing_.object, place.doing_.offset,
                               place.doing_.size);
    }
  }
  std::cerr << describe_() << std::flush;
  std::abort();
}

}  // namespace sluice::reading_model
