// YAML text as JSON documents, and back. Scalars are read as Kubernetes' own tools read them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "sluice/core/resource.h"
#include "sluice/core/result.h"

namespace sluice::yaml {

// A document: scalars become null, booleans (yes, no, on and off among them), numbers (0644 is
// octal) or strings; quoted ones stay strings. "<<" merges. kInvalidArgument with line and column.
Result<Json> Parse(const std::string& text);
// All documents of a stream; empty ones are null.
Result<std::vector<Json>> ParseStream(const std::string& text);

// A document of a stream together with its own text.
struct Document {
  std::string text;  // without the "---" line before it
  Json value;
};
// Like ParseStream, but an error's line counts from the start of the stream.
Result<std::vector<Document>> Split(std::string_view text);

// Block style, keys in the order of the document, a newline at the end. Parse gives the same value
// back.
std::string Format(const Json& document);

}  // namespace sluice::yaml
