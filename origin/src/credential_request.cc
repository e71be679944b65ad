#include "credential_request.h"

#include <algorithm>
#include <array>
#include <memory>

#include <curl/curl.h>
#include <fmt/format.h>

#include "curl_setup.h"

namespace sluice::origin {
namespace {

using std::chrono::milliseconds;

constexpr std::size_t kMaxCredentialAnswer = 64U << 10;
constexpr milliseconds kLongestQuestion{5'000};
constexpr milliseconds kLongestConnect{2'000};

struct QuestionDeleter {
  void operator()(CURL* easy) const { curl_easy_cleanup(easy); }
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using Question = std::unique_ptr<CURL, QuestionDeleter>;
using HeaderLines = std::unique_ptr<curl_slist, QuestionDeleter>;

struct Listener {
  std::string body;
  bool too_long = false;
  const std::stop_token* stop = nullptr;
};

std::size_t OnAnswerBytes(char* data, std::size_t size, std::size_t count, void* user) {
  auto& listener = *static_cast<Listener*>(user);
  listener.too_long = listener.body.size() + size * count > kMaxCredentialAnswer;
  if (listener.too_long) return 0;
  listener.body.append(data, size * count);
  return size * count;
}

int OnProgress(void* user, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  return static_cast<Listener*>(user)->stop->stop_requested() ? 1 : 0;
}

HeaderLines LinesOf(const CredentialRequest& request) {
  // Without the wait for "100 Continue".
  HeaderLines lines(curl_slist_append(nullptr, "Expect:"));
  for (const auto& [name, value] : request.headers) {
    curl_slist* grown = curl_slist_append(lines.get(), (name + ": " + value).c_str());
    if (grown == nullptr) return nullptr;
    (void)lines.release();
    lines.reset(grown);
  }
  return lines;
}

void Configure(CURL* easy, const CredentialRequest& request) {
  curl_easy_setopt(easy, CURLOPT_URL, request.url.c_str());
  curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
  curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
  curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  curl_easy_setopt(easy, CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);  // waits for no look-up of a name at the end
  curl_easy_setopt(easy, CURLOPT_NOPROGRESS, 0L);
  if (!request.ca_file.empty()) curl_easy_setopt(easy, CURLOPT_CAINFO, request.ca_file.c_str());
  if (request.route == CredentialRequest::Route::kDirect) {
    curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
  }
  const bool post = request.method == CredentialRequest::Method::kPostForm;
  if (request.method == CredentialRequest::Method::kPut || post) {
    // Without data of its own, a PUT is one of no bytes.
    const std::string& form = request.form.Reveal();
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(form.size()));
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, form.c_str());
    if (!post) curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, "PUT");
  }
}

Error ErrorOf(CURLcode code, const char* words, bool too_long) {
  const std::string detail = words[0] != '\0' ? words : curl_easy_strerror(code);
  if (too_long) {
    return {Code::kUnavailable,
            fmt::format("the answer has more than {} bytes", kMaxCredentialAnswer)};
  }
  switch (code) {
    case CURLE_OPERATION_TIMEDOUT:
      return {Code::kDeadlineExceeded, fmt::format("no answer in time ({})", detail)};
    case CURLE_ABORTED_BY_CALLBACK:
      return {Code::kUnavailable, "the client is ending"};
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
      return {Code::kPermissionDenied,
              fmt::format("its certificate is not trusted ({}): check what lies between; the CA of "
                          "an STS of your own (\"stsEndpoint\") is named in option \"caFile\"",
                          detail)};
    default:
      return {Code::kUnavailable, fmt::format("no answer ({})", detail)};
  }
}

}  // namespace

Result<CredentialAnswer> AskForCredentials(const CredentialRequest& request,
                                           std::chrono::steady_clock::time_point deadline,
                                           const std::stop_token& stop) {
  const auto left =
      std::chrono::duration_cast<milliseconds>(deadline - std::chrono::steady_clock::now());
  if (left <= milliseconds(0)) return Fail(Code::kDeadlineExceeded, "no answer in time");
  const Question easy(InitializeCurl() ? curl_easy_init() : nullptr);
  const HeaderLines lines = LinesOf(request);
  if (easy == nullptr || lines == nullptr) return Fail(Code::kInternal, "no memory for libcurl");

  std::array<char, CURL_ERROR_SIZE> words{};
  Listener listener{.body = {}, .too_long = false, .stop = &stop};
  Configure(easy.get(), request);
  curl_easy_setopt(easy.get(), CURLOPT_HTTPHEADER, lines.get());
  curl_easy_setopt(easy.get(), CURLOPT_CONNECTTIMEOUT_MS,
                   static_cast<long>(kLongestConnect.count()));
  curl_easy_setopt(easy.get(), CURLOPT_TIMEOUT_MS,
                   static_cast<long>(std::min(left, kLongestQuestion).count()));
  curl_easy_setopt(easy.get(), CURLOPT_ERRORBUFFER, words.data());
  curl_easy_setopt(easy.get(), CURLOPT_WRITEFUNCTION, &OnAnswerBytes);
  curl_easy_setopt(easy.get(), CURLOPT_WRITEDATA, &listener);
  curl_easy_setopt(easy.get(), CURLOPT_XFERINFOFUNCTION, &OnProgress);
  curl_easy_setopt(easy.get(), CURLOPT_XFERINFODATA, &listener);
  const CURLcode code = curl_easy_perform(easy.get());
  if (code != CURLE_OK) return Fail(ErrorOf(code, words.data(), listener.too_long));
  long status = 0;
  curl_easy_getinfo(easy.get(), CURLINFO_RESPONSE_CODE, &status);
  return CredentialAnswer{.status = static_cast<int>(status), .body = std::move(listener.body)};
}

Error JudgeCredentialStatus(int status, std::string_view fix) {
  if (status >= 500 || status == 408 || status == 429) {
    return {Code::kUnavailable, fmt::format("the server has failed (HTTP {})", status)};
  }
  return {Code::kPermissionDenied, fmt::format("{} (HTTP {})", fix, status)};
}

}  // namespace sluice::origin
