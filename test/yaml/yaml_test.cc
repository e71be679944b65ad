#include "sluice/yaml/yaml.h"

#include <algorithm>

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace sluice::yaml {
namespace {

TEST(YamlTest, ReadsScalarsAsKubernetesDoes) {
  auto json = Parse(
      "{a: 1, b: '1', c: true, d: \"true\", e: ~, f: 1.5, g: text, h: [x, 2], i: 0644, j: yes,\n"
      " k: 'no', l: 0x1f, m: -7, n: 18446744073709551615, o: 08, p: 1.2.3, q: 12:30:45,\n"
      " r: y, s: 'y', t: +8, u: 1_000, v: 0b11, w: 0X1F, x: -0x1F, z: .5}");
  ASSERT_TRUE(json) << json.error().message;
  EXPECT_EQ(*json, Json::parse(R"({"a": 1, "b": "1", "c": true, "d": "true", "e": null, "f": 1.5,
                                   "g": "text", "h": ["x", 2], "i": 420, "j": true, "k": "no",
                                   "l": 31, "m": -7, "n": 18446744073709551615, "o": 8.0, "r": true, "s": "y", "t": 8, "u": 1000, "v": 3, "w": 31, "x": -31,
                                   "z": 0.5,
                                   "p": "1.2.3", "q": "12:30:45"})"));
}

TEST(YamlTest, Merges) {
  auto json = Parse("base: &b {x: 1, y: 2}\nnew: {<<: *b, y: 3}\nboth: {<<: [*b, {z: 4}]}\n");
  ASSERT_TRUE(json);
  EXPECT_EQ((*json)["new"], Json::parse(R"({"x": 1, "y": 3})"));
  EXPECT_EQ((*json)["both"], Json::parse(R"({"x": 1, "y": 2, "z": 4})"));
}

TEST(YamlTest, BoundsDepthAndAliases) {
  EXPECT_FALSE(Parse(std::string(200, '[') + std::string(200, ']')));
  std::string bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 9; ++i) {
    const std::string before = "*a" + std::to_string(i - 1);
    bomb += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [";
    for (int j = 0; j < 10; ++j) bomb += before + (j < 9 ? ", " : "]\n");
  }
  EXPECT_FALSE(Parse(bomb));
  // Deep by its aliases alone.
  std::string deep = "a0: &a0 [x]\n";
  for (int i = 1; i < 70; ++i) {
    deep += fmt::format("a{}: &a{} [*a{}]\n", i, i, i - 1);
  }
  EXPECT_FALSE(Parse(deep));
}

TEST(YamlTest, SaysWhereAndWhyItRefuses) {
  struct Case {
    const char* text;
    const char* message;
  };
  for (const auto& [text, message] : {
           Case{",", "YAML: line 1, column 1: neither a document nor the end of one"},
           Case{"a: 1\n---\n,", "YAML: line 3, column 1: neither a document nor the end of one"},
           Case{"a: &x [1, *x]", "YAML: line 1, column 11: an alias within what it stands for"},
           Case{"a:\n  [b]: 1", "YAML: line 2, column 3: a key that is no scalar"},
       }) {
    auto json = Parse(text);
    ASSERT_FALSE(json) << text << json->dump();
    EXPECT_EQ(json.error().message, message) << text;
  }
}

TEST(YamlTest, TakesAnAliasForItsText) {
  auto json = Parse("a: &x 0x10\nb: *x\n*x : &y {c: [d]}\ne: *y\n");
  ASSERT_TRUE(json) << json.error().message;
  EXPECT_EQ(*json, Json::parse(R"({"a": 16, "b": 16, "0x10": {"c": ["d"]}, "e": {"c": ["d"]}})"));
}

TEST(YamlTest, SplitsAStreamAndKeepsItsText) {
  const std::string text =
      "# head\na: 1\n---\nb: |\n  ---x\n--- {c: 3}\n--- # nothing\n---\nd: 4\n...\ne: 5\n";
  auto documents = Split(text);
  ASSERT_TRUE(documents) << documents.error().message;
  std::string again;
  Json values = Json::array();
  for (const Document& document : *documents) {
    again += document.mark + document.text;
    values.push_back(document.value);
  }
  EXPECT_EQ(again, text);
  EXPECT_EQ(values,
            Json::parse(R"([{"a": 1}, {"b": "---x\n"}, {"c": 3}, null, {"d": 4}, {"e": 5}])"));
  EXPECT_EQ((*documents)[0].text, "# head\na: 1\n");
  EXPECT_EQ(Split("---\na: 1\n")->size(), 1U);
  EXPECT_EQ(Split("")->size(), 1U);
}

// Quotes that readers of YAML 1.1 need, though we would read the same without them.
TEST(YamlTest, QuotesWhatOthersTakeForSomethingElse) {
  for (const char* text : {"y", "N", "+8", "1_000", "0b11", "0X1F", "-0x1F", "+.5", ".inf", ".nan",
                           "1.2.3", "2001-01-01", "12:30:45", "=", "-"}) {
    EXPECT_EQ(Format(text), "\"" + std::string(text) + "\"\n");
  }
  EXPECT_EQ(Format("a-1"), "a-1\n");
}

TEST(YamlTest, EscapesWhatOthersRefuse) {
  EXPECT_EQ(Format("a\x1b[31mx\nline\n"), "\"a\\x1b[31mx\\nline\\n\"\n");
  for (const char* text : {"a\xc2\x85z\nb\n", "a\xe2\x80\xa8z",
                           "\xef\xbb\xbf"
                           "a",
                           "a\x7fz\nb\n"}) {
    const std::string formatted = Format(text);
    EXPECT_TRUE(std::all_of(formatted.begin(), formatted.end(), [](char c) {
      return (c >= ' ' && c < '\x7f') || c == '\n';
    })) << formatted;
    EXPECT_EQ(*Parse(formatted), Json(text));
  }
}

TEST(YamlTest, ErrorsCountLinesFromTheStart) {
  auto documents = Split("a: 1\n---\nb: [\n");
  ASSERT_FALSE(documents);
  EXPECT_NE(documents.error().message.find("line 4"), std::string::npos)
      << documents.error().message;
}

TEST(YamlTest, RefusesBytesThatAreNoText) {
  for (const char* text : {"\xff", "\x80", "\xc0\x80", "\xc3", "\xe0\x80\x80", "\xed\xa0\x80",
                           "\xf4\x90\x80\x80", "\xf0\x80\x80\x80", "\xe2\x82", "\xfe\xff\x00"}) {
    auto json = Parse(std::string("a: 1\nb: ") + text);
    ASSERT_FALSE(json) << json->dump(-1, ' ', false, Json::error_handler_t::replace);
    EXPECT_NE(json.error().message.find("line 2: bytes that are not UTF-8"), std::string::npos)
        << json.error().message;
  }
  for (const char* text : {"\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf", "\xef\xbf\xbd",
                           "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"}) {
    auto json = Parse(std::string("'") + text + "'");
    ASSERT_TRUE(json) << json.error().message;
    EXPECT_EQ(*json, text);
  }
}

TEST(YamlTest, ReadsEscapes) {
  auto json = Parse(R"("\N\_\x85\xA0\xe9\L\P\u00e9\U0001F600\0\e\_\_")");
  ASSERT_TRUE(json) << json.error().message;
  EXPECT_EQ(
      json->dump(-1, ' ', true),
      R"("\u0085\u00a0\u0085\u00a0\u00e9\u2028\u2029\u00e9\ud83d\ude00\u0000\u001b\u00a0\u00a0")");
  for (const char* text : {R"("\uD800")", R"("\uDFFF")", R"("\U00110000")"}) {
    EXPECT_FALSE(Parse(text)) << text;
  }
}

TEST(YamlTest, RefusesOtherEncodings) {
  using std::string_literals::operator""s;
  for (const std::string& text :
       {"a\0:\0 \0b\0"s, "a\0\0\0\0\xd8\0\0"s, "\0a\0:\0 \0b"s, "a: b\0c"s}) {
    auto json = Parse(text);
    ASSERT_FALSE(json) << json->dump(-1, ' ', false, Json::error_handler_t::replace);
    EXPECT_NE(json.error().message.find("not UTF-8"), std::string::npos) << json.error().message;
  }
  EXPECT_EQ(Parse("\"a\\0\"").value(), "a\0"s);
}

TEST(YamlTest, LongKeysReadBack) {
  const std::string lines = "first\n" + std::string(1500, 'l') + "\n";
  for (const std::string& key :
       {std::string(129, 'k'), std::string(3000, 'k'), std::string(400, '\x01'), lines,
        std::string(700, '0'), " " + std::string(1200, 'k') + ": #"}) {
    for (const Json& value :
         {Json("v"), Json(), Json("a\nb\n"), Json::array({1, "x"}), Json::object(), Json::array(),
          Json::object({{"k", Json::object({{key, 1}})}})}) {
      const Json document = Json::object(
          {{"a", 1}, {key, value}, {"z", Json::array({Json::object({{key, value}})})}});
      const std::string text = Format(document);
      const auto back = Parse(text);
      ASSERT_TRUE(back) << back.error().message << text;
      EXPECT_EQ(*back, document) << text;
    }
  }
}

TEST(YamlTest, WhatIsFormattedReadsBack) {
  const Json values = {"text",
                       "",
                       " ",
                       "1",
                       "1.5",
                       "0644",
                       "0x10",
                       "true",
                       "no",
                       "On",
                       "~",
                       "null",
                       "- a",
                       "a: b",
                       "#c",
                       "'q'",
                       "\"",
                       "a\nb",
                       "a\nb\n",
                       "\n",
                       "a\n\n",
                       "\na",
                       "a \nb",
                       "  a\nb",
                       "\t",
                       "a\tb",
                       "&x",
                       "*x",
                       "!t",
                       "|",
                       ">",
                       "%d",
                       "@a",
                       "`",
                       "{a}",
                       "[a]",
                       "a,b",
                       "é\xF0\x9F\x98\x80",
                       "=",
                       "<<",
                       "---",
                       "...",
                       nullptr,
                       true,
                       false,
                       0,
                       -1,
                       1.5,
                       1e300,
                       18446744073709551615U,
                       Json::array(),
                       Json::object()};
  for (const Json& value : values) {
    for (const Json& document :
         {value, Json{{"k", value}}, Json::array({value}), Json{{"a", {{"b", {value, value}}}}}}) {
      const std::string text = Format(document);
      auto back = Parse(text);
      ASSERT_TRUE(back) << text << back.error().message;
      EXPECT_EQ(*back, document) << text;
    }
    if (value.is_string()) {
      const Json keyed = {{value.get<std::string>(), 1}};
      auto back = Parse(Format(keyed));
      ASSERT_TRUE(back) << Format(keyed) << back.error().message;
      EXPECT_EQ(*back, keyed) << Format(keyed);
    }
  }
}

}  // namespace
}  // namespace sluice::yaml
