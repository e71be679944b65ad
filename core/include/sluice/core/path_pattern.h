// Globs over the paths below one directory, made for a walk that visits each directory once.
//
//   auto pattern = PathPattern::Parse("models/**/*.safetensors");
//   PathPattern::State at = pattern->Start();      // the directory itself
//   at = pattern->Step(at, "models");              // an entry of it
//   if (pattern->Matches(at)) …                    // it, or a directory above it, is meant
//   if (pattern->IsOver(at)) …                     // nothing below can be
//
// In a component "*" stands for any characters, "?" for one, "[a-z]" and "[!a-z]" for one of or
// outside of a set; a component "**" stands for any number of directories, none included. "[*]"
// is a plain asterisk. Hidden names are names like others. Who matches a directory means all that
// lies below it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sluice/core/result.h"

namespace sluice {

// Whether one name matches one component. Characters are UTF-8; a byte that is none counts as a
// character of its own. Takes at most the product of both lengths.
bool MatchesName(std::string_view pattern, std::string_view name);

// Whether the text has no special character, so that it matches itself only.
bool IsPlainName(std::string_view pattern);

// "/a/./b/../c/" as {"a", "c"}; ".." stops at the top.
std::vector<std::string> CleanComponents(std::string_view path);

class PathPattern {
 public:
  // How much of the pattern may have been used up so far: a set of positions in it.
  using State = std::uint64_t;

  // kInvalidArgument for a pattern with more components than a State holds.
  static Result<PathPattern> Parse(std::string_view text);

  [[nodiscard]] State Start() const { return Closure(0); }
  // After the entry `name` of the directory where the state was reached.
  [[nodiscard]] State Step(State state, std::string_view name) const;
  // The same, but a "**" takes no name and neither does what lies below a match: only what the
  // pattern spells out. A walk that follows links so cannot run in circles.
  [[nodiscard]] State StepSpelledOut(State state, std::string_view name) const;

  [[nodiscard]] bool Matches(State state) const { return (state & Bit(components_.size())) != 0; }
  [[nodiscard]] static bool IsOver(State state) { return state == 0; }

  // The only names that can lead anywhere from here; nullopt when any name may.
  [[nodiscard]] std::optional<std::vector<std::string>> OnlyNames(State state) const;

 private:
  static constexpr State Bit(std::size_t position) { return State{1} << position; }
  // Reaching `position` reaches also what lies behind "**" there.
  [[nodiscard]] State Closure(std::size_t position) const;
  [[nodiscard]] bool IsAnyDepth(std::size_t position) const;

  std::vector<std::string> components_;
};

}  // namespace sluice
