#include "sluice/certs/certificate.h"

#include <algorithm>
#include <utility>
#include <vector>

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

#include "sluice/core/timestamp.h"
#include "sluice/platform/openssl.h"

namespace sluice::certs {
namespace {

using platform::BioPtr;
using platform::CertificatePtr;
using platform::ParsePrivateKey;
using platform::PrivateKeyPtr;
using ExtensionPtr = platform::OpenSslPtr<X509_EXTENSION, X509_EXTENSION_free>;
using BigNumberPtr = platform::OpenSslPtr<BIGNUM, BN_free>;

constexpr unsigned kKeyBits = 2048;
// Clocks of nodes differ a little.
constexpr std::chrono::minutes kBackdate{5};
// ub-common-name of RFC 5280.
constexpr std::size_t kLongestCommonName = 64;

Error OpenSslError(const std::string& what) {
  const unsigned long code = ERR_get_error();
  ERR_clear_error();
  const char* reason = code == 0 ? nullptr : ERR_reason_error_string(code);
  return {Code::kInternal, fmt::format("{}: {}", what, reason == nullptr ? "failed" : reason)};
}

// Null when there is none.
CertificatePtr ParseCertificate(const std::string& pem) {
  std::vector<CertificatePtr> all = platform::ParseCertificates(pem);
  return all.empty() ? nullptr : std::move(all.front());
}

std::string Text(const BioPtr& bio) {
  const char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);
  return {data, static_cast<std::size_t>(size)};
}

std::string CertificatePem(X509* certificate) {
  const BioPtr out(BIO_new(BIO_s_mem()));
  return PEM_write_bio_X509(out.get(), certificate) == 1 ? Text(out) : "";
}

Result<KeyPair> ToPem(X509* certificate, EVP_PKEY* key) {
  std::string certificate_pem = CertificatePem(certificate);
  const BioPtr key_out(BIO_new(BIO_s_mem()));
  if (certificate_pem.empty() ||
      PEM_write_bio_PrivateKey_traditional(key_out.get(), key, nullptr, nullptr, 0, nullptr,
                                           nullptr) != 1) {
    return Fail(OpenSslError("write PEM"));
  }
  return KeyPair{std::move(certificate_pem), Text(key_out)};
}

bool AddExtension(X509* certificate, X509* issuer, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  const ExtensionPtr extension(X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str()));
  return extension && X509_add_ext(certificate, extension.get(), -1) == 1;
}

bool SetSerial(X509* certificate) {
  const BigNumberPtr serial(BN_new());
  return serial && BN_rand(serial.get(), 127, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) == 1 &&
         BN_to_ASN1_INTEGER(serial.get(), X509_get_serialNumber(certificate)) != nullptr;
}

bool SetCommonName(X509_NAME* name, const std::string& common_name) {
  return X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
                                    reinterpret_cast<const unsigned char*>(common_name.data()),
                                    static_cast<int>(common_name.size()), -1, 0) == 1;
}

// Everything that the certificates of a CA and of others have in common.
CertificatePtr Blank(EVP_PKEY* key, const std::string& common_name, WallTime now,
                     WallTime not_after) {
  CertificatePtr certificate(X509_new());
  const auto begin = std::chrono::system_clock::to_time_t(now - kBackdate);
  const auto end = std::chrono::system_clock::to_time_t(not_after);
  const bool done = certificate && X509_set_version(certificate.get(), X509_VERSION_3) == 1 &&
                    SetSerial(certificate.get()) &&
                    ASN1_TIME_set(X509_getm_notBefore(certificate.get()), begin) != nullptr &&
                    ASN1_TIME_set(X509_getm_notAfter(certificate.get()), end) != nullptr &&
                    SetCommonName(X509_get_subject_name(certificate.get()), common_name) &&
                    X509_set_pubkey(certificate.get(), key) == 1;
  return done ? std::move(certificate) : nullptr;
}

// The name without the labels at its end that no common name has room for. Clients look at the
// alternative names only, which are whole.
std::string FittingCommonName(std::string name) {
  while (name.size() > kLongestCommonName) {
    const std::size_t dot = name.rfind('.');
    name.erase(dot == std::string::npos ? kLongestCommonName : dot);
  }
  return name;
}

std::string AlternativeNames(const ServingNames& names) {
  std::string text;
  for (const std::string& dns : names.dns) text += (text.empty() ? "DNS:" : ",DNS:") + dns;
  for (const std::string& ip : names.ips) text += (text.empty() ? "IP:" : ",IP:") + ip;
  return text;
}

