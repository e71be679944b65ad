#include "client_metrics.h"

#include <chrono>
#include <cstdlib>
#include <sstream>

#include "sluice/platform/http_endpoint.h"

namespace sluice::cli {
namespace {

constexpr std::chrono::seconds kAnswerPatience{1};

}  // namespace

std::map<std::string, double> ParseExposition(const std::string& text) {
  std::map<std::string, double> series;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const auto space = line.rfind(' ');
    if (line.empty() || line[0] == '#' || space == std::string::npos || space == 0) continue;
    const char* const begin = line.c_str() + space + 1;
    char* end = nullptr;
    const double value = std::strtod(begin, &end);
    if (end != begin) series[line.substr(0, space)] = value;
  }
  return series;
}

Result<std::map<std::string, double>> FetchMetrics(const std::string& socket_path) {
  SLUICE_TRY(answer, platform::AskEndpoint("unix:" + socket_path, "/metrics", kAnswerPatience),
             "metrics");
  return ParseExposition(answer.body);
}

}  // namespace sluice::cli
