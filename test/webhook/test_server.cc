#include "test_server.h"

#include <stdexcept>
#include <utility>

namespace sluice::test {

const certs::Identity& TestIdentity() {
  static const certs::Identity kIdentity = [] {
    certs::ServingNames names = certs::ServiceNames("fluid-system");
    names.ips = {"127.0.0.1"};
    return certs::RenewIfNeeded({}, names, std::chrono::system_clock::now())->identity;
  }();
  return kIdentity;
}

TestServer::TestServer(const ObjectSource& state, injection::Settings settings,
                       webhook::TlsServerOptions options)
    : log_("test", platform::LogLevel::kError),
      admission_({.state = state, .clock = clock_, .metrics = metrics_, .log = log_},
                 std::move(settings)),
      server_(
          std::move(options),
          [this](std::string_view content_type, std::string_view body) {
            return admission_.Serve(content_type, body);
          },
          log_, metrics_) {
  const certs::KeyPair& serving = TestIdentity().serving;
  auto used = server_.UseCertificate(serving.certificate, serving.key);
  if (!used) throw std::runtime_error(used.error().message);
  auto port = server_.Start("127.0.0.1", 0);
  if (!port) throw std::runtime_error(port.error().message);
  port_ = *port;
}

}  // namespace sluice::test
