#include "sluice/csi/volume_request.h"

#include <ostream>

#include <gtest/gtest.h>

namespace sluice::csi {
namespace {

RawVolume GoodVolume() {
  RawVolume raw;
  raw.volume_id = "team-a-model";
  raw.has_capability = true;
  raw.attributes = {{"fluid_path", "/runtime-mnt/sluice/team-a/model/sluice-fuse"},
                    {"mount_type", "fuse.sluice"},
                    {"runtime_namespace", "team-a"},
                    {"runtime_name", "model"},
                    {"mount_pod_node_selector_key", "fluid.io/f-team-a-model"}};
  return raw;
}

TEST(VolumeRequestTest, ReadsTheAttributesOfADataset) {
  const auto request = ParseVolume(GoodVolume(), {});
  ASSERT_TRUE(request) << request.error().message;
  EXPECT_EQ(request->source.key, "team-a-model");
  EXPECT_EQ(request->source.mount_point, "/runtime-mnt/sluice/team-a/model/sluice-fuse");
  EXPECT_TRUE(request->source.IsSluice());
  EXPECT_EQ(request->source.node_label, "fluid.io/f-team-a-model");
  EXPECT_EQ(request->method, PublishMethod::kBind);
  EXPECT_FALSE(request->read_only);
  EXPECT_FALSE(request->skip_check);
}

TEST(VolumeRequestTest, VolumesOfAReferenceDatasetShareTheMountOfTheirRuntime) {
  RawVolume reference = GoodVolume();
  reference.volume_id = "team-b-view";
  reference.attributes["fluid_sub_path"] = "/v1";
  const auto request = ParseVolume(reference, {});
  ASSERT_TRUE(request);
  EXPECT_EQ(request->source.key, "team-a-model");
  EXPECT_EQ(request->sub_path, "v1");
}

TEST(VolumeRequestTest, MountTypeDefaultsToAlluxio) {
  RawVolume raw = GoodVolume();
  raw.attributes.erase("mount_type");
  const auto request = ParseVolume(raw, {});
  ASSERT_TRUE(request);
  EXPECT_EQ(request->source.mount_type, "fuse.alluxio-fuse");
}

TEST(VolumeRequestTest, ReadOnlyComesFromAccessModeFlagOrMountOption) {
  RawVolume by_mode = GoodVolume();
  by_mode.reader_only = true;
  RawVolume by_flag = GoodVolume();
  by_flag.readonly_flag = true;
  RawVolume by_option = GoodVolume();
  by_option.mount_flags = {"noatime", "ro"};
  EXPECT_TRUE(ParseVolume(by_mode, {})->read_only);
  EXPECT_TRUE(ParseVolume(by_mode, {})->reader_only);
  EXPECT_TRUE(ParseVolume(by_flag, {})->read_only);
  EXPECT_FALSE(ParseVolume(by_flag, {})->reader_only);
  EXPECT_TRUE(ParseVolume(by_option, {})->read_only);
}

TEST(VolumeRequestTest, SymlinkMethodByAttributeOrDefault) {
  RawVolume raw = GoodVolume();
  EXPECT_EQ(ParseVolume(raw, {.default_method = PublishMethod::kSymlink})->method,
            PublishMethod::kSymlink);
  raw.attributes["node_publish_method"] = "symlink";
  EXPECT_EQ(ParseVolume(raw, {})->method, PublishMethod::kSymlink);
  raw.attributes["fluid_sub_path"] = "v1";
  EXPECT_EQ(ParseVolume(raw, {})->method, PublishMethod::kBind)
      << "a symlink inside the dataset must not be followed";
}

struct BadCase {
  const char* name;
  void (*spoil)(RawVolume&);
  const char* message;
};
void PrintTo(const BadCase& c, std::ostream* out) { *out << c.name; }

class BadVolumeTest : public testing::TestWithParam<BadCase> {};

TEST_P(BadVolumeTest, IsRefusedNamingWhatIsWrong) {
  RawVolume raw = GoodVolume();
  GetParam().spoil(raw);
  const auto request = ParseVolume(raw, {});
  ASSERT_FALSE(request);
  EXPECT_EQ(request.error().code, Code::kInvalidArgument);
  EXPECT_NE(request.error().message.find(GetParam().message), std::string::npos)
      << request.error().message;
}

INSTANTIATE_TEST_SUITE_P(
    Table, BadVolumeTest,
    testing::Values(
        BadCase{"NoId", [](RawVolume& r) { r.volume_id.clear(); }, "volume_id"},
        BadCase{"NoCapability", [](RawVolume& r) { r.has_capability = false; },
                "volume_capability"},
        BadCase{"Block", [](RawVolume& r) { r.block = true; }, "Block"},
        BadCase{"NoPath", [](RawVolume& r) { r.attributes.erase("fluid_path"); }, "fluid_path"},
        BadCase{"PathOutsideMountRoot",
                [](RawVolume& r) { r.attributes["fluid_path"] = "/etc/passwd"; },
                "must lie below /runtime-mnt"},
        BadCase{"PathOfAnotherRuntime",
                [](RawVolume& r) {
                  r.attributes["fluid_path"] = "/runtime-mnt/sluice/team-b/model/sluice-fuse";
                },
                "runtime team-a/model is /runtime-mnt/sluice/team-a/model/sluice-fuse"},
        BadCase{"PathClimbsOut",
                [](RawVolume& r) { r.attributes["fluid_path"] = "/runtime-mnt/../etc"; }, "\"..\""},
        BadCase{"SubPathClimbsOut",
                [](RawVolume& r) { r.attributes["fluid_sub_path"] = "../other"; },
                "fluid_sub_path"},
        BadCase{"ForeignLabel",
                [](RawVolume& r) {
                  r.attributes["mount_pod_node_selector_key"] = "node-role.kubernetes.io/master";
                },
                "mount_pod_node_selector_key"},
        BadCase{"LabelWithOddText",
                [](RawVolume& r) {
                  r.attributes["mount_pod_node_selector_key"] = "fluid.io/f-a\",\"x";
                },
                "mount_pod_node_selector_key"},
        BadCase{"LabelTooLong",
                [](RawVolume& r) {
                  r.attributes["mount_pod_node_selector_key"] =
                      "fluid.io/f-" + std::string(62, 'a');
                },
                "mount_pod_node_selector_key"},
        BadCase{"NoRuntime", [](RawVolume& r) { r.attributes.erase("runtime_name"); },
                "runtime_name"},
        BadCase{"UnknownMethod",
                [](RawVolume& r) { r.attributes["node_publish_method"] = "teleport"; },
                "node_publish_method"},
        BadCase{"UnknownSkip",
                [](RawVolume& r) {
                  r.attributes["fluid.io/skip-check-mount-ready-target"] = "Perhaps";
                },
                "skip-check-mount-ready-target"},
        BadCase{"Inline",
                [](RawVolume& r) { r.attributes["csi.storage.k8s.io/ephemeral"] = "true"; },
                "inline"}),
    [](const auto& test) { return std::string(test.param.name); });

TEST(VolumeIdTest, IsTheLowerCasedNameOrItsHash) {
  EXPECT_EQ(VolumeIdFor("Team-A-Model"), "team-a-model");
  EXPECT_EQ(VolumeIdFor(std::string(63, 'a')), std::string(63, 'a'));
  const std::string hashed = VolumeIdFor(std::string(64, 'A'));
  EXPECT_EQ(hashed, VolumeIdFor(std::string(64, 'a')));
  EXPECT_EQ(hashed, "0098ba824b5c16427bd7a1122a5a442a25ec644d");
}

}  // namespace
}  // namespace sluice::csi
