#include "origin_call.h"

#include <algorithm>
#include <deque>
#include <future>
#include <memory>
#include <utility>

#include <fmt/format.h>

#include "url.h"

namespace sluice::origin {
namespace {

using std::chrono::milliseconds;

constexpr std::size_t kMaxErrorBody = 64U << 10;
constexpr unsigned kMaxRenewals = 2;
constexpr unsigned kMaxRedirects = 8;   // in a row
constexpr milliseconds kLookAgain{25};  // for credentials that are being fetched

std::string Word(Outcome outcome) {
  switch (outcome) {
    case Outcome::kNotSent:
      return "not_sent";
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
    verdict.error.message =
        attempt.detail + ": check option \"endpoint\" or the mount point, and the cluster's DNS";
  }
  return verdict;
}

}  // namespace

// ---- OriginCall
// ------------------------------------------------------------------------------------

OriginCall::OriginCall(OriginContext& context, std::string operation, std::string key,
                       std::chrono::steady_clock::time_point deadline)
    : HttpCall(deadline),
      context_(context),
      operation_(std::move(operation)),
      key_(std::move(key)) {}

std::optional<HttpRequest> OriginCall::Prepare() {
  head_ = {};
  has_head_ = taking_ = cancelled_ = waiting_ = false;
  error_body_.clear();
  verdict_.reset();
  const auto ready = context_.HasCredentials();
  if (!ready) {
    const bool may_pass =
        ready.error().code == Code::kUnavailable || ready.error().code == Code::kDeadlineExceeded;
    verdict_ = Verdict{ready.error(), may_pass ? Retry::kYes : Retry::kNo};
    return std::nullopt;
  }
  waiting_ = !*ready;
  if (waiting_) return std::nullopt;
  generation_ = context_.Generation();
  HttpRequest request = NextRequest();
  if (!redirect_.empty()) {
    if (strayed_) request.credentials.clear();
    request.url = std::exchange(redirect_, {});
  } else {
    redirects_ = 0;
    strayed_ = shortcut_ = false;
    linked_etag_.clear();
    TakeShortcut(request);
  }
  url_ = request.url;
  return request;
}

void OriginCall::TakeShortcut(HttpRequest& request) {
  if (!IsOneOfMany() || no_shortcut_) return;
  const OriginContext::Shortcut* const known = context_.ShortcutOf(key_);
  if (known == nullptr) return;
  shortcut_ = true;
  request.url = known->url;
  strayed_ = known->strayed;
  if (strayed_) request.credentials.clear();
  linked_etag_ = known->linked_etag;
}

bool OriginCall::OnHead(const HttpHead& head) {
  head_ = head;
  has_head_ = true;
  // The server that was asked knows the version, not the store that it redirects to.
  if (linked_etag_.empty()) linked_etag_ = head.linked_etag;
  head_.linked_etag = linked_etag_;
  // The body of an error says more than its status; it is judged at the end.
  if (head.status < 200 || head.status > 299) return true;
  verdict_ = Check(head_);
  taking_ = !verdict_;
  if (taking_ && redirects_ > 0 && IsOneOfMany()) {
    context_.KeepShortcut(key_, url_, strayed_, linked_etag_);
  }
  return taking_;
}

bool OriginCall::OnBody(std::span<const std::byte> bytes) {
  if (!taking_) {
    const std::size_t room = kMaxErrorBody - std::min(kMaxErrorBody, error_body_.size());
    error_body_.append(reinterpret_cast<const char*>(bytes.data()), std::min(room, bytes.size()));
    return room >= bytes.size();
  }
  cancelled_ = !Take(bytes);
  return !cancelled_;
}

std::optional<Verdict> OriginCall::Judge(const Attempt& attempt) {
  if (cancelled_) {
    return Verdict{Error{Code::kUnavailable, "cancelled by the reader"}, Retry::kNo};
  }
  if (verdict_) return verdict_;
  if (IsRedirected()) return Redirect();
  if (has_head_ && (head_.status < 200 || head_.status > 299)) {
    return context_.JudgeRefusal(head_, error_body_);
  }
  if (attempt.outcome == Outcome::kAbandoned) {
    return Verdict{Error{Code::kInternal, "the answer could not be processed"}, Retry::kNo};
  }
  if (attempt.outcome != Outcome::kComplete) return JudgeTransport(attempt);
  return CheckEnd();
}

bool OriginCall::IsRedirected() const {
  return has_head_ && context_.FollowsRedirects() && IsRedirect(head_.status) &&
         !head_.location.empty();
}

std::optional<Verdict> OriginCall::Redirect() {
  if (++redirects_ > kMaxRedirects) {
    return Verdict{
        Error{Code::kUnavailable, fmt::format("more than {} redirects in a row", kMaxRedirects)},
        Retry::kNo};
  }
  const auto to = RedirectTarget(url_, head_.location);
  if (!to) return Verdict{to.error(), Retry::kNo};
  strayed_ = strayed_ || !MayCarryCredentials(url_, *to);
  redirect_ = to->Text();
  return std::nullopt;
}

std::optional<milliseconds> OriginCall::OnAttemptEnd(const Attempt& attempt) {
  if (waiting_) {
    last_error_ = Error{Code::kUnavailable, "the credentials were still being fetched"};
    return kLookAgain;
  }
  if (attempt.outcome != Outcome::kNotSent) {
    const bool answered = has_head_ && attempt.outcome == Outcome::kComplete;
    context_.Metrics().CountRequest(
        operation_, answered ? fmt::format("{}", head_.status) : Word(attempt.outcome),
        attempt.took.count());
  }
  const auto verdict = Judge(attempt);
  if (!verdict && !redirect_.empty()) return milliseconds(0);
  if (!verdict) {
    Deliver(Ok());
    return std::nullopt;
  }
  last_error_ = verdict->error;
  // It may have expired, or the redirect may lead elsewhere now: once more from the beginning.
  if (shortcut_ && !cancelled_) {
    context_.DropShortcut(key_);
    no_shortcut_ = true;
    context_.Metrics().CountRetry(operation_);
    return milliseconds(0);
  }
  if (verdict->retry == Retry::kNewCredentials && renewals_ < kMaxRenewals &&
      context_.RenewCredentials(generation_)) {
    ++renewals_;
    context_.Metrics().CountRetry(operation_);
    return milliseconds(0);
  }
  if (verdict->retry == Retry::kYes && ++failures_ < MostAttempts()) {
    context_.Metrics().CountRetry(operation_);
    return context_.Backoff(failures_);
  }
  Error error = verdict->error;
  if (failures_ > 1) error.message += fmt::format(" (tried {} times)", failures_);
  Deliver(Fail(error.Wrap(context_.Place(key_))));
  return std::nullopt;
}

void OriginCall::OnGiveUp(const Error& error) {
  Error told = error;
  if (last_error_) told.message += "; last failure: " + last_error_->message;
  Deliver(Fail(told.Wrap(context_.Place(key_))));
}

void OriginCall::OnThrottled(std::chrono::duration<double> time) {
  context_.Metrics().CountThrottled(time.count());
}

// ---- RangeRead ----------------------------------------------------------------------------------

RangeRead::RangeRead(OriginContext& context, Question question, ReadSink sink, ReadDone done)
    : OriginCall(context, "read", std::move(question.key),
                 context.Limits().DeadlineOf(question.length)),
      object_(std::move(question.object)),
      position_(question.offset),
      end_(question.offset + question.length),
      sink_(std::move(sink)),
      done_(std::move(done)) {}

HttpRequest RangeRead::NextRequest() {
  Headers headers = Context().ConditionOf(object_);
  headers.emplace_back("Range", fmt::format("bytes={}-{}", position_, end_ - 1));
  return Context().Request(Key(), {}, std::move(headers));
}

std::optional<Verdict> RangeRead::Check(const HttpHead& head) {
  return Context().CheckRead(head, object_, position_, end_ - position_);
}

bool RangeRead::Take(std::span<const std::byte> bytes) {
  // More than announced cannot be told from garbage: it is not delivered, CheckEnd will see it.
  const std::uint64_t wanted = end_ - position_;
  if (bytes.size() > wanted) bytes = bytes.first(static_cast<std::size_t>(wanted));
  if (bytes.empty()) return true;
  NoteProgress();
  position_ += bytes.size();
  Context().Metrics().CountBytes(bytes.size());
  return sink_(bytes);
}

std::optional<Verdict> RangeRead::CheckEnd() {
  if (position_ == end_) return std::nullopt;
  return Verdict{
      Error{Code::kUnavailable, fmt::format("the body ended {} bytes early", end_ - position_)},
      Retry::kYes};
}

void RangeRead::Deliver(Status status) { done_(std::move(status)); }

// ---- Fetch -------------------------------------------------------------------------------------

Fetch::Fetch(OriginContext& context, Question question, std::function<void(Reply)> done)
    : OriginCall(context, question.operation, question.key, context.Limits().DeadlineOf(0)),
      question_(std::move(question)),
      done_(std::move(done)) {}

HttpRequest Fetch::NextRequest() {
  body_.clear();
  HttpRequest request = Context().Request(Key(), question_.query, question_.headers);
  request.method = question_.method;
  return request;
}

std::optional<Verdict> Fetch::Check(const HttpHead& head) {
  if (!question_.only_partial || head.status == 206) return std::nullopt;
  return Verdict{Error{Code::kUnavailable, "the server ignored the Range header (HTTP 200)"},
                 Retry::kNo};
}

bool Fetch::Take(std::span<const std::byte> bytes) {
  too_long_ = body_.size() + bytes.size() > question_.max_body;
  if (too_long_) return false;
  body_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  return true;
}

std::optional<Verdict> Fetch::CheckEnd() { return std::nullopt; }

void Fetch::Deliver(Status status) {
  if (too_long_) {
    status = Fail(Code::kUnavailable, fmt::format("{}: the answer has more than {} bytes",
                                                  Context().Place(Key()), question_.max_body));
  }
  done_({std::move(status), Head(), Url(), std::move(body_)});
}

// ---- submitting --------------------------------------------------------------------------------

bool WorthReading(const OriginObject& object, std::uint64_t offset, std::uint64_t length,
                  const std::string& name, ReadDone& done) {
  if (length > 0 && offset <= object.size && length <= object.size - offset) return true;
  done(length == 0 && offset <= object.size
           ? Ok()
           : Fail(Code::kInvalidArgument, fmt::format("{}: bytes {}+{} lie beyond its {} bytes",
                                                      name, offset, length, object.size)));
  return false;
}

void SubmitRead(HttpTransport& transport, OriginContext& context, RangeRead::Question question,
                ReadSink sink, ReadDone done) {
  const std::string place = context.Place(question.key);
  // The call is gone when the transport refuses it, so `done` is kept aside.
  auto told = std::make_shared<ReadDone>(std::move(done));
  auto call = std::make_unique<RangeRead>(context, std::move(question), std::move(sink),
                                          [told](Status status) { (*told)(std::move(status)); });
  if (auto status = transport.Submit(std::move(call)); !status) {
    (*told)(Fail(status.error().Wrap(place)));
  }
}

Status Ask(HttpTransport& transport, OriginContext& context, std::vector<Fetch::Question> questions,
           std::size_t at_once,
           const std::function<Status(std::size_t index, Fetch::Reply reply)>& take) {
  std::deque<std::future<Fetch::Reply>> under_way;
  std::size_t asked = 0;
  Status result;
  for (std::size_t answered = 0; answered < questions.size(); ++answered) {
    for (; result && asked < questions.size() && asked < answered + at_once; ++asked) {
      auto promise = std::make_shared<std::promise<Fetch::Reply>>();
      under_way.push_back(promise->get_future());
      const std::string place = context.Place(questions[asked].key);
      auto call = std::make_unique<Fetch>(
          context, std::move(questions[asked]),
          [promise](Fetch::Reply reply) { promise->set_value(std::move(reply)); });
      if (auto status = transport.Submit(std::move(call)); !status) {
        promise->set_value({Fail(status.error().Wrap(place)), {}, "", ""});
      }
    }
    if (under_way.empty()) break;
    Fetch::Reply reply = under_way.front().get();
    under_way.pop_front();
    if (result) result = take(answered, std::move(reply));
  }
  return result;
}

Fetch::Reply AskOne(HttpTransport& transport, OriginContext& context, Fetch::Question question) {
  Fetch::Reply answer;
  std::vector<Fetch::Question> questions;
  questions.push_back(std::move(question));
  (void)Ask(transport, context, std::move(questions), 1,
            [&](std::size_t /*index*/, Fetch::Reply reply) {
              answer = std::move(reply);
              return Ok();
            });
  return answer;
}

}  // namespace sluice::origin
