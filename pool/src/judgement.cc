#include "judgement.h"

#include <algorithm>
#include <cctype>
#include <string>

#include <fmt/format.h>

namespace sluice::pool {
namespace {

using Kind = Reply::Kind;

constexpr std::string_view kNoRoom = "no_room";

Ending Answered(PoolAnswer answer, std::string_view word) { return {answer, word}; }

tl::unexpected<Error> OutOfStep(std::string_view what) {
  return Fail(Code::kUnavailable, fmt::format("out of step: {}", what));
}

// "Out of memory during read", "out of memory storing object", …
bool SaysNoRoom(std::string_view text) {
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return lower.find("out of memory") != std::string::npos;
}

Ending Refused(const Reply& reply) {
  Ending ending = Unavailable(fmt::format("the worker says: {}", Printable(reply.text)));
  if (SaysNoRoom(reply.text)) ending.word = kNoRoom;
  return ending;
}

Result<Ending> JudgeValue(const Operation& get, const Reply& reply) {
  if (reply.length == 0 && reply.won) {
    if (reply.cas == 0) return OutOfStep("a lease without a number");
    return Answered({.kind = PoolAnswer::Kind::kFill, .lease = {reply.cas}}, "fill");
  }
  // Without the lease an empty value says that another client has it.
  if (reply.length == 0) return Answered({.kind = PoolAnswer::Kind::kWait}, "wait");
  const PoolVersion value{reply.cas};
  if (reply.length != get.into.size()) return Answered({.value = value}, kWrongSize);
  return Answered({.kind = PoolAnswer::Kind::kHit, .checksum = reply.client_flags, .value = value},
                  "hit");
}

Result<Ending> JudgeGet(const Operation& get, const Reply& reply) {
  if (reply.kind == Kind::kValue) return JudgeValue(get, reply);
  if (reply.kind == Kind::kMiss) return Answered({}, "miss");
  if (reply.kind == Kind::kServerError) return Refused(reply);
  return OutOfStep("no answer to a get");
}

Result<Ending> JudgeRenew(const Reply& reply) {
  switch (reply.kind) {
    case Kind::kDone:
      if (reply.cas == 0) return OutOfStep("a lease without a number");
      return Answered({.kind = PoolAnswer::Kind::kFill, .lease = {reply.cas}}, "renewed");
    case Kind::kNotStored:
    case Kind::kExists:
    case Kind::kNotFound:
      return Ending{Fail(Code::kNotFound, "the lease is over"), kOver};
    case Kind::kServerError:
      return Refused(reply);
    default:
      return OutOfStep("no answer to a renewal");
  }
}

Result<Ending> JudgePut(const Operation& put, const Reply& reply) {
  switch (reply.kind) {
    case Kind::kDone:
      return Answered({}, put.only_absent ? "stored_late" : "stored");
    case Kind::kNotStored:
    case Kind::kExists:  // the lease went to another client, or the value is there
      return Answered({}, "not_stored");
    case Kind::kNotFound:
      return Answered({}, put.only_absent ? "not_stored" : kOver);
    case Kind::kServerError:
      if (reply.text.find("too large") != std::string_view::npos) {
        return Answered({}, "too_large");
      }
      if (SaysNoRoom(reply.text)) return Answered({}, kNoRoom);
      return Refused(reply);
    default:
      return OutOfStep("no answer to a put");
  }
}

Result<Ending> JudgeDrop(const Reply& reply) {
  if (reply.kind == Kind::kDone || reply.kind == Kind::kNotFound) return Answered({}, "dropped");
  if (reply.kind == Kind::kExists) return Answered({}, "replaced");  // by another client
  if (reply.kind == Kind::kServerError) return Refused(reply);
  return OutOfStep("no answer to a drop");
}

}  // namespace

Result<Ending> Judge(const Operation& operation, std::uint32_t opaque, const Reply& reply) {
  // A value for another key would carry its own right checksum.
  const bool named = reply.opaque.has_value() || reply.kind != Kind::kValue;
  if (!named || reply.opaque.value_or(opaque) != opaque) return OutOfStep("another's answer");
  switch (operation.kind) {
    case Operation::Kind::kGet:
      return JudgeGet(operation, reply);
    case Operation::Kind::kRenew:
      return JudgeRenew(reply);
    case Operation::Kind::kPut:
      return JudgePut(operation, reply);
    case Operation::Kind::kDrop:
      return JudgeDrop(reply);
  }
  return OutOfStep("an unknown operation");
}

}  // namespace sluice::pool
