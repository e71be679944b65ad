#include "sluice/core/s3_options.h"

#include <map>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sluice {
namespace {

using ::testing::HasSubstr;
using Options = std::map<std::string, std::string>;

struct GoodCase {
  std::string name;
  std::string mount_point;
  Options options;
  Options secret_files;
  // What comes out; credentials as "file:F", "value:V" or "".
  std::string endpoint;
  std::string region;
  bool path_style = false;
  std::string access_key_id{};
  std::string secret_access_key{};
};
void PrintTo(const GoodCase& c, std::ostream* out) { *out << c.name; }

std::string Show(const CredentialSource& source) {
  if (!source.Given()) return "";
  return source.file.empty() ? "value:" + source.value : "file:" + source.file;
}

class S3OptionsTest : public ::testing::TestWithParam<GoodCase> {};

TEST_P(S3OptionsTest, UnderstandsTheDialect) {
  const GoodCase& c = GetParam();
  MountConfig mount;
  mount.mount_point = c.mount_point;
  mount.options = c.options;
  mount.secret_files = c.secret_files;
  const auto options = ResolveS3Options(mount);
  ASSERT_TRUE(options) << options.error().message;
  EXPECT_EQ(options->endpoint, c.endpoint);
  EXPECT_EQ(options->region, c.region);
  EXPECT_EQ(options->path_style, c.path_style);
  EXPECT_EQ(Show(options->access_key_id), c.access_key_id);
  EXPECT_EQ(Show(options->secret_access_key), c.secret_access_key);
}

INSTANTIATE_TEST_SUITE_P(
    Table, S3OptionsTest,
    ::testing::Values(
        GoodCase{"PlainAws", "s3://bkt", {}, {}, "https://s3.us-east-1.amazonaws.com", "us-east-1"},
        GoodCase{"AwsRegion",
                 "s3://bkt",
                 {{"region", "eu-west-3"}},
                 {},
                 "https://s3.eu-west-3.amazonaws.com",
                 "eu-west-3"},
        GoodCase{"AwsChina",
                 "s3://bkt",
                 {{"region", "cn-north-1"}},
                 {},
                 "https://s3.cn-north-1.amazonaws.com.cn",
                 "cn-north-1"},
        GoodCase{"AwsDottedBucket",
                 "s3://my.bkt",
                 {},
                 {},
                 "https://s3.us-east-1.amazonaws.com",
                 "us-east-1",
                 true},
        GoodCase{"RegionFromAwsHost",
                 "s3://bkt",
                 {{"endpoint", "https://s3.ap-south-1.amazonaws.com"}},
                 {},
                 "https://s3.ap-south-1.amazonaws.com",
                 "ap-south-1"},
        GoodCase{"Plain",
                 "s3://bkt",
                 {{"endpoint", "http://127.0.0.1:9000"}, {"accessKeyId", "AK"}},
                 {{"secretAccessKey", "/s/k"}},
                 "http://127.0.0.1:9000",
                 "us-east-1",
                 true,
                 "value:AK",
                 "file:/s/k"},
        GoodCase{"PlainVirtualHost",
                 "s3://bkt",
                 {{"endpoint", "http://store:9000/"}, {"pathStyle", "false"}},
                 {},
                 "http://store:9000",
                 "us-east-1"},
        GoodCase{"Alluxio",
                 "s3://bkt",
                 {{"alluxio.underfs.s3.endpoint", "http://store:9000"},
                  {"alluxio.underfs.s3.endpoint.region", "r-1"},
                  {"alluxio.underfs.s3.inherit.acl", "false"}},
                 {{"aws.accessKeyId", "/s/id"}, {"aws.secretKey", "/s/key"}},
                 "http://store:9000",
                 "r-1",
                 true,
                 "file:/s/id",
                 "file:/s/key"},
        GoodCase{"AlluxioOtherRegionKey",
                 "s3://bkt",
                 {{"alluxio.underfs.s3.endpoint", "store"}, {"alluxio.underfs.s3.region", "r-2"}},
                 {},
                 "https://store",
                 "r-2",
                 true},
        GoodCase{"AlluxioPathStyle",
                 "s3://bkt",
                 {{"alluxio.underfs.s3.disable.dns.buckets", "true"}},
                 {},
                 "https://s3.us-east-1.amazonaws.com",
                 "us-east-1",
                 true},
        GoodCase{"JindoOss",
                 "oss://bkt",
                 {{"fs.oss.endpoint", "oss-cn-hangzhou.aliyuncs.com"}},
                 {{"fs.oss.accessKeyId", "/s/id"}, {"fs.oss.accessKeySecret", "/s/key"}},
                 "https://s3.oss-cn-hangzhou.aliyuncs.com",
                 "cn-hangzhou",
                 false,
                 "file:/s/id",
                 "file:/s/key"},
        GoodCase{"OssInternal",
                 "oss://bkt",
                 {{"fs.oss.endpoint", "http://oss-cn-beijing-internal.aliyuncs.com"}},
                 {},
                 "http://s3.oss-cn-beijing-internal.aliyuncs.com",
                 "cn-beijing"},
        GoodCase{"JindoS3",
                 "s3://bkt",
                 {{"fs.s3.endpoint", "http://store"},
                  {"fs.s3.region", "r-3"},
                  {"fs.s3.accessKeyId", "AK"},
                  {"fs.s3.accessKeySecret", "SK"}},
                 {},
                 "http://store",
                 "r-3",
                 true,
                 "value:AK",
                 "value:SK"},
        GoodCase{"JindoCos",
                 "cos://bkt-125",
                 {{"fs.cos.endpoint", "cos.ap-guangzhou.myqcloud.com"}},
                 {{"fs.cos.accessKeyId", "/s/id"}, {"fs.cos.accessKeySecret", "/s/key"}},
                 "https://cos.ap-guangzhou.myqcloud.com",
                 "ap-guangzhou",
                 false,
                 "file:/s/id",
                 "file:/s/key"},
        GoodCase{"JindoObsByRegion",
                 "obs://bkt",
                 {{"fs.obs.region", "cn-north-4"}},
                 {},
                 "https://obs.cn-north-4.myhuaweicloud.com",
                 "cn-north-4"},
        GoodCase{"JuiceFs",
                 "minio://bkt",
                 {{"endpoint", "http://minio:9000"}},
                 {{"access-key", "/s/id"}, {"secret-key", "/s/key"}},
                 "http://minio:9000",
                 "us-east-1",
                 true,
                 "file:/s/id",
                 "file:/s/key"},
        GoodCase{"OwnSchemeBeforeOthers",
                 "oss://bkt",
                 {{"fs.s3.endpoint", "http://wrong"},
                  {"fs.oss.endpoint", "http://right"},
                  {"aws.accessKeyId", "wrong"},
                  {"fs.oss.accessKeyId", "right"},
                  {"fs.oss.accessKeySecret", "SK"}},
                 {},
                 "http://right",
                 "us-east-1",
                 true,
                 "value:right",
                 "value:SK"},
        GoodCase{"OtherSchemeWhenAlone",
                 "s3://bkt",
                 {{"fs.oss.endpoint", "http://store"}},
                 {},
                 "http://store",
                 "us-east-1",
                 true},
        GoodCase{"Ipv6",
                 "s3://bkt",
                 {{"endpoint", "http://[::1]:9000"}},
                 {},
                 "http://[::1]:9000",
                 "us-east-1",
                 true}),
    [](const auto& row) { return row.param.name; });

TEST(S3OptionsTest, KeepsBucketPrefixTokenAndCertificates) {
  MountConfig mount;
  mount.mount_point = "s3://bkt/a/b";
  mount.options = {{"accessKeyId", "AK"}, {"secretAccessKey", "SK"}, {"caFile", "/etc/ca.pem"}};
  mount.secret_files = {{"sessionToken", "/s/token"}};
  const auto options = ResolveS3Options(mount);
  ASSERT_TRUE(options) << options.error().message;
  EXPECT_EQ(options->bucket, "bkt");
  EXPECT_EQ(options->prefix, "a/b/");
  EXPECT_EQ(options->ca_file, "/etc/ca.pem");
  EXPECT_EQ(Show(options->session_token), "file:/s/token");
  EXPECT_EQ(options->session_token.option, "sessionToken");
  EXPECT_EQ(options->identity, S3Identity::kKeys);
}

TEST(S3OptionsTest, CertificatesMayComeFromASecret) {
  MountConfig mount;
  mount.mount_point = "s3://bkt";
  mount.secret_files = {{"caFile", "/s/ca.crt"}};
  const auto options = ResolveS3Options(mount);
  ASSERT_TRUE(options) << options.error().message;
  EXPECT_EQ(options->ca_file, "/s/ca.crt");
  EXPECT_EQ(options->identity, S3Identity::kByEnvironment);
}

struct IdentityCase {
  std::string name;
  std::string mount_point;
  Options options;
  S3Identity identity;
};
void PrintTo(const IdentityCase& c, std::ostream* out) { *out << c.name; }

class S3IdentityTest : public ::testing::TestWithParam<IdentityCase> {};

TEST_P(S3IdentityTest, IsTheNamedOneOrFollowsFromTheKeys) {
  MountConfig mount;
  mount.mount_point = GetParam().mount_point;
  mount.options = GetParam().options;
  mount.options["endpoint"] = "http://store";
  const auto options = ResolveS3Options(mount);
  ASSERT_TRUE(options) << options.error().message;
  EXPECT_EQ(options->identity, GetParam().identity);
  EXPECT_TRUE(CheckMountOptions(mount));
}

INSTANTIATE_TEST_SUITE_P(
    Table, S3IdentityTest,
    ::testing::Values(
        IdentityCase{"NothingSaid", "s3://bkt", {}, S3Identity::kByEnvironment},
        IdentityCase{"NothingSaidOfMinio", "minio://bkt", {}, S3Identity::kByEnvironment},
        IdentityCase{"NothingSaidOfOss", "oss://bkt", {}, S3Identity::kAnonymous},
        IdentityCase{"Keys",
                     "s3://bkt",
                     {{"accessKeyId", "AK"}, {"secretAccessKey", "SK"}},
                     S3Identity::kKeys},
        IdentityCase{"NamedKeys",
                     "obs://bkt",
                     {{"accessKeyId", "AK"}, {"secretAccessKey", "SK"}, {"credentials", "keys"}},
                     S3Identity::kKeys},
        IdentityCase{
            "Anonymous", "cos://bkt", {{"credentials", "anonymous"}}, S3Identity::kAnonymous},
        IdentityCase{
            "WebIdentity", "s3://bkt", {{"credentials", "web-identity"}}, S3Identity::kWebIdentity},
        IdentityCase{
            "Container", "minio://bkt", {{"credentials", "container"}}, S3Identity::kContainer},
        IdentityCase{"Instance", "s3://bkt", {{"credentials", "instance"}}, S3Identity::kInstance}),
    [](const auto& row) { return row.param.name; });

TEST(S3OptionsTest, KeepsEndpointsOfTheIdentityAndWhoPays) {
  MountConfig mount;
  mount.mount_point = "s3://bkt";
  mount.options = {{"credentials", "web-identity"},
                   {"stsEndpoint", "sts.example/"},
                   {"metadataEndpoint", "http://127.0.0.1:1338"},
                   {"requesterPays", "true"}};
  const auto options = ResolveS3Options(mount);
  ASSERT_TRUE(options) << options.error().message;
  EXPECT_EQ(options->sts_endpoint, "https://sts.example");
  EXPECT_EQ(options->metadata_endpoint, "http://127.0.0.1:1338");
  EXPECT_TRUE(options->requester_pays);
}

struct BadCase {
  std::string name;
  std::string mount_point;
  Options options;
  Options secret_files;
  std::string message;
};
void PrintTo(const BadCase& c, std::ostream* out) { *out << c.name; }

class S3OptionsRefusalTest : public ::testing::TestWithParam<BadCase> {};

TEST_P(S3OptionsRefusalTest, NamesTheOptionAndNoValue) {
  MountConfig mount;
  mount.mount_point = GetParam().mount_point;
  mount.options = GetParam().options;
  mount.secret_files = GetParam().secret_files;
  const auto options = ResolveS3Options(mount);
  ASSERT_FALSE(options);
  EXPECT_EQ(options.error().code, Code::kInvalidArgument);
  EXPECT_THAT(options.error().message, HasSubstr(GetParam().message));
  EXPECT_THAT(options.error().message, ::testing::Not(HasSubstr("hunter2")));
}

INSTANTIATE_TEST_SUITE_P(
    Table, S3OptionsRefusalTest,
    ::testing::Values(
        BadCase{"Directory", "file:///d", {}, {}, "no object store"},
        BadCase{"UnknownScheme", "hdfs://x/y", {}, {}, "scheme \"hdfs\" is not known"},
        BadCase{"OssWithoutEndpoint", "oss://bkt", {}, {}, "\"fs.oss.endpoint\") is missing"},
        BadCase{"MinioWithoutEndpoint", "minio://bkt", {{"region", "r"}}, {}, "is missing"},
        BadCase{"UnknownIdentity",
                "s3://bkt",
                {{"credentials", "irsa"}},
                {},
                "option \"credentials\" must be one of keys, anonymous, web-identity, container, "
                "instance"},
        BadCase{"IdentityOfAwsForOss",
                "oss://bkt",
                {{"credentials", "web-identity"}, {"endpoint", "http://store"}},
                {},
                "option \"credentials\": \"web-identity\" is for s3:// and minio://; for oss:// "
                "write keys (with fs.oss.accessKeyId"},
        BadCase{"InstanceForCos",
                "cos://bkt",
                {{"credentials", "instance"}, {"region", "r"}},
                {},
                "\"instance\" is for s3:// and minio://"},
        BadCase{"KeysBesideAnIdentity",
                "s3://bkt",
                {{"credentials", "container"}, {"aws.accessKeyId", "hunter2"}},
                {{"aws.secretKey", "/s/key"}},
                "option \"aws.accessKeyId\" is given too"},
        BadCase{"KeysWithoutKeys",
                "s3://bkt",
                {{"credentials", "keys"}},
                {},
                "option \"credentials\" is \"keys\", but there are none"},
        BadCase{"IdentityFromASecret",
                "s3://bkt",
                {},
                {{"credentials", "/s/kind"}},
                "option \"credentials\" must be a plain option"},
        BadCase{"MalformedStsEndpoint",
                "s3://bkt",
                {{"stsEndpoint", "http://sts/path"}},
                {},
                "option \"stsEndpoint\": the endpoint must not have a path"},
        BadCase{"MalformedMetadataEndpoint",
                "s3://bkt",
                {{"metadataEndpoint", "ftp://x"}},
                {},
                "option \"metadataEndpoint\": the endpoint must be http or https"},
        BadCase{"WhoPaysMisspelled",
                "s3://bkt",
                {{"requesterPays", "requester"}},
                {},
                "option \"requesterPays\" must be true or false"},
        BadCase{"NobodyPays",
                "s3://bkt",
                {{"requesterPays", "true"}, {"credentials", "anonymous"}},
                {},
                "option \"requesterPays\" needs credentials"},
        BadCase{"OnlyId",
                "s3://bkt",
                {{"aws.accessKeyId", "hunter2"}},
                {},
                "\"aws.accessKeyId\" is given without secretAccessKey"},
        BadCase{"OnlySecret",
                "s3://bkt",
                {},
                {{"secret-key", "/s/k"}},
                "\"secret-key\" is given without accessKeyId"},
        BadCase{"OnlyToken", "s3://bkt", {{"token", "hunter2"}}, {}, "\"token\" is given without"},
        BadCase{"Twice",
                "s3://bkt",
                {{"accessKeyId", "hunter2"}},
                {{"accessKeyId", "/s/id"}},
                "\"accessKeyId\" is given twice"},
        BadCase{"EndpointInSecret",
                "s3://bkt",
                {},
                {{"endpoint", "/s/e"}},
                "\"endpoint\" must be a plain option"},
        BadCase{"EndpointScheme", "s3://bkt", {{"endpoint", "ftp://x"}}, {}, "http or https"},
        BadCase{"EndpointCredentials",
                "s3://bkt",
                {{"endpoint", "http://u:hunter2@x"}},
                {},
                "must not carry credentials"},
        BadCase{
            "EndpointPath", "s3://bkt", {{"endpoint", "http://x/y"}}, {}, "must not have a path"},
        BadCase{"EndpointPort", "s3://bkt", {{"endpoint", "http://x:70000"}}, {}, "malformed port"},
        BadCase{"EndpointNoHost", "s3://bkt", {{"endpoint", "http://:80"}}, {}, "no host name"},
        BadCase{
            "EndpointNewline", "s3://bkt", {{"endpoint", "http://x\r\nEvil: 1"}}, {}, "malformed"},
        BadCase{"PathStyle", "s3://bkt", {{"pathStyle", "yes"}}, {}, "must be true or false"}),
    [](const auto& row) { return row.param.name; });

}  // namespace
}  // namespace sluice
