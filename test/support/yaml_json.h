// YAML files of tests as JSON documents, and back.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "sluice/core/resource.h"

namespace sluice::test {

// Every document of a file. Throws on malformed YAML: a test's own data is a bug when wrong.
std::vector<Json> LoadYaml(const std::filesystem::path& path);

// One document per object, keys in order, "---" between them.
std::string DumpYaml(const std::vector<Json>& documents);

}  // namespace sluice::test
