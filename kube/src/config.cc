#include "sluice/kube/config.h"

#include <cstdlib>
#include <filesystem>
#include <optional>

#include <fmt/format.h>
#include <openssl/evp.h>
#include <yaml-cpp/yaml.h>

#include "sluice/platform/read_file.h"

namespace sluice::kube {
namespace {

using platform::ReadFile;

std::string Trimmed(std::string text) {
  const auto end = text.find_last_not_of(" \t\r\n");
  text.erase(end == std::string::npos ? 0 : end + 1);
  return text;
}

Result<std::string> DecodeBase64(std::string text, const std::string& field) {
  std::erase_if(text, [](char c) { return c == '\n' || c == '\r' || c == ' '; });
  std::string out(text.size() / 4 * 3 + 3, '\0');
  const int size = EVP_DecodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                                   reinterpret_cast<const unsigned char*>(text.data()),
                                   static_cast<int>(text.size()));
  if (size < 0 || text.empty()) {
    return Fail(Code::kInvalidArgument, fmt::format("{}: no base64", field));
  }
  // EVP_DecodeBlock counts the padding as bytes.
  auto length = static_cast<std::size_t>(size);
  for (auto it = text.rbegin(); it != text.rend() && *it == '='; ++it) --length;
  out.resize(length);
  return out;
}

std::string TextOf(const YAML::Node& node, const char* key) {
  const YAML::Node value = node[key];
  return value && value.IsScalar() ? value.Scalar() : "";
}

// The entry of `list` called `name`, and in it the map `inner` ("clusters", "cluster").
std::optional<YAML::Node> NamedEntry(const YAML::Node& document, const char* list,
                                     const char* inner, const std::string& name) {
  const YAML::Node entries = document[list];
  if (!entries || !entries.IsSequence()) return {};
  for (const YAML::Node& entry : entries) {
    if (entry.IsMap() && TextOf(entry, "name") == name && entry[inner] && entry[inner].IsMap()) {
      return entry[inner];
    }
  }
  return {};
}

// Either `<key>-data` in base64 or the file named by `<key>`; empty when neither is there.
Result<std::string> DataOrFile(const YAML::Node& node, const std::string& key,
                               const std::filesystem::path& directory) {
  if (const std::string data = TextOf(node, (key + "-data").c_str()); !data.empty()) {
    return DecodeBase64(data, key + "-data");
  }
  const std::string file = TextOf(node, key.c_str());
  if (file.empty()) return std::string();
  return ReadFile((directory / file).string());
}

Status FillUser(const YAML::Node& user, const std::filesystem::path& directory, Config& config) {
  if (user["exec"] || user["auth-provider"]) {
    return Fail(Code::kInvalidArgument,
                "user: exec and auth-provider plugins are not supported; use a token or a client "
                "certificate");
  }
  SLUICE_TRY(certificate, DataOrFile(user, "client-certificate", directory), "user");
  SLUICE_TRY(key, DataOrFile(user, "client-key", directory), "user");
  config.client_certificate_pem = std::move(certificate);
  config.client_key_pem = platform::Secret(std::move(key));
  config.token = platform::Secret(TextOf(user, "token"));
  if (const std::string file = TextOf(user, "tokenFile"); !file.empty()) {
    config.token_file = (directory / file).string();
  }
  return Ok();
}

Result<Config> FromDocument(const YAML::Node& document, const std::string& wanted_context,
                            const std::filesystem::path& directory) {
  if (!document.IsMap()) return Fail(Code::kInvalidArgument, "no YAML map");
  const std::string context_name =
      wanted_context.empty() ? TextOf(document, "current-context") : wanted_context;
  const auto context = NamedEntry(document, "contexts", "context", context_name);
  if (!context) {
    return Fail(Code::kInvalidArgument,
                fmt::format("context '{}' is not in it; set current-context", context_name));
  }
  const std::string cluster_name = TextOf(*context, "cluster");
  const auto cluster = NamedEntry(document, "clusters", "cluster", cluster_name);
  if (!cluster) {
    return Fail(Code::kInvalidArgument, fmt::format("cluster '{}' is not in it", cluster_name));
  }
  Config config;
  config.server = TextOf(*cluster, "server");
  config.tls_server_name = TextOf(*cluster, "tls-server-name");
  config.insecure_skip_tls_verify = TextOf(*cluster, "insecure-skip-tls-verify") == "true";
  SLUICE_TRY(ca, DataOrFile(*cluster, "certificate-authority", directory), "cluster");
  config.ca_pem = std::move(ca);
  if (const std::string ns = TextOf(*context, "namespace"); !ns.empty()) config.ns = ns;
  if (const std::string user_name = TextOf(*context, "user"); !user_name.empty()) {
    const auto user = NamedEntry(document, "users", "user", user_name);
    if (!user) {
      return Fail(Code::kInvalidArgument, fmt::format("user '{}' is not in it", user_name));
    }
    SLUICE_CHECK(FillUser(*user, directory, config), user_name);
  }
  return config;
}

}  // namespace

Result<Config> LoadKubeconfig(const std::string& path, const std::string& context) {
  SLUICE_TRY(text, ReadFile(path), "kubeconfig");
  try {
    auto config =
        FromDocument(YAML::Load(text), context, std::filesystem::path(path).parent_path());
    if (!config) return Fail(config.error().Wrap("kubeconfig " + path));
    return config;
  } catch (const YAML::Exception& error) {
    // The text may hold secrets: only the place is told.
    return Fail(Code::kInvalidArgument,
                fmt::format("kubeconfig {}: no valid YAML at line {}", path, error.mark.line + 1));
  }
}

Result<Config> InClusterConfig(const std::string& root) {
  // Read once, before any thread is started that could change the environment.
  const char* host = std::getenv("KUBERNETES_SERVICE_HOST");  // NOLINT(concurrency-mt-unsafe)
  const char* port = std::getenv("KUBERNETES_SERVICE_PORT");  // NOLINT(concurrency-mt-unsafe)
  if (host == nullptr || port == nullptr) {
    return Fail(Code::kUnavailable,
                "not in a pod (KUBERNETES_SERVICE_HOST is not set): give --kubeconfig");
  }
  Config config;
  const std::string address(host);
  config.server = address.find(':') == std::string::npos
                      ? fmt::format("https://{}:{}", address, port)
                      : fmt::format("https://[{}]:{}", address, port);
  SLUICE_TRY(ca, ReadFile(root + "/ca.crt"), "service account");
  config.ca_pem = std::move(ca);
  config.token_file = root + "/token";
  SLUICE_TRY(token, ReadFile(config.token_file), "service account");
  if (Trimmed(token).empty()) {
    return Fail(Code::kUnavailable, config.token_file + ": the token is empty");
  }
  if (auto ns = ReadFile(root + "/namespace")) config.ns = Trimmed(*ns);
  return config;
}

Result<Config> FindConfig(const std::string& kubeconfig) {
  return kubeconfig.empty() ? InClusterConfig() : LoadKubeconfig(kubeconfig);
}

}  // namespace sluice::kube
