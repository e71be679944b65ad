#include "sluice/core/fuse_config.h"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sluice {
namespace {

using ::testing::HasSubstr;

const char* const kWhole = R"({
  "mounts": [
    {"mountPoint": "s3://models/llama", "name": "m", "path": "/weights",
     "options": {"endpoint": "http://minio:9000"},
     "secretFiles": {"aws.accessKeyId": "/etc/fluid/secrets/s/id"}, "readOnly": true},
    {"mountPoint": "file:///data/", "name": "local", "readOnly": false}],
  "targetPath": "/runtime-mnt/sluice/ns/name/sluice-fuse",
  "accessModes": ["ReadOnlyMany"],
  "cache": {"dir": "/cache", "quotaBytes": 1073741824, "memoryBudgetBytes": 268435456,
            "pinned": ["base", "**/tokenizer.json"]},
  "pool": {"membersFile": "/etc/fluid/config/workers.json", "credentialsFile": "/secret/pool",
           "tlsDirectory": "/secret/tls", "tlsDomain": "workers.ns.svc", "keyFile": "/secret/key"},
  "owner": {"uid": 1000, "gid": 2000}, "fileMode": "0440", "directoryMode": "550",
  "dataset": {"namespace": "ns", "name": "name", "uid": "u-1"},
  "runtimeOptions": {"unknown": "is ignored"}})";

TEST(FuseConfigTest, ReadsEveryField) {
  const auto config = ParseFuseConfig(Json::parse(kWhole));
  ASSERT_TRUE(config) << config.error().message;
  ASSERT_EQ(config->mounts.size(), 2U);
  EXPECT_EQ(config->mounts[0].mount_point, "s3://models/llama");
  EXPECT_EQ(config->mounts[0].path, "/weights");
  EXPECT_EQ(config->mounts[0].options.at("endpoint"), "http://minio:9000");
  EXPECT_EQ(config->mounts[0].secret_files.at("aws.accessKeyId"), "/etc/fluid/secrets/s/id");
  EXPECT_TRUE(config->mounts[0].read_only);
  EXPECT_EQ(config->mounts[1].path, "/local") << "the effective path is filled in";
  EXPECT_FALSE(config->mounts[1].read_only);
  EXPECT_EQ(config->target_path, "/runtime-mnt/sluice/ns/name/sluice-fuse");
  EXPECT_EQ(config->access_modes, std::vector<std::string>{"ReadOnlyMany"});
  EXPECT_EQ(config->cache.directory, "/cache");
  EXPECT_EQ(config->cache.quota_bytes, 1U << 30);
  EXPECT_EQ(config->cache.memory_budget_bytes, 256U << 20);
  EXPECT_EQ(config->cache.pinned, (std::vector<std::string>{"base", "**/tokenizer.json"}));
  EXPECT_EQ(config->pool.members_file, "/etc/fluid/config/workers.json");
  EXPECT_EQ(config->pool.credentials_file, "/secret/pool");
  EXPECT_EQ(config->pool.tls_directory, "/secret/tls");
  EXPECT_EQ(config->pool.tls_domain, "workers.ns.svc");
  EXPECT_EQ(config->pool.key_file, "/secret/key");
  EXPECT_EQ(config->appearance.uid, 1000);
  EXPECT_EQ(config->appearance.gid, 2000);
  EXPECT_EQ(config->appearance.file_mode, 0440);
  EXPECT_EQ(config->appearance.directory_mode, 0550);
  EXPECT_EQ(config->dataset_namespace, "ns");
  EXPECT_EQ(config->dataset_name, "name");
  EXPECT_EQ(config->dataset_uid, "u-1");
}

TEST(FuseConfigTest, ReadsBackWhatItRendered) {
  const auto config = ParseFuseConfig(Json::parse(kWhole));
  ASSERT_TRUE(config);
  const Json rendered = RenderFuseConfig(*config);
  const auto again = ParseFuseConfig(rendered);
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(RenderFuseConfig(*again), rendered);
}

