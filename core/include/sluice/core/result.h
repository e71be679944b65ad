// How every fallible call answers: a value, or an Error that says what was tried on which object.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include <tl/expected.hpp>

namespace sluice {

// What kind of failure it was. Each protocol (errno, gRPC, admission, requeue) has one exhaustive
// switch over these.
enum class Code {
  kInvalidArgument,   // the input is wrong; trying again cannot help
  kNotFound,          // the named object does not exist
  kAlreadyExists,     // the object to be created is there
  kConflict,          // somebody changed the object meanwhile; read again and retry
  kPermissionDenied,  // credentials are missing, wrong or not sufficient
  kUnavailable,       // a peer is down or refuses for now; retry later
  kDeadlineExceeded,  // the time allowed is over
  kInternal,          // a bug or a broken local resource
};

std::string_view CodeName(Code code);  // "invalid argument", "not found", ...

struct Error {
  Code code = Code::kInternal;
  std::string message;

  // The same error seen from one layer up: "<context>: <message>".
  [[nodiscard]] Error Wrap(std::string_view context) const;
};

// `Result<T>` holds a T or an Error; test it with has_value() or as a bool before use.
template <typename T>
class [[nodiscard]] Result : public tl::expected<T, Error> {
 public:
  using tl::expected<T, Error>::expected;
  Result() = default;
  // NOLINTNEXTLINE(google-explicit-constructor): `return Fail(...)` must convert.
  Result(tl::unexpected<Error> error) : tl::expected<T, Error>(std::move(error)) {}
};

using Status = Result<void>;

inline tl::unexpected<Error> Fail(Code code, std::string message) {
  return tl::unexpected<Error>(Error{code, std::move(message)});
}
inline tl::unexpected<Error> Fail(Error error) { return tl::unexpected<Error>(std::move(error)); }
inline Status Ok() { return Status{}; }

}  // namespace sluice

// Returns the error of `expr` (a Result) from the enclosing function, with `context` in front.
#define SLUICE_TRY(var, expr, context)                                          \
  auto var##_result = (expr);                                                   \
  if (!var##_result) return ::sluice::Fail(var##_result.error().Wrap(context)); \
  auto var = std::move(*var##_result)

// The same for a Status.
#define SLUICE_CHECK(expr, context)                                \
  do {                                                             \
    if (auto sluice_status_ = (expr); !sluice_status_)             \
      return ::sluice::Fail(sluice_status_.error().Wrap(context)); \
  } while (false)
