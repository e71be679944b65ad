#include "s3_send.h"

#include <algorithm>
#include <future>
#include <memory>
#include <utility>

#include "s3_xml.h"

namespace sluice::origin {
namespace {

using std::chrono::milliseconds;

// More than fit in the time that a change has: that is what bounds them.
constexpr unsigned kLeastAttempts = 200;
constexpr milliseconds kMoreTime{60'000};
// A server may put many parts together, or copy them, before it says a word.
constexpr milliseconds kPatience{60'000};
constexpr std::size_t kMaxAnswer = 1U << 20;

std::uint64_t SizeOf(const Block& body) { return body == nullptr ? 0 : body->size(); }

}  // namespace

S3Send::S3Send(S3Context& context, S3Change change, S3ReplyDone done)
    : OriginCall(
          context, change.operation, change.message.key,
          context.Limits().DeadlineOf(std::max(SizeOf(change.body), change.copied)) + kMoreTime),
      s3_(context),
      change_(std::move(change)),
      done_(std::move(done)) {}

HttpRequest S3Send::NextRequest() {
  answer_.clear();
  HttpRequest request = s3_.Signed(change_.message);
  request.body = change_.body;
  // A copy may be silent until it is done.
  request.patience = kPatience;
  if (change_.copied > 0) {
    const auto time = s3_.Limits().DeadlineOf(change_.copied) - std::chrono::steady_clock::now();
    request.patience += std::chrono::duration_cast<milliseconds>(time);
  }
  return request;
}

std::optional<Verdict> S3Send::Check(const HttpHead& /*head*/) { return std::nullopt; }

bool S3Send::Take(std::span<const std::byte> bytes) {
  too_long_ = answer_.size() + bytes.size() > kMaxAnswer;
  if (too_long_) return false;
  answer_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  return true;
}

// A server that needs long answers 200 before it knows how it ends, so that the document tells.
std::optional<Verdict> S3Send::CheckEnd() {
  if (change_.root.empty() || FieldsOf(answer_, change_.root)) return std::nullopt;
  if (!ParseS3Error(answer_).code.empty()) {
    HttpHead head = Head();
    head.status = 500;
    return s3_.JudgeRefusal(head, answer_);
  }
  return Verdict{Error{Code::kUnavailable, "the server's answer is cut short"}, Retry::kYes};
}

void S3Send::Deliver(Status status) {
  if (too_long_) {
    status = Fail(Code::kUnavailable, Context().Place(Key()) + ": the server's answer is too long");
  }
  if (!status && status.error().code == Code::kPermissionDenied) {
    Error error = status.error();
    error.message +=
        "; writing takes s3:PutObject and s3:AbortMultipartUpload, renaming s3:DeleteObject as "
        "well";
    status = Fail(std::move(error));
  }
  done_({std::move(status), Head(), std::move(answer_)});
}

unsigned S3Send::MostAttempts() const {
  return std::max(kLeastAttempts, s3_.Limits().max_attempts);
}

void SendChange(HttpTransport& transport, S3Context& context, S3Change change, S3ReplyDone done) {
  const std::string place = context.Place(change.message.key);
  // The call is gone when the transport refuses it, so `done` is kept aside.
  auto told = std::make_shared<S3ReplyDone>(std::move(done));
  auto call = std::make_unique<S3Send>(context, std::move(change),
                                       [told](S3Reply reply) { (*told)(std::move(reply)); });
  if (auto status = transport.Submit(std::move(call)); !status) {
    (*told)({Fail(status.error().Wrap(place)), {}, {}});
  }
}

S3Reply SendAndWait(HttpTransport& transport, S3Context& context, S3Change change) {
  auto promise = std::make_shared<std::promise<S3Reply>>();
  auto reply = promise->get_future();
  SendChange(transport, context, std::move(change),
             [promise](S3Reply answer) { promise->set_value(std::move(answer)); });
  return reply.get();
}

}  // namespace sluice::origin
