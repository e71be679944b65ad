// One thread's random operations on a node, and the files and answers it holds meanwhile.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <vector>

#include "sluice/cache/reader.h"

#include "hang_watch.h"
#include "model.h"
#include "node.h"
#include "referee.h"

namespace sluice::reading_model {

// A ReadAsync that is judged when it ends, by the thread on which it ends.
class JudgedRead;

class Worker {
 public:
  Worker(std::uint64_t seed, Node& node, Model& model, Referee& referee, Faults& faults,
         HangWatch::Place& place);
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // One operation.
  void Step();
  // Begins some reads and waits for none, as if the process ended now.
  void LeaveReadsUnderWay();
  // Lets go of answers, which may outlive the reader, and of files.
  void DropAnswer();
  void CloseAll();

 private:
  // How a stream goes through its file.
  enum class Order : std::uint8_t { kForward, kStride, kBackward, kRandom };
  struct Stream {
    std::shared_ptr<cache::File> file;
    Model::Seen seen;
    Order order = Order::kForward;
    std::uint64_t at = 0;
    std::uint64_t stride = 0;
    std::uint64_t usual_size = 0;
  };

  std::uint64_t Draw(std::uint64_t bound) { return random_() % bound; }
  void ChangeObjects();
  void OpenOne();
  Stream& AnyStream();
  std::uint64_t SomeOffset(std::uint64_t size);
  std::size_t SomeSize();
  std::uint64_t NextOffset(Stream& stream, std::size_t size);
  std::shared_ptr<JudgedRead> Begin(Stream& stream);
  void Read();
  void ReadSeveral();
  void ReadBlocking();
  void Abandon();
  void Hold();
  void ReadAroundUs(Stream& stream);

  std::mt19937_64 random_;
  Node& node_;
  Model& model_;
  Referee& referee_;
  Faults& faults_;
  HangWatch::Place& place_;
  std::vector<Stream> streams_;
  std::shared_ptr<JudgedRead> held_;
};

}  // namespace sluice::reading_model
