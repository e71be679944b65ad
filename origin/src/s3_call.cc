#include "s3_call.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "s3_credentials.h"

namespace sluice::origin {
namespace {

using std::chrono::milliseconds;

constexpr std::size_t kMaxErrorBody = 64U << 10;
constexpr unsigned kMaxRenewals = 2;

std::string Word(Outcome outcome) {
  switch (outcome) {
    case Outcome::kComplete:
      return "complete";
    case Outcome::kAbandoned:
      return "abandoned";
    case Outcome::kNoConnection:
      return "connect";
    case Outcome::kUnknownHost:
      return "resolve";
    case Outcome::kUntrusted:
      return "tls";
    case Outcome::kBroken:
      return "broken";
    case Outcome::kStalled:
      return "stalled";
  }
  return "broken";
}

Verdict JudgeTransport(const Attempt& attempt) {
  Verdict verdict{Error{Code::kUnavailable, attempt.detail}, Retry::kYes};
  if (attempt.outcome == Outcome::kUntrusted) {
    verdict.retry = Retry::kNo;
    verdict.error.message = fmt::format(
        "{}: if the server's certificate is signed by a CA of your own, name it in option "
        "\"caFile\"",
        attempt.detail);
  }
  if (attempt.outcome == Outcome::kUnknownHost) {
    verdict.error.message = attempt.detail + ": check option \"endpoint\" and the cluster's DNS";
  }
  return verdict;
}

}  // namespace

// ---- S3Context ---------------------------------------------------------------------------------

S3Context::S3Context(S3Options options, Credentials credentials, const OriginLimits& limits,
                     platform::Metrics& metrics, platform::Log log)
    : options_(std::move(options)),
      limits_(limits),
      credentials_(std::move(credentials)),
      signer_(options_.region),
      metrics_(metrics),
      log_(std::move(log)),
      random_(std::random_device{}()) {
  host_ = options_.endpoint.substr(options_.endpoint.find("://") + 3);
  if (!options_.path_style) host_ = options_.bucket + "." + host_;
}

HttpRequest S3Context::Request(const std::string& key, const Query& query, Headers headers) {
  std::string path = "/";
  if (options_.path_style) path += options_.bucket + "/";
  path += UriEncode(key, /*keep_slash=*/true);

  HttpRequest request;
  request.url = options_.endpoint.substr(0, options_.endpoint.find("://") + 3) + host_ + path;
  if (!query.empty()) request.url += "?" + CanonicalQuery(query);
  request.headers = std::move(headers);
  request.headers.emplace_back("Host", host_);
  const Headers signature = signer_.Sign({.method = "GET",
                                          .host = host_,
                                          .path = path,
                                          .query = &query,
                                          .payload_hash = kEmptyPayloadHash,
                                          .headers = nullptr},
                                         credentials_, std::chrono::system_clock::now());
  request.headers.insert(request.headers.end(), signature.begin(), signature.end());
  return request;
}

bool S3Context::RenewCredentials(std::uint64_t used) {
  if (used != generation_) return true;  // another call has renewed them meanwhile
  auto fresh = ReadCredentials(options_);
  if (!fresh) {
    log_.Warn("cannot read the credentials again",
              {{"origin", Name("")}, {"error", fresh.error().message}});
    return false;
  }
  if (Same(*fresh, credentials_)) return false;
  credentials_ = std::move(*fresh);
  ++generation_;
  log_.Info("credentials renewed", {{"origin", Name("")}});
  return true;
}

milliseconds S3Context::Backoff(unsigned failures) {
  milliseconds bound = limits_.first_backoff;
  for (unsigned i = 1; i < failures && bound < limits_.max_backoff; ++i) bound *= 2;
  bound = std::min(bound, limits_.max_backoff);
  std::uniform_int_distribution<milliseconds::rep> pick(0, bound.count());
  return milliseconds(pick(random_));
}

std::string S3Context::Name(const std::string& key) const {
  return fmt::format("{}://{}/{}", options_.scheme, options_.bucket, key);
}

// ---- S3Call ------------------------------------------------------------------------------------

S3Call::S3Call(S3Context& context, std::string operation, std::string key,
               std::chrono::steady_clock::time_point deadline)
    : HttpCall(deadline),
      context_(context),
      operation_(std::move(operation)),
      key_(std::move(key)) {}

HttpRequest S3Call::Prepare() {
  head_ = {};
  has_head_ = taking_ = cancelled_ = false;
  error_body_.clear();
  verdict_.reset();
  generation_ = context_.Generation();
  return NextRequest();
}

bool S3Call::OnHead(const HttpHead& head) {
  head_ = head;
  has_head_ = true;
  // The body of an error says more than its status; it is judged at the end.
  if (head.status < 200 || head.status > 299) return true;
  verdict_ = Check(head);
  taking_ = !verdict_;
  return taking_;
}

bool S3Call::OnBody(std::span<const std::byte> bytes) {
  if (!taking_) {
    const std::size_t room = kMaxErrorBody - std::min(kMaxErrorBody, error_body_.size());
    error_body_.append(reinterpret_cast<const char*>(bytes.data()), std::min(room, bytes.size()));
    return room >= bytes.size();
  }
  cancelled_ = !Take(bytes);
  return !cancelled_;
}

std::optional<Verdict> S3Call::Judge(const Attempt& attempt) {
  if (cancelled_) {
    return Verdict{Error{Code::kUnavailable, "cancelled by the reader"}, Retry::kNo};
  }
  if (verdict_) return verdict_;
  if (has_head_ && (head_.status < 200 || head_.status > 299)) {
    return JudgeStatus(head_.status, ParseS3Error(error_body_));
  }
  if (attempt.outcome == Outcome::kAbandoned) {
    return Verdict{Error{Code::kInternal, "the answer could not be processed"}, Retry::kNo};
  }
  if (attempt.outcome != Outcome::kComplete) return JudgeTransport(attempt);
  return CheckEnd();
}

std::optional<milliseconds> S3Call::OnAttemptEnd(const Attempt& attempt) {
  const bool answered = has_head_ && attempt.outcome == Outcome::kComplete;
  context_.Metrics().CountRequest(
      operation_, answered ? fmt::format("{}", head_.status) : Word(attempt.outcome),
      attempt.took.count());
  const auto verdict = Judge(attempt);
  if (!verdict) {
    Deliver(Ok());
    return std::nullopt;
  }
  last_error_ = verdict->error;
  if (verdict->retry == Retry::kNewCredentials && renewals_ < kMaxRenewals &&
      context_.RenewCredentials(generation_)) {
    ++renewals_;
    context_.Metrics().CountRetry(operation_);
    return milliseconds(0);
  }
  if (verdict->retry == Retry::kYes && ++failures_ < context_.Limits().max_attempts) {
    context_.Metrics().CountRetry(operation_);
    return context_.Backoff(failures_);
  }
  Error error = verdict->error;
  if (failures_ > 1) error.message += fmt::format(" (tried {} times)", failures_);
  Deliver(Fail(Describe(std::move(error))));
  return std::nullopt;
}

void S3Call::OnGiveUp(const Error& error) {
  Error told = error;
  if (last_error_) told.message += "; last failure: " + last_error_->message;
  Deliver(Fail(Describe(std::move(told))));
}

Error S3Call::Describe(Error error) const {
  return error.Wrap(fmt::format("{} at {}", context_.Name(key_), context_.Options().endpoint));
}

// ---- S3Read ------------------------------------------------------------------------------------

S3Read::S3Read(S3Context& context, Question question, ReadSink sink, ReadDone done)
    : S3Call(context, "read", std::move(question.key),
             context.Limits().DeadlineOf(question.length)),
      object_(std::move(question.object)),
      position_(question.offset),
      end_(question.offset + question.length),
      sink_(std::move(sink)),
      done_(std::move(done)) {}

HttpRequest S3Read::NextRequest() {
  Headers headers = {{"Range", fmt::format("bytes={}-{}", position_, end_ - 1)},
                     ConditionFor(object_)};
  return Context().Request(Key(), {}, std::move(headers));
}

std::optional<Verdict> S3Read::Check(const HttpHead& head) {
  return CheckRange(head, object_, position_, end_ - position_);
}

bool S3Read::Take(std::span<const std::byte> bytes) {
  // More than announced cannot be told from garbage: it is not delivered, CheckEnd will see it.
  const std::uint64_t wanted = end_ - position_;
  if (bytes.size() > wanted) bytes = bytes.first(static_cast<std::size_t>(wanted));
  if (bytes.empty()) return true;
  NoteProgress();
  position_ += bytes.size();
  Context().Metrics().CountBytes(bytes.size());
  return sink_(bytes);
}

std::optional<Verdict> S3Read::CheckEnd() {
  if (position_ == end_) return std::nullopt;
  return Verdict{
      Error{Code::kUnavailable, fmt::format("the body ended {} bytes early", end_ - position_)},
      Retry::kYes};
}

void S3Read::Deliver(Status status) { done_(std::move(status)); }

// ---- S3Fetch -----------------------------------------------------------------------------------

S3Fetch::S3Fetch(S3Context& context, Question question,
                 std::function<void(Result<std::string>)> done)
    : S3Call(context, question.operation, "", context.Limits().DeadlineOf(0)),
      question_(std::move(question)),
      done_(std::move(done)) {}

HttpRequest S3Fetch::NextRequest() {
  body_.clear();
  return Context().Request(Key(), question_.query, {});
}

std::optional<Verdict> S3Fetch::Check(const HttpHead& /*head*/) { return std::nullopt; }

bool S3Fetch::Take(std::span<const std::byte> bytes) {
  if (body_.size() + bytes.size() > question_.max_body) return false;
  body_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  return true;
}

std::optional<Verdict> S3Fetch::CheckEnd() { return std::nullopt; }

void S3Fetch::Deliver(Status status) {
  if (status) {
    done_(std::move(body_));
  } else {
    done_(Fail(status.error()));
  }
}

}  // namespace sluice::origin
