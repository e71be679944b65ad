// Reads an XML document that a server sent. A document type, an entity of its own, deep nesting or
// an overlong value is refused, never followed.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

#include "sluice/core/result.h"

namespace sluice::origin {

// A key has at most 1024 bytes, thrice that encoded; a session token a few KiB.
inline constexpr std::size_t kMaxXmlText = 16U << 10;

// Called at the end of each element with its path ("a/b/c", without name-space prefixes) and the
// text directly inside.
using OnXmlText = std::function<void(std::string_view path, const std::string& text)>;

// kUnavailable when the document is not well-formed or refused.
Status WalkXml(std::string_view xml, OnXmlText on_text);

// Only what a code or a region consists of, cut to 64 characters: fit for messages and events.
std::string PlainWord(std::string_view text);

}  // namespace sluice::origin
