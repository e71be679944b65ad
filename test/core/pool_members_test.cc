#include "sluice/core/pool_members.h"

#include <gtest/gtest.h>

namespace sluice {
namespace {

TEST(PoolMembersTest, ReadsBackSortedByName) {
  const std::vector<PoolMember> members{{"w-0", "10.0.0.7:11211"}, {"w-1", "[fd00::1]:11211"}};
  EXPECT_EQ(*ParsePoolMembers(RenderPoolMembers({members[1], members[0]})), members);
  EXPECT_TRUE(ParsePoolMembers(RenderPoolMembers({}))->empty());
}

TEST(PoolMembersTest, RefusesByField) {
  struct Case {
    const char* document;
    const char* message;
  };
  for (const auto& [document, message] : {
           Case{"[]", "workers: must be a list"},
           Case{R"({"workers": {}})", "workers: must be a list"},
           Case{R"({"workers": [{"name": "a", "address": "h:1"}, 7]})", "workers[1].name"},
           Case{R"({"workers": [{"name": "a b", "address": "h:1"}]})", "workers[0].name"},
           Case{R"({"workers": [{"name": "a"}]})", "workers[0].address"},
           Case{R"({"workers": [{"name": "a", "address": "h"}]})", "workers[0].address"},
           Case{R"({"workers": [{"name": "a", "address": ":1"}]})", "workers[0].address"},
           Case{R"({"workers": [{"name": "a", "address": "h:0"}]})", "workers[0].address"},
           Case{R"({"workers": [{"name": "a", "address": "h:65536"}]})", "workers[0].address"},
           Case{R"({"workers": [{"name": "a", "address": "h:1x"}]})", "workers[0].address"},
           Case{R"({"workers": [{"name": "a", "address": "fd00::1:1"}]})", "workers[0].address"},
           Case{
               R"({"workers": [{"name": "a", "address": "h:1"}, {"name": "a", "address": "i:1"}]})",
               "a is there twice"},
       }) {
    const auto members = ParsePoolMembers(Json::parse(document));
    ASSERT_FALSE(members) << document;
    EXPECT_EQ(members.error().code, Code::kInvalidArgument);
    EXPECT_NE(members.error().message.find(message), std::string::npos) << members.error().message;
  }
}

}  // namespace
}  // namespace sluice
