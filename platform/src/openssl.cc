#include "sluice/platform/openssl.h"

#include <limits>

#include <openssl/err.h>
#include <openssl/pem.h>

namespace sluice::platform {
namespace {

// Null for what is larger than OpenSSL can take.
BioPtr Open(const std::string& pem) {
  if (pem.size() > static_cast<std::size_t>(std::numeric_limits<int>::max())) return nullptr;
  return BioPtr(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
}

}  // namespace

std::vector<CertificatePtr> ParseCertificates(const std::string& pem) {
  std::vector<CertificatePtr> certificates;
  const BioPtr bio = Open(pem);
  while (bio) {
    CertificatePtr next(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
    if (!next) break;
    certificates.push_back(std::move(next));
  }
  ERR_clear_error();  // the end of the text is an "error" too
  return certificates;
}

PrivateKeyPtr ParsePrivateKey(const std::string& pem) {
  const BioPtr bio = Open(pem);
  if (!bio) return nullptr;
  // Without a callback OpenSSL would ask at the terminal for the password of an encrypted key.
  const auto no_password = [](char*, int, int, void*) { return -1; };
  PrivateKeyPtr key(PEM_read_bio_PrivateKey(bio.get(), nullptr, no_password, nullptr));
  ERR_clear_error();
  return key;
}

}  // namespace sluice::platform
