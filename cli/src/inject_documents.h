// Admission of the pods in a stream of documents, without any cluster writing: the pure core of
// `sluice inject`.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "sluice/core/injection.h"
#include "sluice/yaml/yaml.h"

namespace sluice::cli {

// What one rule did to one pod template.
struct RuleChange {
  std::string rule;
  Json before;  // the whole object
  Json after;
};

// What happened to one object of the stream.
struct InjectedObject {
  std::string name;  // "Deployment default/web"
  injection::Mode mode = injection::Mode::kNone;
  std::string why;  // names of reasons
  std::vector<RuleChange> changes;
  std::vector<std::string> warnings;
};

struct InjectedStream {
  std::string text;  // what is unchanged is so to the byte
  std::vector<InjectedObject> objects;
  std::map<std::string, Json> config_maps;  // that the injected containers mount, by name
};

// What makes names unique, as in injection::Request.
struct UniqueBy {
  std::int64_t unix_micros = 0;
  std::uint64_t seed = 0;
};

struct InjectOptions {
  std::string ns;  // of objects that name none
  // Where it is not given, each object's name and pod make its names: the same text comes out of
  // the same text.
  std::optional<UniqueBy> unique = {};
};

// Objects that make no pods pass as they are, List items each by itself. An error names the object;
// nothing comes out then.
Result<InjectedStream> InjectStream(const std::string& text, const injection::Lookup& lookup,
                                    const injection::Settings& settings,
                                    const InjectOptions& options);

}  // namespace sluice::cli
