#include "https_client.h"

#include <openssl/evp.h>

#include "sluice/core/json_access.h"

namespace sluice::test {

std::unique_ptr<httplib::SSLClient> ConnectTo(int port) {
  auto client = std::make_unique<httplib::SSLClient>("127.0.0.1", port);
  client->enable_server_certificate_verification(false);
  client->set_keep_alive(true);
  client->set_tcp_nodelay(true);
  client->set_connection_timeout(10);
  client->set_read_timeout(30);
  client->set_write_timeout(30);
  return client;
}

Json PatchOf(const Json& review) {
  const std::string text = StringOf(ChildOf(review, "response"), "patch");
  if (text.empty()) return Json::array();
  std::string bytes(text.size() / 4 * 3, '\0');
  EVP_DecodeBlock(reinterpret_cast<unsigned char*>(bytes.data()),
                  reinterpret_cast<const unsigned char*>(text.data()),
                  static_cast<int>(text.size()));
  // What the padding stands for decodes to NUL.
  bytes.erase(bytes.find_last_not_of('\0') + 1);
  return Json::parse(bytes);
}

}  // namespace sluice::test
