#pragma once

#include <optional>
#include <string>

namespace sluice::certs {

std::string EncodeBase64(const std::string& bytes);
// Nothing for text that is no base64.
std::optional<std::string> DecodeBase64(const std::string& text);

}  // namespace sluice::certs
