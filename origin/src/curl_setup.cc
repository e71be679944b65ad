#include "curl_setup.h"

#include <curl/curl.h>

namespace sluice::origin {

// libcurl's initialisation is thread-safe, so is a function's static.
bool InitializeCurl() {
  static const CURLcode kResult = curl_global_init(CURL_GLOBAL_DEFAULT);
  return kResult == CURLE_OK;
}

}  // namespace sluice::origin
