#include "serial_executor.h"

#include <chrono>
#include <utility>

namespace sluice::cache {

void SerialExecutor::Start() {
  state_.With([](State& state) { state.open = true; });
  thread_ = std::jthread([this] { Run(); });
}

void SerialExecutor::Stop() {
  state_.With([](State& state) { state.open = false; });
  state_.Notify();
  if (thread_.joinable()) thread_.join();
}

bool SerialExecutor::Post(Task task) {
  const bool accepted = state_.With([&](State& state) {
    if (state.open) state.tasks.push_back(std::move(task));
    return state.open;
  });
  if (accepted) state_.Notify();
  return accepted;
}

void SerialExecutor::Run() {
  for (;;) {
    // The deadline only bounds the wait; an idle thread looks around once a minute.
    state_.WaitUntil(std::chrono::steady_clock::now() + std::chrono::minutes(1),
                     [](const State& state) { return !state.tasks.empty() || !state.open; });
    std::deque<Task> tasks;
    const bool open = state_.With([&](State& state) {
      tasks.swap(state.tasks);
      return state.open;
    });
    if (tasks.empty() && !open) return;
    for (Task& task : tasks) {
      task();
      task = nullptr;  // what it held is released before the next one runs
    }
  }
}

}  // namespace sluice::cache
