// Authorities for a test, and folders with what they sign: ca.crt, tls.crt and tls.key, as workers
// and clients of a pool are given them.
//
//   const TlsAuthority authority;
//   authority.WriteWorker(folder, {"w-0"});
//   auto server = MemcachedServer::Start(TlsArguments(folder));
#pragma once

#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "sluice/certs/certificate.h"

namespace sluice::test {

class TlsAuthority {
 public:
  TlsAuthority() : pair_(*certs::IssueCa("test authority", Now())) {}

  [[nodiscard]] const std::string& Certificate() const { return pair_.certificate; }

  // For workers of these names.
  void WriteWorker(const std::filesystem::path& folder, std::vector<std::string> names,
                   std::chrono::seconds lifetime = std::chrono::days(365)) const {
    certs::ServingNames wanted{.common_name = names.front(), .dns = std::move(names), .ips = {}};
    Write(folder, *certs::IssueServing(pair_, wanted, Now(), {.lifetime = lifetime}));
  }
  void WriteClient(const std::filesystem::path& folder) const {
    Write(folder, *certs::IssueClient(pair_, "client", Now()));
  }

 private:
  static certs::WallTime Now() { return std::chrono::system_clock::now(); }

  // Each at once, as kubelet does; but one after the other.
  void Write(const std::filesystem::path& folder, const certs::KeyPair& pair) const {
    std::filesystem::create_directories(folder);
    for (const auto& [name, text] :
         {std::pair("ca.crt", &pair_.certificate), std::pair("tls.crt", &pair.certificate),
          std::pair("tls.key", &pair.key)}) {
      const std::filesystem::path fresh = folder / "fresh";
      std::ofstream(fresh) << *text;
      std::filesystem::rename(fresh, folder / name);
    }
  }

  const certs::KeyPair pair_;
};

// Of memcached: only clients with a certificate of the authority are let in.
inline std::vector<std::string> TlsArguments(const std::filesystem::path& folder) {
  return {"-Z", "-o",
          fmt::format("ssl_chain_cert={0}/tls.crt,ssl_key={0}/tls.key,ssl_ca_cert={0}/ca.crt,"
                      "ssl_verify_mode=2",
                      folder.string())};
}

}  // namespace sluice::test
