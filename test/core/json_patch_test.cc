#include "sluice/core/json_patch.h"

#include <random>

#include <gtest/gtest.h>

namespace sluice {
namespace {

TEST(JsonPatchTest, SaysNothingAboutEqualDocuments) {
  const Json document = Json::parse(R"({"a": [1, {"name": "x"}], "b": null})");
  EXPECT_EQ(DiffJson(document, document), Json::array());
}

TEST(JsonPatchTest, AddsAPrependedContainerInOneOperation) {
  const Json from = Json::parse(R"({"containers": [{"name": "app", "image": "i"}]})");
  const Json to = Json::parse(
      R"({"containers": [{"name": "side"}, {"name": "app", "image": "i", "tty": true}]})");
  EXPECT_EQ(DiffJson(from, to), Json::parse(R"([
      {"op": "add", "path": "/containers/0", "value": {"name": "side"}},
      {"op": "add", "path": "/containers/1/tty", "value": true}])"));
}

TEST(JsonPatchTest, TellsMountsOfOneVolumeApart) {
  const Json from = Json::parse(R"([{"name": "v", "mountPath": "/a"},
                                    {"name": "v", "mountPath": "/b"}])");
  Json to = from;
  to[1]["readOnly"] = true;
  EXPECT_EQ(DiffJson(from, to),
            Json::parse(R"([{"op": "add", "path": "/1/readOnly", "value": true}])"));
}

TEST(JsonPatchTest, EscapesKeys) {
  EXPECT_EQ(DiffJson(Json::object(), Json::parse(R"({"a/b~c": 1})")),
            Json::parse(R"([{"op": "add", "path": "/a~1b~0c", "value": 1}])"));
}

TEST(JsonPatchTest, AddsOverNull) {
  EXPECT_EQ(DiffJson(Json::parse(R"({"a": null})"), Json::parse(R"({"a": {}})"))[0]["op"], "add");
}

Json RandomJson(std::mt19937& random, int depth) {
  const auto kind = random() % (depth > 0 ? 7 : 5);
  switch (kind) {
    case 0:
      return nullptr;
    case 1:
      return random() % 2 == 0;
    case 2:
      return random() % 3;
    case 3:
      return std::string(random() % 3, 'x') + "/~";
    case 4:
      return Json::object({{"name", std::string(1, static_cast<char>('a' + random() % 4))}});
    case 5: {
      Json list = Json::array();
      for (unsigned i = 0; i < random() % 4; ++i) list.push_back(RandomJson(random, depth - 1));
      return list;
    }
    default: {
      Json object = Json::object();
      const std::vector<std::string> keys{"name", "mountPath", "a/b", "~", "x"};
      for (unsigned i = 0; i < random() % 5; ++i) {
        object[keys[random() % keys.size()]] = RandomJson(random, depth - 1);
      }
      return object;
    }
  }
}

// A neighbour of the document, as a mutation makes it.
void Mutate(Json& document, std::mt19937& random) {
  if (document.is_array() && random() % 2 == 0) {
    auto& items = document.get_ref<Json::array_t&>();
    const auto at = items.begin() + static_cast<std::ptrdiff_t>(random() % (items.size() + 1));
    if (random() % 3 == 0 && at != items.end()) {
      items.erase(at);
    } else {
      items.insert(at, RandomJson(random, 1));
    }
    return;
  }
  if (!document.is_structured() || document.empty() || random() % 6 == 0) {
    document = RandomJson(random, 2);
    return;
  }
  auto child = document.begin();
  std::advance(child, random() % document.size());
  Mutate(*child, random);
}

TEST(JsonPatchTest, GivesTheWantedDocumentWhenApplied) {
  std::mt19937 random(1);
  for (int i = 0; i < 20000; ++i) {
    const Json from = RandomJson(random, 4);
    Json to = from;
    if (i % 4 == 0) {
      to = RandomJson(random, 4);
    } else {
      for (unsigned n = 0; n <= random() % 4; ++n) Mutate(to, random);
    }
    const Json patch = DiffJson(from, to);
    ASSERT_EQ(from.patch(patch), to) << from << "\n" << to << "\n" << patch;
    ASSERT_EQ(patch.empty(), from == to);
  }
}

}  // namespace
}  // namespace sluice
