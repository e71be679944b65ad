// OpenSSL's objects with an owner, and how certificates and keys come out of PEM text: for the
// modules that speak TLS or issue certificates.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

namespace sluice::platform {

template <auto Free>
struct OpenSslFree {
  template <typename T>
  void operator()(T* object) const {
    Free(object);
  }
};
template <typename T, auto Free>
using OpenSslPtr = std::unique_ptr<T, OpenSslFree<Free>>;

using BioPtr = OpenSslPtr<BIO, BIO_free_all>;
using CertificatePtr = OpenSslPtr<X509, X509_free>;
using PrivateKeyPtr = OpenSslPtr<EVP_PKEY, EVP_PKEY_free>;

// Every certificate in the text, in order; none when there is none. Leaves no error in OpenSSL's
// queue.
std::vector<CertificatePtr> ParseCertificates(const std::string& pem);

// The first private key in the text; null when there is none or it is encrypted. Never asks for a
// password. Leaves no error in OpenSSL's queue.
PrivateKeyPtr ParsePrivateKey(const std::string& pem);

}  // namespace sluice::platform
