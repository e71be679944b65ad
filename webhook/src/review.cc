#include "sluice/webhook/review.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "sluice/certs/base64.h"
#include "sluice/core/json_access.h"

namespace sluice::webhook {
namespace {

constexpr const char* kReview = "AdmissionReview";

// What a text would become as JSON.
struct Shape {
  std::size_t depth = 0;   // of objects and arrays in one another
  std::size_t values = 1;  // in all of them
};

bool IsBlank(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

// Without building anything: a tree takes up to twenty times as much memory as its text.
Shape ShapeOf(std::string_view text) {
  Shape shape;
  std::size_t depth = 0;
  bool in_string = false;
  bool opened = false;  // nothing has come yet of the object or array
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') {
        ++i;
      } else if (c == '"') {
        in_string = false;
      }
      continue;
    }
    if (IsBlank(c)) continue;
    const bool closes = c == '}' || c == ']';
    if (c == ',' || (std::exchange(opened, false) && !closes)) ++shape.values;
    if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      opened = true;
      shape.depth = std::max(shape.depth, ++depth);
    } else if (closes && depth > 0) {
      --depth;
    }
  }
  return shape;
}

// Accepts everything and remembers where a syntax error was.
class ErrorFinder final : public nlohmann::json_sax<Json> {
 public:
  bool null() override { return true; }                                         // NOLINT
  bool boolean(bool) override { return true; }                                  // NOLINT
  bool number_integer(number_integer_t) override { return true; }               // NOLINT
  bool number_unsigned(number_unsigned_t) override { return true; }             // NOLINT
  bool number_float(number_float_t, const string_t&) override { return true; }  // NOLINT
  bool string(string_t&) override { return true; }                              // NOLINT
  bool binary(binary_t&) override { return true; }                              // NOLINT
  bool start_object(std::size_t) override { return true; }                      // NOLINT
  bool key(string_t&) override { return true; }                                 // NOLINT
  bool end_object() override { return true; }                                   // NOLINT
  bool start_array(std::size_t) override { return true; }                       // NOLINT
  bool end_array() override { return true; }                                    // NOLINT
  bool parse_error(std::size_t position, const std::string&,                    // NOLINT
                   const nlohmann::detail::exception&) override {
    position_ = position;
    return false;
  }
  [[nodiscard]] std::size_t Position() const { return position_; }

 private:
  std::size_t position_ = 0;
};

std::string SyntaxError(std::string_view body) {
  ErrorFinder finder;
  Json::sax_parse(body.begin(), body.end(), &finder);
  // Positions count from one; one past the end is the end.
  if (finder.Position() > body.size()) return "unexpected end of JSON input";
  return fmt::format("invalid character or bytes that are not UTF-8 at offset {}",
                     finder.Position());
}

DecodedReview Malformed(int code, std::string message) {
  return {.request = std::nullopt, .error = BadRequest(code, std::move(message))};
}

DecodedReview DecodeRequest(Json review, AdmissionRequest request) {
  if (!HasType(review, "request", &Json::is_object)) {
    return Malformed(400, "the AdmissionReview's field request must be an object");
  }
  Json& body = ObjectIn(review, "request");
  for (const char* key : {"uid", "namespace", "name"}) {
    if (!HasType(body, key, &Json::is_string)) {
      return Malformed(400,
                       fmt::format("the AdmissionReview's field request.{} must be a string", key));
    }
  }
  if (!HasType(body, "dryRun", &Json::is_boolean)) {
    return Malformed(400, "the AdmissionReview's field request.dryRun must be a boolean");
  }
  request.uid = StringOf(body, "uid");
  request.ns = StringOf(body, "namespace");
  request.name = StringOf(body, "name");
  request.dry_run = FlagOf(body, "dryRun");
  if (const auto object = body.find("object"); object != body.end()) {
    request.object = std::move(*object);
  }
  return {.request = std::move(request), .error = std::nullopt};
}

std::string Dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace

AdmissionAnswer BadRequest(int code, std::string message) {
  AdmissionAnswer answer;
  answer.code = code;
  answer.message = std::move(message);
  return answer;
}

DecodedReview DecodeReview(std::string_view content_type, std::string_view body) {
  if (body.empty()) return Malformed(400, "request body is empty");
  if (body.size() >= kMaxBodyBytes) {
    return Malformed(413,
                     fmt::format("request entity is too large; limit is {} bytes", kMaxBodyBytes));
  }
  if (content_type != "application/json") {
    return Malformed(400, fmt::format("contentType={}, expected application/json", content_type));
  }
  constexpr const char* kUnreadable = "couldn't get version/kind; json parse error: ";
  const Shape shape = ShapeOf(body);
  if (shape.depth > kMaxDepth) {
    return Malformed(400, fmt::format("{}exceeded max depth {}", kUnreadable, kMaxDepth));
  }
  if (shape.values > kMaxValues) {
    return Malformed(413,
                     fmt::format("request entity is too large; limit is {} values", kMaxValues));
  }
  Json review = Json::parse(body.begin(), body.end(), nullptr, false);
  if (review.is_discarded()) return Malformed(400, kUnreadable + SyntaxError(body));
  if (!review.is_object() && !review.is_null()) {
    return Malformed(400, fmt::format("{}an AdmissionReview must be an object, not {}", kUnreadable,
                                      review.type_name()));
  }
  for (const char* key : {"apiVersion", "kind"}) {
    if (!HasType(review, key, &Json::is_string)) {
      return Malformed(400, fmt::format("{}field {} must be a string", kUnreadable, key));
    }
  }
  AdmissionRequest request;
  request.api_version = StringOf(review, "apiVersion");
  request.kind = StringOf(review, "kind");
  if (request.api_version.empty()) request.api_version = "admission.k8s.io/v1";
  if (request.kind.empty()) request.kind = kReview;
  const bool known_version = request.api_version == "admission.k8s.io/v1" ||
                             request.api_version == "admission.k8s.io/v1beta1";
  if (!known_version || request.kind != kReview) {
    return Malformed(400, fmt::format("no kind \"{}\" is registered for version \"{}\"",
                                      request.kind, request.api_version));
  }
  return DecodeRequest(std::move(review), std::move(request));
}

std::string EncodeReview(const AdmissionRequest* request, const AdmissionAnswer& answer) {
  Json status = Json::object({{"code", answer.code}});
  if (!answer.message.empty()) status["message"] = answer.message;
  if (!answer.reason.empty()) status["reason"] = answer.reason;
  Json response = Json::object({{"uid", request == nullptr ? "" : request->uid},
                                {"allowed", answer.allowed},
                                {"status", std::move(status)}});
  if (!answer.warnings.empty()) response["warnings"] = answer.warnings;
  if (!answer.audit_annotations.empty()) response["auditAnnotations"] = answer.audit_annotations;
  Json review = Json::object({{"response", std::move(response)}});
  if (request != nullptr) {
    review["apiVersion"] = request->api_version;
    review["kind"] = request->kind;
  }
  std::string text = Dump(review);
  if (!answer.patch.empty()) {
    // Most of the answer, with nothing to escape: put as it is behind the last field of `response`,
    // which is the last of the review.
    text.insert(text.size() - 2, fmt::format(R"(,"patch":"{}","patchType":"JSONPatch")",
                                             certs::EncodeBase64(Dump(answer.patch))));
  }
  return text;
}

}  // namespace sluice::webhook
