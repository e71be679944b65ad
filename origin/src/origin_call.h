// Requests to an origin over HTTP, with what to do when one fails: the same for every protocol.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "sluice/origin/sigv4.h"
#include "sluice/ports/origin.h"

#include "http_response.h"
#include "http_transport.h"
#include "origin_context.h"

namespace sluice::origin {

// Retries, redirects, credentials, metrics and messages; the derived class says what to ask and
// what to keep.
class OriginCall : public HttpCall {
 public:
  OriginCall(OriginContext& context, std::string operation, std::string key,
             std::chrono::steady_clock::time_point deadline);

  std::optional<HttpRequest> Prepare() final;
  bool OnHead(const HttpHead& head) final;
  bool OnBody(std::span<const std::byte> bytes) final;
  std::optional<std::chrono::milliseconds> OnAttemptEnd(const Attempt& attempt) final;
  void OnGiveUp(const Error& error) final;
  void OnThrottled(std::chrono::duration<double> time) final;

 protected:
  virtual HttpRequest NextRequest() = 0;
  // Whether a successful answer is what was asked for.
  virtual std::optional<Verdict> Check(const HttpHead& head) = 0;
  // False: the owner wants no more.
  virtual bool Take(std::span<const std::byte> bytes) = 0;
  // The answer is complete below HTTP: is it for us, too?
  virtual std::optional<Verdict> CheckEnd() = 0;
  // Whether other calls ask about the same key soon, so that redirects are worth keeping.
  [[nodiscard]] virtual bool IsOneOfMany() const { return false; }
  // Tells the owner. Called once.
  virtual void Deliver(Status status) = 0;
  // Failures in a row after which it is not tried again.
  [[nodiscard]] virtual unsigned MostAttempts() const { return context_.Limits().max_attempts; }

  OriginContext& Context() { return context_; }
  [[nodiscard]] const std::string& Key() const { return key_; }
  // Of the latest attempt: the head of its answer (status 0 when there was none), and the URL that
  // gave it.
  [[nodiscard]] const HttpHead& Head() const { return head_; }
  [[nodiscard]] const std::string& Url() const { return url_; }
  // New bytes have come: the count of failures starts anew.
  void NoteProgress() { failures_ = 0; }

 private:
  // The verdict on a finished attempt; nothing when it succeeded.
  std::optional<Verdict> Judge(const Attempt& attempt);
  // Takes the next step of a redirect: nothing to be judged when that is possible.
  std::optional<Verdict> Redirect();
  [[nodiscard]] bool IsRedirected() const;
  // Goes where an earlier call was redirected to.
  void TakeShortcut(HttpRequest& request);

  OriginContext& context_;
  const std::string operation_;
  const std::string key_;
  unsigned failures_ = 0;
  unsigned renewals_ = 0;
  std::uint64_t generation_ = 0;  // of the credentials that signed this attempt
  // Of the chain of redirects under way:
  std::string redirect_;  // where to go next; empty: begin with NextRequest()
  unsigned redirects_ = 0;
  bool strayed_ = false;  // it has led to another server: no credentials from there on
  std::string linked_etag_;
  bool shortcut_ = false;     // begun where an earlier call was redirected to
  bool no_shortcut_ = false;  // one has failed already
  // Of the attempt under way:
  std::string url_;
  HttpHead head_;
  bool has_head_ = false;
  bool taking_ = false;     // the body is what was asked for
  bool cancelled_ = false;  // by the owner
  bool waiting_ = false;    // for credentials: there is no request yet
  std::string error_body_;
  std::optional<Verdict> verdict_;
  std::optional<Error> last_error_;
};

// A ranged GET that goes on after a failure where it stopped.
class RangeRead final : public OriginCall {
 public:
  struct Question {
    std::string key;
    OriginObject object;
    std::uint64_t offset = 0;
    std::uint64_t length = 0;  // more than 0, within the object
  };
  RangeRead(OriginContext& context, Question question, ReadSink sink, ReadDone done);

  [[nodiscard]] bool MayBeHedged() const override { return true; }
  void OnHedge() override { Context().Metrics().CountHedge(); }
  void OnHedgeWon() override { Context().Metrics().CountHedgeWon(); }

 private:
  HttpRequest NextRequest() override;
  std::optional<Verdict> Check(const HttpHead& head) override;
  bool Take(std::span<const std::byte> bytes) override;
  std::optional<Verdict> CheckEnd() override;
  [[nodiscard]] bool IsOneOfMany() const override { return true; }
  void Deliver(Status status) override;

  const OriginObject object_;
  std::uint64_t position_;
  const std::uint64_t end_;
  ReadSink sink_;
  ReadDone done_;
};

// A question whose whole answer is kept (up to a bound).
class Fetch final : public OriginCall {
 public:
  struct Question {
    std::string operation;  // for metrics: "list"
    std::string key;
    Query query;
    Headers headers;
    Method method = Method::kGet;
    bool only_partial = false;  // an answer of 200 is refused before its body comes
    std::size_t max_body = 0;
  };
  struct Reply {
    Status status;
    HttpHead head;    // also of a refusal; status 0 when there was no answer
    std::string url;  // that gave it, after redirects
    std::string body;
  };
  Fetch(OriginContext& context, Question question, std::function<void(Reply)> done);

 private:
  HttpRequest NextRequest() override;
  std::optional<Verdict> Check(const HttpHead& head) override;
  bool Take(std::span<const std::byte> bytes) override;
  std::optional<Verdict> CheckEnd() override;
  void Deliver(Status status) override;

  const Question question_;
  std::function<void(Reply)> done_;
  std::string body_;
  bool too_long_ = false;
};

// Whether [offset, offset + length) can be read of `object`, named so in the message. False: `done`
// has been called, since it cannot or is empty.
bool WorthReading(const OriginObject& object, std::uint64_t offset, std::uint64_t length,
                  const std::string& name, ReadDone& done);

// Hands a read to the transport; when that refuses, `done` is told.
void SubmitRead(HttpTransport& transport, OriginContext& context, RangeRead::Question question,
                ReadSink sink, ReadDone done);

// Sends questions and waits for the answers, which come by their deadlines. At most `at_once` are
// under way; `take` gets the answers in the order of the questions. Its first failure is returned
// after the answers that are under way have come, and ends the asking.
Status Ask(HttpTransport& transport, OriginContext& context, std::vector<Fetch::Question> questions,
           std::size_t at_once,
           const std::function<Status(std::size_t index, Fetch::Reply reply)>& take);

// The same for one question.
Fetch::Reply AskOne(HttpTransport& transport, OriginContext& context, Fetch::Question question);

}  // namespace sluice::origin
