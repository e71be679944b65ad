// Requests to an S3 server that change something: sent with patience, since nobody above tries
// again what an application has written.
#pragma once

#include <functional>
#include <string>

#include "sluice/ports/object_writer.h"

#include "origin_call.h"
#include "s3_context.h"

namespace sluice::origin {

struct S3Change {
  std::string operation;  // for metrics: "put"
  S3Message message;
  Block body{};              // message.payload_hash is its hash
  std::string root{};        // the answer's document; empty: no document is wanted
  std::uint64_t copied = 0;  // bytes that the server is to copy; it has time for them
};

struct S3Reply {
  Status status;
  HttpHead head;     // of the last answer; status 0 when there was none
  std::string body;  // that document
};
using S3ReplyDone = std::function<void(S3Reply)>;

class S3Send final : public OriginCall {
 public:
  S3Send(S3Context& context, S3Change change, S3ReplyDone done);

 private:
  HttpRequest NextRequest() override;
  std::optional<Verdict> Check(const HttpHead& head) override;
  bool Take(std::span<const std::byte> bytes) override;
  std::optional<Verdict> CheckEnd() override;
  void Deliver(Status status) override;
  [[nodiscard]] unsigned MostAttempts() const override;

  S3Context& s3_;
  const S3Change change_;
  S3ReplyDone done_;
  std::string answer_;
  bool too_long_ = false;
};

// `done` is also told when the transport refuses the call.
void SendChange(HttpTransport& transport, S3Context& context, S3Change change, S3ReplyDone done);
// The same, waiting for the answer.
S3Reply SendAndWait(HttpTransport& transport, S3Context& context, S3Change change);

}  // namespace sluice::origin