// Whether the certificate is still valid at `until`.
bool ValidAt(const X509* certificate, WallTime until) {
  auto time = std::chrono::system_clock::to_time_t(until);
  return X509_cmp_time(X509_get0_notAfter(certificate), &time) > 0;
}

bool Begun(const X509* certificate, WallTime now) {
  auto time = std::chrono::system_clock::to_time_t(now);
  return X509_cmp_time(X509_get0_notBefore(certificate), &time) < 0;
}

// Problems that a pair has on its own; `certificate` is set when it can be looked at further.
std::string PairProblem(const KeyPair& pair, CertificatePtr& certificate) {
  certificate = ParseCertificate(pair.certificate);
  if (!certificate) return "the certificate is missing or no PEM";
  const PrivateKeyPtr key = ParsePrivateKey(pair.key);
  if (!key) return "the key is missing or no PEM";
  const bool match = X509_check_private_key(certificate.get(), key.get()) == 1;
  ERR_clear_error();
  return match ? "" : "key and certificate do not belong together";
}

// What distinguishes certificates that are no CA's.
struct Leaf {
  std::string common_name;
  const char* usage;
  std::string alternative_names;  // empty: none
};

Result<KeyPair> IssueLeaf(const KeyPair& ca, const Leaf& wanted, WallTime now,
                          const Policy& policy) {
  const CertificatePtr issuer = ParseCertificate(ca.certificate);
  const PrivateKeyPtr issuer_key = ParsePrivateKey(ca.key);
  if (!issuer || !issuer_key) return Fail(Code::kInvalidArgument, "the CA is no PEM key pair");
  const PrivateKeyPtr key(EVP_RSA_gen(kKeyBits));
  if (!key) return Fail(OpenSslError("generate the key"));
  SLUICE_TRY(ca_end, NotAfter(ca.certificate), "the CA");
  const CertificatePtr certificate =
      Blank(key.get(), wanted.common_name, now, std::min<WallTime>(now + policy.lifetime, ca_end));
  X509* leaf = certificate.get();
  const bool nameless = wanted.alternative_names.empty();
  if (leaf == nullptr || X509_set_issuer_name(leaf, X509_get_subject_name(issuer.get())) != 1 ||
      !AddExtension(leaf, issuer.get(), NID_basic_constraints, "critical,CA:FALSE") ||
      !AddExtension(leaf, issuer.get(), NID_key_usage,
                    "critical,digitalSignature,keyEncipherment") ||
      !AddExtension(leaf, issuer.get(), NID_ext_key_usage, wanted.usage) ||
      !AddExtension(leaf, issuer.get(), NID_authority_key_identifier, "keyid") ||
      !(nameless ||
        AddExtension(leaf, issuer.get(), NID_subject_alt_name, wanted.alternative_names)) ||
      X509_sign(leaf, issuer_key.get(), EVP_sha256()) == 0) {
    return Fail(OpenSslError("issue the certificate"));
  }
  return ToPem(leaf, key.get());
}

// Empty when the pair is the CA's, names `dns_name` (empty: nobody) and lasts.
std::string LeafProblem(const KeyPair& leaf, const std::string& ca_certificate,
                        const std::string& dns_name, WallTime now, const Policy& policy) {
  CertificatePtr certificate;
  if (std::string problem = PairProblem(leaf, certificate); !problem.empty()) return problem;
  const CertificatePtr ca = ParseCertificate(ca_certificate);
  if (!ca) return "the CA's certificate is missing or no PEM";
  const bool signed_by_ca = X509_check_issued(ca.get(), certificate.get()) == X509_V_OK &&
                            X509_verify(certificate.get(), X509_get0_pubkey(ca.get())) == 1;
  ERR_clear_error();
  if (!signed_by_ca) return "the CA did not sign the certificate";
  if (!dns_name.empty() &&
      X509_check_host(certificate.get(), dns_name.data(), dns_name.size(), 0, nullptr) != 1) {
    return fmt::format("the certificate does not name {}", dns_name);
  }
  if (!Begun(certificate.get(), now)) return "the certificate is not valid yet";
  const bool lasts = ValidAt(certificate.get(), now + policy.renew_serving_before);
  // The pair is worth no more than its CA.
  const bool ca_lasts = ValidAt(ca.get(), now + policy.renew_serving_before);
  return lasts && ca_lasts ? "" : "it or its CA ends too soon";
}

}  // namespace

