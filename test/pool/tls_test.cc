#include "tls.h"

#include <filesystem>
#include <fstream>
#include <functional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tls_files.h"

namespace sluice::pool {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::Not;

struct BadFiles {
  const char* name;
  std::function<void(const fs::path&)> spoil;
  const char* message;
};
void PrintTo(const BadFiles& bad, std::ostream* out) { *out << bad.name; }
class TlsFilesTest : public testing::TestWithParam<BadFiles> {};

TEST_P(TlsFilesTest, AreRefusedByNameAndNeverShown) {
  static const test::TlsAuthority kAuthority;
  std::string pattern = testing::TempDir() + "tls-files-XXXXXX";
  ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
  const fs::path folder = pattern;
  kAuthority.WriteClient(folder);
  EXPECT_TRUE(MakeTls(folder, "w-0", -1));
  GetParam().spoil(folder);
  const auto tls = MakeTls(folder, "w-0", -1);
  ASSERT_FALSE(tls);
  EXPECT_EQ(tls.error().code, Code::kPermissionDenied);
  EXPECT_THAT(tls.error().message, HasSubstr(GetParam().message));
  EXPECT_THAT(tls.error().message, Not(HasSubstr("secret text")));
  fs::remove_all(folder);
}

void Write(const fs::path& file) { std::ofstream(file) << "secret text"; }

INSTANTIATE_TEST_SUITE_P(
    Table, TlsFilesTest,
    testing::Values(
        BadFiles{"NoAuthority", [](const fs::path& f) { fs::remove(f / "ca.crt"); }, "/ca.crt"},
        BadFiles{"NoCertificate", [](const fs::path& f) { fs::remove(f / "tls.crt"); }, "/tls.crt"},
        BadFiles{"NoKey", [](const fs::path& f) { fs::remove(f / "tls.key"); }, "/tls.key"},
        BadFiles{"AuthorityIsNoPem", [](const fs::path& f) { Write(f / "ca.crt"); },
                 "/ca.crt: no certificate in it"},
        BadFiles{"CertificateIsNoPem", [](const fs::path& f) { Write(f / "tls.crt"); },
                 "/tls.crt: no certificate in it"},
        BadFiles{"KeyIsNoPem", [](const fs::path& f) { Write(f / "tls.key"); },
                 "/tls.key: no key in it"},
        BadFiles{"KeyOfAnother",
                 [](const fs::path& f) {
                   fs::copy(f / "tls.crt", f / "kept");
                   test::TlsAuthority().WriteClient(f);
                   fs::rename(f / "kept", f / "tls.crt");
                 },
                 "do not belong together"}),
    [](const auto& row) { return std::string(row.param.name); });

}  // namespace
}  // namespace sluice::pool
