// Waits for reads in tests.
#pragma once

#include <future>
#include <memory>
#include <string>

#include "sluice/ports/origin.h"

namespace sluice::origin {

// The object of this path, as listed; kNotFound when there is none.
inline Result<OriginObject> Find(Origin& origin, const std::string& path) {
  SLUICE_TRY(listing, origin.List(), "find");
  for (OriginObject& object : listing.objects) {
    if (object.path == path) return std::move(object);
  }
  return Fail(Code::kNotFound, path + " is not listed");
}

struct ReadResult {
  std::string bytes;
  Status status;
};

// Starts a read; the future is ready when it is done.
inline std::future<ReadResult> StartRead(Origin& origin, const OriginObject& object,
                                         std::uint64_t offset, std::uint64_t length) {
  auto promise = std::make_shared<std::promise<ReadResult>>();
  auto bytes = std::make_shared<std::string>();
  auto future = promise->get_future();
  origin.ReadAsync(
      object, offset, length,
      [bytes](std::span<const std::byte> data) {
        bytes->append(reinterpret_cast<const char*>(data.data()), data.size());
        return true;
      },
      [bytes, promise](Status status) {
        promise->set_value({std::move(*bytes), std::move(status)});
      });
  return future;
}

inline ReadResult ReadRange(Origin& origin, const OriginObject& object, std::uint64_t offset,
                            std::uint64_t length) {
  auto future = StartRead(origin, object, offset, length);
  if (future.wait_for(std::chrono::seconds(60)) != std::future_status::ready) {
    return {"", Fail(Code::kDeadlineExceeded, "the read was never done")};
  }
  return future.get();
}

inline ReadResult ReadWhole(Origin& origin, const OriginObject& object) {
  return ReadRange(origin, object, 0, object.size);
}

}  // namespace sluice::origin
