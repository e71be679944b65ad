// AdmissionReview on the wire: bytes in, a request or an answer that says what is wrong; an answer
// out as bytes. Hostile input is the normal case here: size, depth and number of values are
// bounded, every type is checked.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sluice/core/resource.h"

namespace sluice::webhook {

inline constexpr std::size_t kMaxBodyBytes = std::size_t{7} << 20;  // a body must be smaller
inline constexpr std::size_t kMaxDepth = 1000;
// Ten times those of the largest real pods; bounds what a body of many small values takes.
inline constexpr std::size_t kMaxValues = 200'000;

// The parts of an AdmissionRequest that we read.
struct AdmissionRequest {
  std::string api_version;
  std::string kind;
  std::string uid;
  std::string ns;
  std::string name;
  bool dry_run = false;
  Json object;  // null when absent
};

struct AdmissionAnswer {
  bool allowed = false;
  int code = 200;
  std::string reason;  // Kubernetes status reason, "Forbidden" and the like
  std::string message;
  std::vector<std::string> warnings;
  std::map<std::string, std::string> audit_annotations;  // the API server prefixes the keys
  Json patch = Json::array();                            // RFC 6902; an empty one is not sent
};

// An answer that needs no request: the input could not be read as one.
AdmissionAnswer BadRequest(int code, std::string message);

// Exactly one is set.
struct DecodedReview {
  std::optional<AdmissionRequest> request;
  std::optional<AdmissionAnswer> error;  // code 400 or 413
};

// Never throws. `content_type` must be application/json.
DecodedReview DecodeReview(std::string_view content_type, std::string_view body);

// The AdmissionReview that answers `request`; without a request the generic one, which names no
// version and no UID.
std::string EncodeReview(const AdmissionRequest* request, const AdmissionAnswer& answer);

}  // namespace sluice::webhook
