// Any bytes as what a worker of the pool sends. The first byte chooses in which pieces they come.
#include <algorithm>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "demand.h"
#include "judgement.h"
#include "reply_stream.h"

namespace {

using sluice::Result;
using sluice::Status;
using sluice::test::Demand;
namespace pool = sluice::pool;

constexpr std::size_t kWanted = 16;  // bytes of the value that is asked for

// Takes values of one size, and writes down what it is told.
class Record final : public pool::ReplyStream::Handler {
 public:
  Result<std::span<std::byte>> OnReply(const pool::Reply& reply) override {
    Demand(!open_, "one reply after the other", told);
    open_ = true;
    told += std::to_string(static_cast<int>(reply.kind)) + " " + std::to_string(reply.length) +
            " " + std::string(reply.text) + ";";
    Judge(reply);
    taken_ = reply.kind == pool::Reply::Kind::kValue && reply.length == kWanted;
    return taken_ ? std::span(value_) : std::span<std::byte>();
  }
  Status OnComplete() override {
    Demand(open_, "only a reply completes", told);
    open_ = false;
    if (taken_) told.append(reinterpret_cast<const char*>(value_.data()), value_.size());
    return sluice::Ok();
  }

  std::string told;

 private:
  void Judge(const pool::Reply& reply) {
    pool::Operation get;
    get.into = value_;
    const auto ending = pool::Judge(get, 1, reply);
    if (!ending || !ending->answer) return;
    const sluice::PoolAnswer& answer = *ending->answer;
    Demand(answer.kind != sluice::PoolAnswer::Kind::kHit || reply.length == kWanted,
           "a hit has the size that was asked for", told);
    Demand(answer.kind != sluice::PoolAnswer::Kind::kFill || answer.lease.number != 0,
           "who fills has a lease", told);
  }

  std::vector<std::byte> value_ = std::vector<std::byte>(kWanted);
  bool open_ = false;
  bool taken_ = false;
};

// What is told until the first error, and whether there was one.
std::string Told(std::string_view bytes, std::size_t most) {
  Record record;
  pool::ReplyStream stream(record);
  while (!bytes.empty()) {
    const auto room = stream.NextRoom();
    std::size_t given = 0;
    for (const std::span<std::byte> part : {room.value, room.lines}) {
      const std::size_t count = std::min({part.size(), bytes.size(), most - given});
      if (count > 0) std::memcpy(part.data(), bytes.data(), count);
      bytes.remove_prefix(count);
      given += count;
      if (count < part.size()) break;
    }
    Demand(given > 0, "there is always room", record.told);
    if (!stream.Received(given)) return record.told + "broken";
  }
  return record.told;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  Demand(Told(bytes, bytes.size()) == Told(bytes, data[0] + 1U), "pieces make no difference",
         bytes);
  return 0;
}