TEST(FuseConfigTest, OneMountWithDefaultsIsEnough) {
  const auto config = ParseFuseConfig(Json::parse(R"({"mounts":[{"mountPoint":"s3://bkt"}]})"));
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->mounts[0].path, "/");
  EXPECT_EQ(config->cache.directory, "");
  EXPECT_EQ(config->cache.memory_budget_bytes, 256U << 20);
  EXPECT_EQ(config->appearance.uid, 0);
  EXPECT_EQ(config->appearance.file_mode, 0444);
  EXPECT_EQ(config->appearance.directory_mode, 0555);
}

struct BadConfig {
  std::string name;
  std::string json;
  std::string message;
};
void PrintTo(const BadConfig& c, std::ostream* out) { *out << c.name; }

class FuseConfigRefusalTest : public ::testing::TestWithParam<BadConfig> {};

TEST_P(FuseConfigRefusalTest, NamesTheField) {
  const auto config = ParseFuseConfig(Json::parse(GetParam().json));
  ASSERT_FALSE(config);
  EXPECT_EQ(config.error().code, Code::kInvalidArgument);
  EXPECT_THAT(config.error().message, HasSubstr(GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(
    Table, FuseConfigRefusalTest,
    ::testing::Values(
        BadConfig{"NoObject", "[]", "must be a JSON object"},
        BadConfig{"NoMounts", "{}", "mounts: must be a list"},
        BadConfig{"PinOfEverything",
                  R"({"mounts":[{"mountPoint":"s3://bkt"}],"cache":{"pinned":["a/.."]}})",
                  "cache.pinned: \"a/..\" means the whole dataset"},
        BadConfig{"PinIsNoText", R"({"mounts":[{"mountPoint":"s3://bkt"}],"cache":{"pinned":[1]}})",
                  "cache.pinned: must be a list of paths"},
        BadConfig{"EmptyMounts", R"({"mounts":[]})", "mounts: must have at least one mount"},
        BadConfig{"MountIsString", R"({"mounts":["s3://bkt"]})", "mounts[0]: must be an object"},
        BadConfig{"PointIsNumber", R"({"mounts":[{"mountPoint":1}]})",
                  "mounts[0].mountPoint: must be a string"},
        BadConfig{"OptionIsNumber",
                  R"({"mounts":[{"mountPoint":"s3://bkt","options":{"region":1}}]})",
                  "mounts[0].options[\"region\"]: must be a string"},
        BadConfig{"SecretsAreList", R"({"mounts":[{"mountPoint":"s3://bkt","secretFiles":[]}]})",
                  "mounts[0].secretFiles: must be an object"},
        BadConfig{"ReadOnlyIsString", R"({"mounts":[{"mountPoint":"s3://bkt","readOnly":"no"}]})",
                  "mounts[0].readOnly: must be true or false"},
        BadConfig{"UnknownScheme", R"({"mounts":[{"mountPoint":"hdfs://nn/d"}]})",
                  "mounts[0].mountPoint: scheme \"hdfs\" is not known"},
        BadConfig{"SamePath", R"({"mounts":[{"mountPoint":"s3://one"},{"mountPoint":"s3://two"}]})",
                  "mounts[1]: appears at \"/\" like mounts[0]"},
        BadConfig{"Nested",
                  R"({"mounts":[{"mountPoint":"s3://one","path":"/a/b"},
                                {"mountPoint":"s3://two","path":"/a"}]})",
                  "lie inside one another"},
        BadConfig{"NegativeQuota",
                  R"({"mounts":[{"mountPoint":"s3://bkt"}],"cache":{"quotaBytes":-1}})",
                  "cache.quotaBytes: must be a whole number"},
        BadConfig{"NoBudget",
                  R"({"mounts":[{"mountPoint":"s3://bkt"}],"cache":{"memoryBudgetBytes":0}})",
                  "cache.memoryBudgetBytes: must be more than 0"},
        BadConfig{"RelativePool",
                  R"({"mounts":[{"mountPoint":"s3://bkt"}],"pool":{"membersFile":"w.json"}})",
                  "pool.membersFile: must be an absolute path"},
        BadConfig{"OwnerIsNobodyAtAll",
                  R"({"mounts":[{"mountPoint":"s3://bkt"}],"owner":{"uid":4294967295}})",
                  "owner.uid: must be a whole number from 0 to 4294967294"},
        BadConfig{"ModeIsNumber", R"({"mounts":[{"mountPoint":"s3://bkt"}],"fileMode":444})",
                  "fileMode: must be octal permission bits such as 0440"},
        BadConfig{"RelativeCache", R"({"mounts":[{"mountPoint":"s3://bkt"}],"cache":{"dir":"c"}})",
                  "cache.dir: must be an absolute path"},
        BadConfig{"RelativeTarget", R"({"mounts":[{"mountPoint":"s3://bkt"}],"targetPath":"t"})",
                  "targetPath: must be an absolute path"},
        BadConfig{"ModesAreString",
                  R"({"mounts":[{"mountPoint":"s3://bkt"}],"accessModes":"ReadOnlyMany"})",
                  "accessModes: must be a list"},
        BadConfig{"DatasetIsString", R"({"mounts":[{"mountPoint":"s3://bkt"}],"dataset":"d"})",
                  "dataset: must be an object"}),
    [](const auto& row) { return row.param.name; });

struct MountCase {
  std::string name;
  MountConfig mount;
  std::string message;  // empty: valid
};
void PrintTo(const MountCase& c, std::ostream* out) { *out << c.name; }

class ValidateMountTest : public ::testing::TestWithParam<MountCase> {};

TEST_P(ValidateMountTest, AcceptsOrSaysWhy) {
  const Status status = ValidateMount(GetParam().mount, "spec.mounts[0]");
  if (GetParam().message.empty()) {
    EXPECT_TRUE(status) << status.error().message;
    return;
  }
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, Code::kInvalidArgument);
  EXPECT_THAT(status.error().message, HasSubstr("spec.mounts[0]."));
  EXPECT_THAT(status.error().message, HasSubstr(GetParam().message));
  EXPECT_THAT(status.error().message, ::testing::Not(HasSubstr("hunter2")));
}

MountConfig At(std::string point, std::string name = "", std::string path = "") {
  MountConfig mount;
  mount.mount_point = std::move(point);
  mount.name = std::move(name);
  mount.path = std::move(path);
  return mount;
}

INSTANTIATE_TEST_SUITE_P(
    Table, ValidateMountTest,
    ::testing::Values(
        MountCase{"S3", At("s3://bucket/prefix/"), ""}, MountCase{"S3Root", At("s3://bucket"), ""},
        MountCase{"Oss", At("oss://bucket/a b/ü"), ""},
        MountCase{"Cos", At("cos://bucket-125"), ""}, MountCase{"Obs", At("obs://bucket"), ""},
        MountCase{"Minio", At("minio://bucket"), ""}, MountCase{"File", At("file:///data"), ""},
        MountCase{"FileRoot", At("file:///"), ""}, MountCase{"Local", At("local:///mnt/data/"), ""},
        MountCase{"Pvc", At("pvc://claim/sub/dir"), ""},
        MountCase{"Https", At("https://mirrors.example.org/apache/hbase/stable/"), ""},
        MountCase{"HttpWithPort", At("http://[::1]:8080"), ""},
        MountCase{"HttpEncoded", At("http://h/a%20b/ü"), ""},
        MountCase{"Hub", At("hf://org/name@v1.0/dir/"), ""},
        MountCase{"HubDataset", At("hf://datasets/org/name@refs/convert/parquet/a"), ""},
        MountCase{"WebNoHost", At("https:///x"), "no host or a malformed one"},
        MountCase{"WebBadPort", At("https://h:x/"), "no host or a malformed one"},
        MountCase{"WebCredentials", At("https://me:hunter2@h/x"), "must not carry credentials"},
        MountCase{"WebQuery", At("https://h/x?token=hunter2"), "must not have a query"},
        MountCase{"WebBlank", At("https://h/a b"), "percent-encode them"},
        MountCase{"WebDotDot", At("https://h/a/../b"), "must not contain \"..\""},
        MountCase{"WebEncodedDotDot", At("https://h/%2e%2E/b"), "must not encode"},
        MountCase{"WebHalfEscape", At("https://h/a%2"), "two hexadecimal digits"},
        MountCase{"HubNoName", At("hf://name"), "the repository is missing or malformed"},
        MountCase{"HubCredentials", At("hf://me:hunter2@org/name"), "token in a Secret"},
        MountCase{"HubNoRevision", At("hf://org/name@/a"), "revision after '@' is missing"},
        MountCase{"HubDotDot", At("hf://org/name/.."), "must not contain \"..\""},
        MountCase{"NamedAndPlaced", At("s3://bucket", "n", "/a/b/"), ""},
        MountCase{"Empty", At(""), "must be a URI"},
        MountCase{"NoScheme", At("bucket/prefix"), "must be a URI"},
        MountCase{"BareScheme", At("://bucket"), "must be a URI"},
        MountCase{"Unknown", At("gopher://bucket"),
                  "scheme \"gopher\" is not known to the native runtime; known schemes: s3, oss"},
        MountCase{"NoBucket", At("s3:///prefix"), "the bucket is missing"},
        MountCase{"ShortBucket", At("s3://ab"), "3 to 63"},
        MountCase{"BucketWithPort", At("s3://bucket:9000/x"), "3 to 63"},
        MountCase{"BucketEndsWithDash", At("s3://bucket-"), "begin and end"},
        MountCase{"Credentials", At("s3://AKIA:hunter2@bucket/x"), "must not carry credentials"},
        MountCase{"DotDotInPrefix", At("s3://bucket/a/../b"), "must not contain \"..\""},
        MountCase{"DotInPrefix", At("s3://bucket/./b"), "must not contain \".\""},
        MountCase{"DoubleSlash", At("s3://bucket//b"), "empty component"},
        MountCase{"RelativeFile", At("file://data"), "absolute directory"},
        MountCase{"DotDotInFile", At("file:///data/.."), "must not contain \"..\""},
        MountCase{"NoClaim", At("pvc:///sub"), "claim is missing"},
        MountCase{"ClaimWithCapitals", At("pvc://Claim"), "claim is missing or malformed"},
        MountCase{"RelativePath", At("s3://bucket", "n", "a"), ".path: must be absolute"},
        MountCase{"DotDotInPath", At("s3://bucket", "n", "/a/../b"), ".path: must not contain"},
        MountCase{"NameWithSlash", At("s3://bucket", "a/b"), ".name: must be without '/'"},
        MountCase{"NameIsDotDot", At("s3://bucket", ".."), ".name: must not contain"},
        MountCase{"LongComponent", At("s3://bucket/" + std::string(256, 'x')), "255 bytes"},
        MountCase{"Nul", At(std::string("s3://bucket/a\0b", 15)), "NUL"}),
    [](const auto& row) { return row.param.name; });

TEST(EffectivePathTest, PrefersThePathThenTheName) {
  EXPECT_EQ(EffectivePath(At("s3://b", "n", "/p/")), "/p");
  EXPECT_EQ(EffectivePath(At("s3://b", "n", "/")), "/");
  EXPECT_EQ(EffectivePath(At("s3://b", "n")), "/n");
  EXPECT_EQ(EffectivePath(At("s3://b")), "/");
}

}  // namespace
}  // namespace sluice
