// A running client's own figures, from its metrics socket.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "sluice/core/result.h"

namespace sluice::cli {

// Series of the exposition format by name with labels ('name{a="b"}'); malformed lines are skipped.
std::map<std::string, double> ParseExposition(const std::string& text);

// Of the HTTP endpoint on this Unix socket; kUnavailable when it does not answer within a second.
Result<std::map<std::string, double>> FetchMetrics(const std::string& socket_path);

}  // namespace sluice::cli
