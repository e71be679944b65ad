// A webhook in this process: file state, real TLS on a port of its own.
#pragma once

#include <string>

#include "sluice/certs/certificate_secret.h"
#include "sluice/webhook/admission.h"
#include "sluice/webhook/tls_server.h"
#include "sluice/yaml/file_objects.h"

#include "manual_clock.h"

namespace sluice::test {

// A serving identity for 127.0.0.1, made once per process.
const certs::Identity& TestIdentity();

class TestServer {
 public:
  TestServer(const ObjectSource& state, injection::Settings settings,
             webhook::TlsServerOptions options = {.path = "/mutate-fluid-io-v1alpha1-schedulepod"});

  [[nodiscard]] int Port() const { return port_; }
  webhook::TlsServer& Tls() { return server_; }
  webhook::Admission& Admission() { return admission_; }
  platform::Metrics& Metrics() { return metrics_; }

 private:
  ManualClock clock_;
  platform::Metrics metrics_;
  platform::Log log_;
  webhook::Admission admission_;
  webhook::TlsServer server_;
  int port_ = 0;
};

}  // namespace sluice::test
