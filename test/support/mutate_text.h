// Spoils a sound input, for parsers that must survive it; test/fuzz does so for longer.
#pragma once

#include <random>
#include <string>
#include <vector>

namespace sluice::test {

// One to `most_edits` times: changes a byte, drops or doubles some, inserts a token, or cuts.
inline std::string Mutated(std::string input, const std::vector<std::string>& tokens,
                           unsigned most_edits, std::mt19937& random) {
  for (std::size_t i = 0, edits = 1 + random() % most_edits; i < edits && !input.empty(); ++i) {
    const std::size_t at = random() % input.size();
    switch (random() % 5) {
      case 0:
        input[at] = static_cast<char>(random());
        break;
      case 1:
        input.erase(at, 1 + random() % 16);
        break;
      case 2:
        input.insert(at, input.substr(at, random() % 64));
        break;
      case 3:
        input.insert(at, tokens[random() % tokens.size()]);
        break;
      default:
        input.resize(at);
        break;
    }
  }
  return input;
}

}  // namespace sluice::test
