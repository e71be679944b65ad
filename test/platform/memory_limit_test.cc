#include "sluice/platform/memory_limit.h"

#include <unistd.h>

#include <fstream>
#include <map>
#include <string>

#include <gtest/gtest.h>

namespace sluice::platform {
namespace {

struct Case {
  const char* name;
  std::map<std::string, std::string> files;
  std::optional<std::uint64_t> limit;
};
void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

class MemoryLimitTable : public ::testing::TestWithParam<Case> {};

TEST_P(MemoryLimitTable, IsTheSmallestThatCanBeSeen) {
  std::string pattern = (std::filesystem::temp_directory_path() / "sluice-limit-XXXXXX").string();
  const std::filesystem::path root = ::mkdtemp(pattern.data());
  for (const auto& [path, text] : GetParam().files) {
    std::filesystem::create_directories((root / path).parent_path());
    std::ofstream(root / path) << text;
  }
  EXPECT_EQ(MemoryLimit(root), GetParam().limit);
  std::filesystem::remove_all(root);
}

constexpr const char* kNothingV1 = "9223372036854771712\n";
constexpr const char* kGroups = "proc/self/cgroup";

INSTANTIATE_TEST_SUITE_P(
    Trees, MemoryLimitTable,
    ::testing::Values(
        Case{"NoControlGroups", {}, std::nullopt},
        Case{"V2Container", {{kGroups, "0::/\n"}, {"sys/fs/cgroup/memory.max", "1000\n"}}, 1000},
        Case{"V2WithoutLimit",
             {{kGroups, "0::/\n"}, {"sys/fs/cgroup/memory.max", "max\n"}},
             std::nullopt},
        Case{"V2LimitOfAParent",
             {{kGroups, "0::/a/b\n"},
              {"sys/fs/cgroup/a/b/memory.max", "3000\n"},
              {"sys/fs/cgroup/a/memory.max", "2000\n"}},
             2000},
        Case{"V2OtherGroupDoesNotCount",
             {{kGroups, "0::/a\n"},
              {"sys/fs/cgroup/a/memory.max", "3000\n"},
              {"sys/fs/cgroup/a/b/memory.max", "2000\n"}},
             3000},
        Case{"V1Host",
             {{kGroups, "5:devices:/x\n4:cpu,memory:/a/b\n0::/\n"},
              {"sys/fs/cgroup/memory/a/b/memory.limit_in_bytes", "5000\n"},
              {"sys/fs/cgroup/memory/a/memory.limit_in_bytes", kNothingV1}},
             5000},
        Case{"V1ContainerSeesItsOwnGroupAtTheRoot",
             {{kGroups, "4:memory:/kubepods/pod1/c1\n"},
              {"sys/fs/cgroup/memory/memory.limit_in_bytes", "402653184\n"}},
             402653184},
        Case{
            "V1WithoutLimit",
            {{kGroups, "4:memory:/\n"}, {"sys/fs/cgroup/memory/memory.limit_in_bytes", kNothingV1}},
            std::nullopt},
        Case{"Garbage", {{kGroups, "memory\n::\n0::/\n"}, {"sys/fs/cgroup/memory.max", "\n"}}, {}}),
    [](const auto& row) { return std::string(row.param.name); });

}  // namespace
}  // namespace sluice::platform