Result<KeyPair> IssueCa(const std::string& common_name, WallTime now, const Policy& policy) {
  const PrivateKeyPtr key(EVP_RSA_gen(kKeyBits));
  if (!key) return Fail(OpenSslError("generate the CA's key"));
  const CertificatePtr certificate = Blank(key.get(), common_name, now, now + policy.lifetime);
  X509* ca = certificate.get();
  if (ca == nullptr || X509_set_issuer_name(ca, X509_get_subject_name(ca)) != 1 ||
      !AddExtension(ca, ca, NID_basic_constraints, "critical,CA:TRUE") ||
      !AddExtension(ca, ca, NID_key_usage,
                    "critical,digitalSignature,keyEncipherment,keyCertSign") ||
      !AddExtension(ca, ca, NID_subject_key_identifier, "hash") ||
      X509_sign(ca, key.get(), EVP_sha256()) == 0) {
    return Fail(OpenSslError("issue the CA's certificate"));
  }
  return ToPem(ca, key.get());
}

Result<KeyPair> IssueServing(const KeyPair& ca, const ServingNames& names, WallTime now,
                             const Policy& policy) {
  return IssueLeaf(ca,
                   {.common_name = FittingCommonName(names.common_name),
                    .usage = "serverAuth",
                    .alternative_names = AlternativeNames(names)},
                   now, policy);
}

Result<KeyPair> IssueClient(const KeyPair& ca, const std::string& common_name, WallTime now,
                            const Policy& policy) {
  return IssueLeaf(ca,
                   {.common_name = FittingCommonName(common_name),
                    .usage = "clientAuth",
                    .alternative_names = ""},
                   now, policy);
}

std::string CaProblem(const KeyPair& ca, WallTime now, const Policy& policy) {
  CertificatePtr certificate;
  if (std::string problem = PairProblem(ca, certificate); !problem.empty()) return problem;
  if (X509_check_ca(certificate.get()) == 0) return "the certificate is no CA's";
  if (!Begun(certificate.get(), now)) return "the certificate is not valid yet";
  return ValidAt(certificate.get(), now + policy.renew_ca_before) ? "" : "it ends too soon";
}

std::string ServingProblem(const Identity& identity, const std::string& dns_name, WallTime now,
                           const Policy& policy) {
  return LeafProblem(identity.serving, identity.ca.certificate, dns_name, now, policy);
}

std::string ClientProblem(const KeyPair& client, const std::string& ca_certificate, WallTime now,
                          const Policy& policy) {
  return LeafProblem(client, ca_certificate, "", now, policy);
}

Result<Renewal> RenewIfNeeded(const Identity& current, const ServingNames& names, WallTime now,
                              const Policy& policy) {
  Renewal renewal{current, ServingProblem(current, names.common_name, now, policy)};
  if (renewal.reason.empty()) return renewal;
  if (const std::string problem = CaProblem(current.ca, now, policy); !problem.empty()) {
    renewal.reason = fmt::format("CA: {}; serving certificate: {}", problem, renewal.reason);
    SLUICE_TRY(ca, IssueCa("webhook-cert-ca", now, policy), "renew");
    renewal.identity.ca = std::move(ca);
  }
  SLUICE_TRY(serving, IssueServing(renewal.identity.ca, names, now, policy), "renew");
  renewal.identity.serving = std::move(serving);
  return renewal;
}

Result<WallTime> NotAfter(const std::string& certificate) {
  const CertificatePtr parsed = ParseCertificate(certificate);
  std::tm end{};
  if (!parsed || ASN1_TIME_to_tm(X509_get0_notAfter(parsed.get()), &end) != 1) {
    return Fail(Code::kInvalidArgument, "the certificate is no PEM");
  }
  return TimeFromUnix(timegm(&end));
}

std::string BundleWithPrevious(const std::string& ca_certificate, const std::string& current_bundle,
                               WallTime now) {
  const CertificatePtr ca = ParseCertificate(ca_certificate);
  if (!ca) return ca_certificate;
  std::string bundle = CertificatePem(ca.get());
  for (const CertificatePtr& other : platform::ParseCertificates(current_bundle)) {
    if (X509_cmp(other.get(), ca.get()) == 0 || X509_check_ca(other.get()) == 0 ||
        !ValidAt(other.get(), now)) {
      continue;
    }
    return bundle + CertificatePem(other.get());
  }
  return bundle;
}

}  // namespace sluice::certs
