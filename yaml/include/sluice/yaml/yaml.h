// YAML text as JSON documents, and back. Scalars are read as Kubernetes' own tools read them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "sluice/core/resource.h"
#include "sluice/core/result.h"

namespace sluice::yaml {

// A document: scalars become null, booleans (y, yes, on, … among them), numbers (0644 is octal,
// 1_000 a thousand) or strings, as YAML 1.1 in sigs.k8s.io/yaml says; quoted ones stay strings.
// "<<" merges. kInvalidArgument with line and column.
Result<Json> Parse(const std::string& text);
// All documents of a stream; empty ones are null.
Result<std::vector<Json>> ParseStream(const std::string& text);

// A document of a stream together with its own text: all `mark + text` make up the stream.
struct Document {
  std::string mark;  // "---" where the document begins with it
  std::string text;
  Json value;
};
// Like ParseStream, but an error's line counts from the start of the stream.
Result<std::vector<Document>> Split(std::string_view text);

// Block style, keys sorted, a newline at the end. Parse, and whatever reads YAML as Kubernetes'
// tools do, gives the same value back.
std::string Format(const Json& document);

}  // namespace sluice::yaml
