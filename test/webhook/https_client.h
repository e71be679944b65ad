// Talks to the webhook as the API server does.
#pragma once

#include <memory>
#include <string>

#include <httplib.h>

#include "sluice/core/resource.h"

namespace sluice::test {

inline constexpr const char* kWebhookPath = "/mutate-fluid-io-v1alpha1-schedulepod";

// A client for 127.0.0.1:port that trusts any certificate.
std::unique_ptr<httplib::SSLClient> ConnectTo(int port);

// The patch of an AdmissionReview's response; an empty array when it has none.
Json PatchOf(const Json& review);

}  // namespace sluice::test
