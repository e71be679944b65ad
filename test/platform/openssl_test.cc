#include "sluice/platform/openssl.h"

#include <gtest/gtest.h>
#include <openssl/err.h>
#include <openssl/pem.h>

namespace sluice::platform {
namespace {

std::string Text(const BioPtr& bio) {
  const char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);
  return {data, static_cast<std::size_t>(size)};
}

std::string KeyPem(EVP_PKEY* key, const EVP_CIPHER* cipher = nullptr) {
  const BioPtr bio(BIO_new(BIO_s_mem()));
  unsigned char password[] = "secret";
  PEM_write_bio_PrivateKey(bio.get(), key, cipher, cipher == nullptr ? nullptr : password,
                           cipher == nullptr ? 0 : 6, nullptr, nullptr);
  return Text(bio);
}

std::string CertificatePem(EVP_PKEY* key, long serial) {
  const CertificatePtr certificate(X509_new());
  ASN1_INTEGER_set(X509_get_serialNumber(certificate.get()), serial);
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), 0);
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()), 3600);
  X509_set_pubkey(certificate.get(), key);
  X509_sign(certificate.get(), key, EVP_sha256());
  const BioPtr bio(BIO_new(BIO_s_mem()));
  PEM_write_bio_X509(bio.get(), certificate.get());
  return Text(bio);
}

TEST(OpenSslTest, ReadsEveryCertificateInOrderPastWhatIsNone) {
  const PrivateKeyPtr key(EVP_EC_gen("P-256"));
  const std::string text = "a comment\n" + CertificatePem(key.get(), 1) + KeyPem(key.get()) +
                           CertificatePem(key.get(), 2) + "trailing\n";
  const auto certificates = ParseCertificates(text);
  ASSERT_EQ(certificates.size(), 2U);
  for (long i = 0; i < 2; ++i) {
    const X509* certificate = certificates[static_cast<std::size_t>(i)].get();
    EXPECT_EQ(ASN1_INTEGER_get(X509_get0_serialNumber(certificate)), i + 1);
  }
  for (const std::string& none : {std::string(), std::string("nonsense"), KeyPem(key.get())}) {
    EXPECT_TRUE(ParseCertificates(none).empty()) << none;
  }
  EXPECT_EQ(ERR_peek_error(), 0U) << "nothing is left for the next call to find";
}

TEST(OpenSslTest, ReadsAKeyAndNeverAsksForAPassword) {
  const PrivateKeyPtr key(EVP_EC_gen("P-256"));
  const PrivateKeyPtr read = ParsePrivateKey(CertificatePem(key.get(), 1) + KeyPem(key.get()));
  ASSERT_TRUE(read);
  EXPECT_EQ(EVP_PKEY_eq(key.get(), read.get()), 1);
  EXPECT_FALSE(ParsePrivateKey(KeyPem(key.get(), EVP_aes_128_cbc())));
  EXPECT_FALSE(ParsePrivateKey(CertificatePem(key.get(), 1)));
  EXPECT_FALSE(ParsePrivateKey(""));
  EXPECT_EQ(ERR_peek_error(), 0U);
}

}  // namespace
}  // namespace sluice::platform
