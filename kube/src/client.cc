#include "sluice/kube/client.h"

#include <algorithm>
#include <random>
#include <thread>

#include <fmt/format.h>

#include "sluice/platform/guarded.h"

#include "http_transport.h"
#include "request_path.h"
#include "response.h"

namespace sluice::kube {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

std::string Dump(const Json& value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string Describe(Verb verb, const ResourceType& type, const ObjectKey& key) {
  const std::string resource =
      type.group.empty() ? type.plural : fmt::format("{}.{}", type.plural, type.group);
  const std::string name = key.ToString();
  return fmt::format("{} {}{}{}", VerbName(verb), resource, name.empty() ? "" : " ", name);
}

struct Call {
  Verb verb;
  const ResourceType& type;
  ObjectKey key;
  HttpRequest http;

  [[nodiscard]] std::string What() const { return Describe(verb, type, key); }
};

class HttpCluster final : public Cluster {
 public:
  HttpCluster(std::unique_ptr<HttpTransport> transport, ClientOptions options,
              platform::Metrics& metrics)
      : transport_(std::move(transport)),
        options_(std::move(options)),
        metrics_(metrics),
        random_(std::minstd_rand(std::random_device{}())) {}

  Result<Json> Get(const ResourceType& type, const ObjectKey& key) override {
    return CallForObject(Verb::kGet, type, key, {.method = "GET"});
  }

  Result<ObjectList> List(const ResourceType& type, const ListOptions& options) override;

  Result<Json> Create(const ResourceType& type, const Json& object) override {
    const ObjectKey key = KeyOf(object);
    Call call{.verb = Verb::kCreate, .type = type, .key = key, .http = {.method = "POST"}};
    SLUICE_TRY(path, CollectionPath(type, key.ns), call.What());
    call.http.target = path + Query({{"fieldManager", options_.field_manager}});
    call.http.body = Dump(object);
    call.http.content_type = "application/json";
    return ObjectOf(call);
  }

  Result<Json> Replace(const ResourceType& type, const Json& object) override {
    return CallForObject(Verb::kReplace, type, KeyOf(object),
                         {.method = "PUT",
                          .target = Query({{"fieldManager", options_.field_manager}}),
                          .body = Dump(object),
                          .content_type = "application/json"});
  }

  Result<Json> Apply(const ResourceType& type, const Json& object) override {
    return ApplyTo(type, object, "");
  }

  Result<Json> ApplyStatus(const ResourceType& type, const Json& object) override {
    return ApplyTo(type, object, "status");
  }

  Result<Json> MergePatch(const ResourceType& type, const ObjectKey& key, const Json& patch,
                          const std::string& subresource) override {
    return CallForObject(Verb::kPatch, type, key,
                         {.method = "PATCH",
                          .target = Query({{"fieldManager", options_.field_manager}}),
                          .body = Dump(patch),
                          .content_type = "application/merge-patch+json"},
                         subresource);
  }

  Status Delete(const ResourceType& type, const ObjectKey& key,
                const DeleteOptions& options) override {
    Json body = {{"apiVersion", "v1"},
                 {"kind", "DeleteOptions"},
                 {"propagationPolicy", options.propagation}};
    if (!options.uid.empty()) body["preconditions"] = {{"uid", options.uid}};
    auto deleted =
        CallForObject(Verb::kDelete, type, key,
                      {.method = "DELETE", .body = Dump(body), .content_type = "application/json"});
    if (!deleted) return Fail(deleted.error());
    return Ok();
  }

  Status Watch(const ResourceType& type, const ListOptions& options,
               const std::string& resource_version, const std::stop_token& stop,
               const std::function<void(WatchEvent)>& on_event) override;

 private:
  // `http.target` holds the query; the path is put in front of it.
  Result<Json> CallForObject(Verb verb, const ResourceType& type, const ObjectKey& key,
                             HttpRequest http, const std::string& subresource = "") {
    Call call{.verb = verb, .type = type, .key = key, .http = std::move(http)};
    SLUICE_TRY(path, ObjectPath(type, key, subresource), call.What());
    call.http.target = path + call.http.target;
    return ObjectOf(call);
  }

  Result<Json> ApplyTo(const ResourceType& type, const Json& object,
                       const std::string& subresource) {
    return CallForObject(
        Verb::kApply, type, KeyOf(object),
        {.method = "PATCH",
         .target = Query({{"fieldManager", options_.field_manager}, {"force", "true"}}),
         .body = Dump(object),
         .content_type = "application/apply-patch+yaml"},
        subresource);
  }

  Result<Json> ObjectOf(const Call& call) {
    auto body = Send(call);
    if (!body) return Fail(body.error());
    return ParseObject(*body, call.What());
  }

  // The body of a 2xx answer, after as many attempts as are safe.
  Result<std::string> Send(const Call& call);
  Result<std::string> Attempt(const Call& call, steady_clock::time_point deadline,
                              std::string& retry_after);
  // How long to wait before attempt number `next`; nothing: do not repeat.
  std::optional<milliseconds> RetryDelay(const Call& call, const Error& error, unsigned next,
                                         const std::string& retry_after);
  void Count(const Call& call, const std::string& outcome, steady_clock::time_point begun);

  std::unique_ptr<HttpTransport> transport_;
  const ClientOptions options_;
  platform::Metrics& metrics_;
  platform::Guarded<std::minstd_rand> random_;
};

Result<std::string> HttpCluster::Send(const Call& call) {
  const auto deadline = steady_clock::now() + options_.deadline;
  for (unsigned attempt = 1;; ++attempt) {
    std::string retry_after;
    auto body = Attempt(call, deadline, retry_after);
    if (body) return body;
    const auto delay = RetryDelay(call, body.error(), attempt, retry_after);
    if (!delay || steady_clock::now() + *delay >= deadline) return body;
    metrics_
        .AddCounter("sluice_kube_retries_total", "API requests repeated",
                    {{"verb", std::string(VerbName(call.verb))}})
        .Add();
    std::this_thread::sleep_for(*delay);
  }
}

Result<std::string> HttpCluster::Attempt(const Call& call, steady_clock::time_point deadline,
                                         std::string& retry_after) {
  const auto begun = steady_clock::now();
  auto response = transport_->Exchange(call.http, deadline);
  if (!response) {
    Count(call, std::string(CodeName(response.error().code)), begun);
    return Fail(response.error().Wrap(call.What()));
  }
  Count(call, std::to_string(response->status), begun);
  if (response->status >= 200 && response->status < 300) return std::move(response->body);
  retry_after = response->retry_after;
  return Fail(ErrorFromResponse(call.verb, response->status, response->body, call.What()));
}

std::optional<milliseconds> HttpCluster::RetryDelay(const Call& call, const Error& error,
                                                    unsigned next, const std::string& retry_after) {
  if (next >= options_.max_attempts) return {};
  const auto base = options_.retry_base * (1U << std::min(next - 1, 10U));
  const auto jitter = milliseconds(random_.With([&](std::minstd_rand& random) {
    return std::uniform_int_distribution<milliseconds::rep>(base.count() / 2, base.count())(random);
  }));
  // Retry-After means that the server did not begin with the request: any verb may be repeated.
  if (const auto asked = RetryAfter(retry_after); asked && error.code == Code::kUnavailable) {
    return *asked + jitter;
  }
  const bool safe = call.verb == Verb::kGet || call.verb == Verb::kList;
  if (!safe || error.code != Code::kUnavailable) return {};
  return jitter;
}

void HttpCluster::Count(const Call& call, const std::string& outcome,
                        steady_clock::time_point begun) {
  const std::string verb(VerbName(call.verb));
  metrics_
      .AddCounter("sluice_kube_requests_total", "Requests to the Kubernetes API",
                  {{"verb", verb}, {"resource", call.type.plural}, {"code", outcome}})
      .Add();
  metrics_
      .AddHistogram("sluice_kube_request_seconds", "Time until the API server had answered",
                    platform::LatencyBuckets(), {{"verb", verb}})
      .Observe(std::chrono::duration<double>(steady_clock::now() - begun).count());
}

Result<ObjectList> HttpCluster::List(const ResourceType& type, const ListOptions& options) {
  Call call{.verb = Verb::kList, .type = type, .key = {options.ns, ""}, .http = {.method = "GET"}};
  SLUICE_TRY(path, CollectionPath(type, options.ns), call.What());
  ObjectList all;
  std::string continue_token;
  do {
    call.http.target = path + Query({{"limit", std::to_string(options_.page_size)},
                                     {"continue", continue_token},
                                     {"labelSelector", options.label_selector},
                                     {"fieldSelector", options.field_selector}});
    auto body = Send(call);
    if (!body) return Fail(body.error());
    auto page = ParseList(type, *body, call.What());
    if (!page) return Fail(page.error());
    std::ranges::move(page->list.items, std::back_inserter(all.items));
    all.resource_version = page->list.resource_version;
    if (page->continue_token == continue_token && !continue_token.empty()) {
      return Fail(Code::kUnavailable, call.What() + ": the server repeats a page");
    }
    continue_token = page->continue_token;
  } while (!continue_token.empty());
  return all;
}

Status HttpCluster::Watch(const ResourceType& type, const ListOptions& options,
                          const std::string& resource_version, const std::stop_token& stop,
                          const std::function<void(WatchEvent)>& on_event) {
  Call call{.verb = Verb::kWatch, .type = type, .key = {options.ns, ""}, .http = {.method = "GET"}};
  SLUICE_TRY(path, CollectionPath(type, options.ns), call.What());
  call.http.target =
      path + Query({{"watch", "1"},
                    {"allowWatchBookmarks", "true"},
                    {"resourceVersion", resource_version},
                    {"timeoutSeconds", std::to_string(options_.watch_timeout.count())},
                    {"labelSelector", options.label_selector},
                    {"fieldSelector", options.field_selector}});
  const std::string what = call.What();
  LineBuffer lines(options_.max_event_bytes);
  Status failed = Ok();
  const auto begun = steady_clock::now();
  auto response = transport_->Stream(call.http, stop, [&](std::string_view data) {
    failed = lines.Append(data, [&](std::string_view line) -> Status {
      auto event = ParseWatchLine(line, what);
      if (!event) return Fail(event.error());
      on_event(std::move(*event));
      return Ok();
    });
    return failed.has_value();
  });
  if (!failed) return failed;
  if (!response) {
    Count(call, std::string(CodeName(response.error().code)), begun);
    return Fail(response.error().Wrap(what));
  }
  Count(call, std::to_string(response->status), begun);
  if (response->status == 0 || response->status == 200) return Ok();
  return Fail(ErrorFromResponse(call.verb, response->status, response->body, what));
}

}  // namespace

Result<std::unique_ptr<Cluster>> Connect(Config config, ClientOptions options,
                                         platform::Metrics& metrics) {
  SLUICE_TRY(transport, HttpTransport::Create(std::move(config), options), "Kubernetes API");
  return std::make_unique<HttpCluster>(std::move(transport), std::move(options), metrics);
}

}  // namespace sluice::kube
