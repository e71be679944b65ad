// An origin over the model that answers from threads of its own, in pieces, and fails in all the
// ways that an origin can.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "sluice/ports/origin.h"

#include "faults.h"
#include "model.h"

namespace sluice::reading_model {

class FaultyOrigin final : public Origin {
 public:
  FaultyOrigin(const Model& model, Faults& faults, unsigned threads);
  ~FaultyOrigin() override;
  FaultyOrigin(const FaultyOrigin&) = delete;
  FaultyOrigin& operator=(const FaultyOrigin&) = delete;

  // Refuses all reads for so long, or leaves them without an answer.
  void BeDown(std::chrono::milliseconds time);
  void Hang(std::chrono::milliseconds time);
  // Ends both.
  void Recover();

  void BeginRound();
  // Whether a read of `path` was answered so, against the model, in this round.
  [[nodiscard]] bool Gave(const std::string& path, Code code) const;
  // Whether any read was given an error that may pass, or kept waiting for long.
  [[nodiscard]] bool WasAway() const;
  [[nodiscard]] std::size_t UnderWay() const;
  [[nodiscard]] std::uint64_t ReadCount() const;

  Result<Listing> List() override;
  void ReadAsync(const OriginObject& object, std::uint64_t offset, std::uint64_t length,
                 ReadSink sink, ReadDone done) override;
  [[nodiscard]] std::string Describe() const override { return "model://origin"; }

 private:
  using TimePoint = std::chrono::steady_clock::time_point;

  struct Read {
    OriginObject object;
    std::uint64_t offset = 0;
    std::uint64_t length = 0;
    ReadSink sink;
    ReadDone done;
  };
  // How one read goes.
  struct Course {
    std::uint64_t bytes = 0;  // to hand over; more than asked for, or fewer
    std::optional<Error> error;
    std::uint64_t slow_at = UINT64_MAX;  // a pause before this byte
  };

  void Serve();
  void Answer(const Read& read);
  Course Plan(const Read& read);
  Status Deliver(const Read& read, const Course& course);
  void Finish(const Read& read, const Status& status);
  Error MayPass(const Read& read);
  void Note(const std::string& path, Code code);
  void Sleep(std::chrono::microseconds time);
  void AwaitAnswering();

  const Model& model_;
  Faults& faults_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Read> queue_;
  std::map<std::string, std::set<Code>> given_;
  TimePoint down_until_;
  TimePoint hangs_until_;
  bool away_ = false;
  std::size_t under_way_ = 0;
  std::uint64_t reads_ = 0;
  bool stopping_ = false;
  std::vector<std::jthread> threads_;
};

}  // namespace sluice::reading_model
