#include "sluice/core/path_pattern.h"

#include <functional>
#include <random>

#include <gtest/gtest.h>

namespace sluice {
namespace {

struct NameCase {
  const char* pattern;
  const char* name;
  bool matches;
};

TEST(PathPatternTest, MatchesNames) {
  const NameCase kCases[] = {
      {"", "", true},
      {"", "a", false},
      {"a", "a", true},
      {"a", "ab", false},
      {"*", "", true},
      {"*", ".hidden", true},
      {"*.bin", "model.bin", true},
      {"*.bin", "model.bin.part", false},
      {"**", "ab", true},
      {"a*b*c", "aXbYbZc", true},
      {"a*b*c", "aXbYbZ", false},
      {"?", "a", true},
      {"?", "", false},
      {"?", "ab", false},
      {"?", "é", true},
      {"??", "é", false},
      {"?", "\xff", true},
      {"[é-ü]", "ö", true},
      {"[a-c]x", "bx", true},
      {"[a-c]x", "dx", false},
      {"[!a-c]x", "dx", true},
      {"[!a-c]x", "ax", false},
      {"[^a]", "b", true},
      {"[]]", "]", true},
      {"[!]]", "]", false},
      {"[!]]", "a", true},
      {"[a-]", "-", true},
      {"[-a]", "-", true},
      {"[*]", "*", true},
      {"[*]", "a", false},
      {"[", "[", true},
      {"[abc", "[abc", true},
      {"[]", "[]", true},
      {"[!", "[!", true},
      {"a[", "ab", false},
      {"model-[0-9][0-9].bin", "model-07.bin", true},
      {"\xff*", "\xff\n;", true},
      {"A", "\xe0\x81\x81", false},
      {"A", "\xf0\x80\x81\x81", false},
      {"???", "\xe0\x81\x81", true},
      {"\xf4\xbf\xbf\xbf", "\xf4\xbf\xbf\xbf", true},
  };
  for (const NameCase& c : kCases) {
    EXPECT_EQ(MatchesName(c.pattern, c.name), c.matches) << c.pattern << " and " << c.name;
  }
}

TEST(PathPatternTest, LongPatternsOfAsterisksTakeNoTime) {
  std::string pattern;
  for (int i = 0; i < 200; ++i) pattern += "*a";
  EXPECT_FALSE(MatchesName(pattern + "b", std::string(4000, 'a')));
  EXPECT_TRUE(MatchesName(pattern, std::string(4000, 'a')));
}

PathPattern::State After(const PathPattern& pattern, const std::string& path) {
  PathPattern::State state = pattern.Start();
  for (const std::string& name : CleanComponents(path)) state = pattern.Step(state, name);
  return state;
}

bool Matches(const std::string& pattern, const std::string& path) {
  const auto parsed = PathPattern::Parse(pattern);
  return parsed && parsed->Matches(After(*parsed, path));
}

struct PathCase {
  const char* pattern;
  const char* path;
  bool matches;
};

TEST(PathPatternTest, MatchesPaths) {
  const PathCase kCases[] = {
      {"", "", true},
      {"", "a/b", true},
      {"**", "", true},
      {"**", "a/b/c", true},
      {"a", "a", true},
      {"a", "a/b/c", true},
      {"a", "b", false},
      {"a/*", "a", false},
      {"a/*", "a/b", true},
      {"*.bin", "a.bin", true},
      {"*.bin", "d/a.bin", false},
      {"**/*.bin", "a.bin", true},
      {"**/*.bin", "d/e/a.bin", true},
      {"**/*.bin", "d/e/a.txt", false},
      {"a/**/b", "a/b", true},
      {"a/**/b", "a/x/y/b", true},
      {"a/**/b", "a/x/y/b/z", true},
      {"a/**/b", "a/x/y", false},
      {"a/**", "a", true},
      {"a/**", "b/a", false},
      {"**/a/**/b", "x/a/y/a/z/b", true},
      {"**/**", "a", true},
      {"a**b/c", "axxb/c", true},
      {"a**b/c", "a/b/c", false},
      {"/a/./b/../c/", "a/c", true},
      {"../../a", "a", true},
      {".git", ".git/HEAD", true},
  };
  for (const PathCase& c : kCases) {
    EXPECT_EQ(Matches(c.pattern, c.path), c.matches) << c.pattern << " and " << c.path;
  }
}

TEST(PathPatternTest, TellsWhenNothingBelowCanMatch) {
  const auto pattern = *PathPattern::Parse("a/*/c");
  EXPECT_TRUE(PathPattern::IsOver(After(pattern, "b")));
  EXPECT_FALSE(PathPattern::IsOver(After(pattern, "a/b")));
  EXPECT_TRUE(PathPattern::IsOver(After(pattern, "a/b/d")));
}

TEST(PathPatternTest, NamesWhatAloneCanLeadOn) {
  const auto pattern = *PathPattern::Parse("a/*/c");
  EXPECT_EQ(pattern.OnlyNames(After(pattern, "")), std::vector<std::string>{"a"});
  EXPECT_EQ(pattern.OnlyNames(After(pattern, "a")), std::nullopt);
  EXPECT_EQ(pattern.OnlyNames(After(pattern, "a/x")), std::vector<std::string>{"c"});
  EXPECT_EQ(pattern.OnlyNames(After(pattern, "a/x/c")), std::nullopt);  // everything below
  const auto deep = *PathPattern::Parse("**/c");
  EXPECT_EQ(deep.OnlyNames(deep.Start()), std::nullopt);
}

TEST(PathPatternTest, SpelledOutStepsEnd) {
  const auto pattern = *PathPattern::Parse("**/current/*.bin");
  const auto start = pattern.Start();
  EXPECT_TRUE(PathPattern::IsOver(pattern.StepSpelledOut(start, "other")));
  const auto current = pattern.StepSpelledOut(start, "current");
  EXPECT_FALSE(PathPattern::IsOver(current));
  EXPECT_TRUE(pattern.Matches(pattern.StepSpelledOut(current, "a.bin")));
  // Below a match nothing is spelled out any more.
  const auto below = pattern.StepSpelledOut(current, "a.bin");
  EXPECT_TRUE(PathPattern::IsOver(pattern.StepSpelledOut(below, "x")));
}

TEST(PathPatternTest, RefusesPatternsWithoutEnd) {
  std::string deep;
  for (int i = 0; i < 63; ++i) deep += "/a";
  EXPECT_TRUE(Matches(deep, deep + "/b"));
  EXPECT_FALSE(PathPattern::Parse(deep + "/a").has_value());
}

// What a pattern means, as simply as it can be written.
bool ModelName(const std::string& pattern, const std::string& name) {
  if (pattern.empty()) return name.empty();
  if (pattern[0] == '*') {
    for (std::size_t i = 0; i <= name.size(); ++i) {
      if (ModelName(pattern.substr(1), name.substr(i))) return true;
    }
    return false;
  }
  if (name.empty()) return false;
  return (pattern[0] == '?' || pattern[0] == name[0]) &&
         ModelName(pattern.substr(1), name.substr(1));
}

bool ModelPath(const std::vector<std::string>& pattern, std::size_t p,
               const std::vector<std::string>& path, std::size_t n) {
  if (p == pattern.size()) return true;  // a match, or below one
  if (pattern[p] == "**") {
    return ModelPath(pattern, p + 1, path, n) ||
           (n < path.size() && ModelPath(pattern, p, path, n + 1));
  }
  return n < path.size() && ModelName(pattern[p], path[n]) &&
         ModelPath(pattern, p + 1, path, n + 1);
}

TEST(PathPatternTest, AgreesWithTheModel) {
  std::mt19937 random(20261126);
  const auto text = [&](std::string_view alphabet, std::size_t most) {
    std::string made;
    for (std::size_t left = random() % (most + 1); left > 0; --left) {
      made += alphabet[random() % alphabet.size()];
    }
    return made;
  };
  int matched = 0;
  for (int round = 0; round < 50'000; ++round) {
    const std::string pattern = text("ab*?/*/", 9);
    const std::string path = text("aab//", 8);
    const bool expected = ModelPath(CleanComponents(pattern), 0, CleanComponents(path), 0);
    ASSERT_EQ(Matches(pattern, path), expected) << pattern << " and " << path;
    matched += expected ? 1 : 0;
  }
  EXPECT_GT(matched, 5'000);
}

// Whatever bytes come, it ends, and a plain name matches itself.
TEST(PathPatternTest, SurvivesAnyBytes) {
  std::mt19937 random(4711);
  const auto bytes = [&](std::string_view favoured) {
    std::string made;
    for (std::size_t left = random() % 24; left > 0; --left) {
      made += random() % 2 == 0 ? favoured[random() % favoured.size()]
                                : static_cast<char>(random() % 256);
    }
    return made;
  };
  for (int round = 0; round < 100'000; ++round) {
    const std::string pattern = bytes("[]!^-*?/\xC3\xE2");
    const std::string name = bytes("[]-ab\xA9\xC3");
    (void)MatchesName(pattern, name);
    if (IsPlainName(name)) {
      EXPECT_TRUE(MatchesName(name, name));
    }
    const auto parsed = PathPattern::Parse(pattern);
    ASSERT_TRUE(parsed);
    const auto state = After(*parsed, name);
    (void)parsed->OnlyNames(state);
    EXPECT_EQ(parsed->StepSpelledOut(state, name) & ~parsed->Step(state, name), 0U);
  }
}

}  // namespace
}  // namespace sluice
