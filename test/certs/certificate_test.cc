#include "sluice/certs/certificate.h"

#include <gtest/gtest.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "sluice/certs/certificate_secret.h"

namespace sluice::certs {
namespace {

using std::chrono::days;

const WallTime kNow{std::chrono::seconds(1'800'000'000)};
const ServingNames& Names() {
  static const ServingNames kNames = ServiceNames("fluid-system");
  return kNames;
}

// Making keys takes a while, so the tests share them.
const Identity& Fresh() {
  static const Identity kIdentity = RenewIfNeeded({}, Names(), kNow)->identity;
  return kIdentity;
}
const KeyPair& OtherCa() {
  static const KeyPair kCa = *IssueCa("webhook-cert-ca", kNow);
  return kCa;
}

std::unique_ptr<X509, decltype(&X509_free)> Parse(const std::string& pem) {
  const std::unique_ptr<BIO, decltype(&BIO_free_all)> bio(
      BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())), BIO_free_all);
  return {PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr), X509_free};
}

// The same authority, whose certificate ends at another time.
KeyPair Ending(const KeyPair& ca, WallTime end) {
  const auto certificate = Parse(ca.certificate);
  const std::unique_ptr<BIO, decltype(&BIO_free_all)> key_text(
      BIO_new_mem_buf(ca.key.data(), static_cast<int>(ca.key.size())), BIO_free_all);
  const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key(
      PEM_read_bio_PrivateKey(key_text.get(), nullptr, nullptr, nullptr), EVP_PKEY_free);
  ASN1_TIME_set(X509_getm_notAfter(certificate.get()), std::chrono::system_clock::to_time_t(end));
  X509_sign(certificate.get(), key.get(), EVP_sha256());
  const std::unique_ptr<BIO, decltype(&BIO_free_all)> out(BIO_new(BIO_s_mem()), BIO_free_all);
  PEM_write_bio_X509(out.get(), certificate.get());
  const char* data = nullptr;
  const long size = BIO_get_mem_data(out.get(), &data);
  return {std::string(data, static_cast<std::size_t>(size)), ca.key};
}

TEST(CertificateTest, AServingCertificateEndsNoLaterThanItsCa) {
  const KeyPair ca = Ending(Fresh().ca, kNow + days(400));
  auto serving = IssueServing(ca, Names(), kNow);
  ASSERT_TRUE(serving) << serving.error().message;
  EXPECT_EQ(*NotAfter(serving->certificate), kNow + days(400));
}

TEST(CertificateTest, IssuesWhatTheContractSays) {
  const auto ca = Parse(Fresh().ca.certificate);
  const auto leaf = Parse(Fresh().serving.certificate);
  ASSERT_TRUE(ca && leaf);
  char name[128];
  X509_NAME_get_text_by_NID(X509_get_subject_name(ca.get()), NID_commonName, name, sizeof(name));
  EXPECT_STREQ(name, "webhook-cert-ca");
  X509_NAME_get_text_by_NID(X509_get_subject_name(leaf.get()), NID_commonName, name, sizeof(name));
  EXPECT_STREQ(name, "fluid-pod-admission-webhook.fluid-system.svc");
  EXPECT_EQ(X509_check_host(leaf.get(), "localhost", 0, 0, nullptr), 1);
  EXPECT_EQ(
      X509_check_host(leaf.get(), "fluid-pod-admission-webhook.fluid-system.svc", 0, 0, nullptr),
      1);
  EXPECT_EQ(X509_check_host(leaf.get(), "example.org", 0, 0, nullptr), 0);
  EXPECT_EQ(X509_get_extended_key_usage(leaf.get()), static_cast<unsigned>(XKU_SSL_SERVER));
  EXPECT_EQ(EVP_PKEY_get_bits(X509_get0_pubkey(leaf.get())), 2048);
  EXPECT_EQ(EVP_PKEY_get_bits(X509_get0_pubkey(ca.get())), 2048);
  EXPECT_NE(Fresh().serving.key.find("BEGIN RSA PRIVATE KEY"), std::string::npos);  // PKCS#1
  EXPECT_EQ(*NotAfter(Fresh().serving.certificate), kNow + kLifetime);
  EXPECT_EQ(*NotAfter(Fresh().ca.certificate), kNow + kLifetime);
}

// Namespaces have up to 63 characters, common names 64 bytes.
TEST(CertificateTest, NamesAServiceOfAnyNamespace) {
  struct Case {
    std::size_t ns_size;
    bool ns_fits;  // into the common name
    bool whole;
  };
  for (const Case& c : {Case{32, true, true}, Case{33, true, false}, Case{36, true, false},
                        Case{37, false, false}, Case{63, false, false}}) {
    const std::string ns(c.ns_size, 'n');
    const ServingNames names = ServiceNames(ns);
    const auto renewal = RenewIfNeeded({Fresh().ca, {}}, names, kNow);
    ASSERT_TRUE(renewal) << c.ns_size << ": " << renewal.error().message;
    EXPECT_EQ(ServingProblem(renewal->identity, names.common_name, kNow), "") << c.ns_size;
    const auto leaf = Parse(renewal->identity.serving.certificate);
    char name[128];
    X509_NAME_get_text_by_NID(X509_get_subject_name(leaf.get()), NID_commonName, name,
                              sizeof(name));
    EXPECT_EQ(name, std::string("fluid-pod-admission-webhook") + (c.ns_fits ? "." + ns : "") +
                        (c.whole ? ".svc" : ""));
  }
}

TEST(CertificateTest, ChainsToItsCa) {
  const auto ca = Parse(Fresh().ca.certificate);
  const auto leaf = Parse(Fresh().serving.certificate);
  const std::unique_ptr<X509_STORE, decltype(&X509_STORE_free)> store(X509_STORE_new(),
                                                                      X509_STORE_free);
  X509_STORE_add_cert(store.get(), ca.get());
  const std::unique_ptr<X509_STORE_CTX, decltype(&X509_STORE_CTX_free)> context(
      X509_STORE_CTX_new(), X509_STORE_CTX_free);
  X509_STORE_CTX_init(context.get(), store.get(), leaf.get(), nullptr);
  X509_STORE_CTX_set_purpose(context.get(), X509_PURPOSE_SSL_SERVER);
  X509_STORE_CTX_set_time(context.get(), 0, std::chrono::system_clock::to_time_t(kNow));
  EXPECT_EQ(X509_verify_cert(context.get()), 1)
      << X509_verify_cert_error_string(X509_STORE_CTX_get_error(context.get()));
}

// What is kept and what is issued anew, by the manual clock.
struct RenewalCase {
  const char* name;
  std::function<Identity()> current;
  WallTime now;
  bool keeps_ca;
  bool keeps_serving;
};

void PrintTo(const RenewalCase& c, std::ostream* out) { *out << c.name; }

class RenewalTest : public testing::TestWithParam<RenewalCase> {};

TEST_P(RenewalTest, KeepsWhatIsGood) {
  const Identity current = GetParam().current();
  auto renewal = RenewIfNeeded(current, Names(), GetParam().now);
  ASSERT_TRUE(renewal) << renewal.error().message;
  EXPECT_EQ(renewal->identity.ca == current.ca, GetParam().keeps_ca) << renewal->reason;
  EXPECT_EQ(renewal->identity.serving == current.serving, GetParam().keeps_serving)
      << renewal->reason;
  EXPECT_EQ(renewal->reason.empty(), GetParam().keeps_serving);
  EXPECT_EQ(ServingProblem(renewal->identity, Names().common_name, GetParam().now), "");
}

INSTANTIATE_TEST_SUITE_P(
    Rules, RenewalTest,
    testing::Values(RenewalCase{"FreshIsReused", [] { return Fresh(); }, kNow, true, true},
                    RenewalCase{"NineYearsLaterIsReused", [] { return Fresh(); }, kNow + days(3284),
                                true, true},
                    RenewalCase{"SevenMonthsBeforeTheEndIsReused", [] { return Fresh(); },
                                kNow + kLifetime - days(210), true, true},
                    RenewalCase{"FiveMonthsBeforeTheEndBothEnd", [] { return Fresh(); },
                                kNow + kLifetime - days(150), false, false},
                    RenewalCase{"AfterTheEnd", [] { return Fresh(); }, kNow + kLifetime + days(1),
                                false, false},
                    RenewalCase{"NothingYet", [] { return Identity{}; }, kNow, false, false},
                    RenewalCase{"NotValidYet", [] { return Fresh(); }, kNow - days(30), false,
                                false},
                    RenewalCase{"ServingKeyOfAnother",
                                [] {
                                  Identity identity = Fresh();
                                  identity.serving.key = Fresh().ca.key;
                                  return identity;
                                },
                                kNow, true, false},
                    RenewalCase{"ServingIsGarbage",
                                [] {
                                  Identity identity = Fresh();
                                  identity.serving = {"x", "y"};
                                  return identity;
                                },
                                kNow, true, false},
                    RenewalCase{"SignedByAnotherCa",
                                [] {
                                  Identity identity = Fresh();
                                  identity.ca = OtherCa();
                                  return identity;
                                },
                                kNow, true, false},
                    RenewalCase{"CaEndsInNineMonths",
                                [] {
                                  Identity identity = Fresh();
                                  identity.ca = Ending(Fresh().ca, kNow + days(270));
                                  return identity;
                                },
                                kNow, true, true},
                    RenewalCase{"CaEndsInFiveMonthsLongBeforeItsServing",
                                [] {
                                  Identity identity = Fresh();
                                  identity.ca = Ending(Fresh().ca, kNow + days(150));
                                  return identity;
                                },
                                kNow, false, false},
                    RenewalCase{"ForAnotherName",
                                [] {
                                  Identity identity = Fresh();
                                  identity.serving =
                                      *IssueServing(identity.ca, ServiceNames("elsewhere"), kNow);
                                  return identity;
                                },
                                kNow, true, false},
                    RenewalCase{"CaKeyLostButServingGood",
                                [] {
                                  Identity identity = Fresh();
                                  identity.ca.key = "";
                                  return identity;
                                },
                                kNow, true, true},
                    RenewalCase{"CaKeyLostAndServingBad",
                                [] {
                                  Identity identity = Fresh();
                                  identity.ca.key = "";
                                  identity.serving = {};
                                  return identity;
                                },
                                kNow, false, false},
                    RenewalCase{"YoungCaOldServing",
                                [] {
                                  Identity identity;
                                  identity.ca = *IssueCa("webhook-cert-ca", kNow + days(2000));
                                  identity.serving = *IssueServing(identity.ca, Names(), kNow);
                                  return identity;
                                },
                                kNow + kLifetime - days(100), true, false}),
    [](const auto& param) { return param.param.name; });

TEST(CertificateTest, DoesNotAskForThePasswordOfAnEncryptedKey) {
  Identity identity = Fresh();
  identity.serving.key =
      "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n"
      "DEK-Info: AES-128-CBC,00112233445566778899AABBCCDDEEFF\n\nAAAA\n"
      "-----END RSA PRIVATE KEY-----\n";
  EXPECT_NE(ServingProblem(identity, Names().common_name, kNow), "");
}

}  // namespace
}  // namespace sluice::certs
