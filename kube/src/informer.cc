#include "sluice/kube/informer.h"

#include <algorithm>
#include <condition_variable>
#include <map>
#include <mutex>
#include <random>
#include <stop_token>
#include <thread>

#include <fmt/format.h>

#include "sluice/platform/guarded.h"

namespace sluice::kube {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
using Objects = std::map<ObjectKey, std::shared_ptr<const Json>>;

// A watch that ends sooner than this without a single event is treated as a failure, so that a
// server that closes at once is not asked in a tight loop.
constexpr std::chrono::seconds kShortestWatch{1};

struct Store {
  Objects objects;
  bool synced = false;
  std::string problem = "not listed yet";
};

std::string NameOf(const ResourceType& type) {
  return type.group.empty() ? type.plural : fmt::format("{}.{}", type.plural, type.group);
}

// Waits between attempts: doubled per failure, half of it random.
class Backoff {
 public:
  explicit Backoff(const InformerOptions& options)
      : options_(options), random_(std::random_device{}()) {}
  void Reset() { failures_ = 0; }
  milliseconds Next() {
    const auto full =
        std::min(options_.backoff_max, options_.backoff_base * (1U << std::min(failures_++, 10U)));
    return milliseconds(
        std::uniform_int_distribution<milliseconds::rep>(full.count() / 2, full.count())(random_));
  }

 private:
  const InformerOptions& options_;
  std::minstd_rand random_;
  unsigned failures_ = 0;
};

}  // namespace

void DropBookkeeping(Json& object) {
  const auto metadata = object.find("metadata");
  if (metadata == object.end() || !metadata->is_object()) return;
  metadata->erase("managedFields");
  const auto annotations = metadata->find("annotations");
  if (annotations != metadata->end() && annotations->is_object()) {
    annotations->erase("kubectl.kubernetes.io/last-applied-configuration");
  }
}

// One resource: its filter, what is known, and the thread that keeps it current.
class Informer {
 public:
  Informer(Cluster& cluster, InformedResource resource, const InformerOptions& options,
           const platform::Log& log, platform::Metrics& metrics)
      : cluster_(cluster),
        resource_(std::move(resource)),
        options_(options),
        log_(log),
        relists_(metrics.AddCounter("sluice_informer_lists_total", "Full lists of a resource",
                                    {{"resource", NameOf(resource_.type)}})),
        failures_(metrics.AddCounter("sluice_informer_failures_total", "Failed lists and watches",
                                     {{"resource", NameOf(resource_.type)}})),
        object_count_(metrics.AddGauge("sluice_informer_objects", "Objects known locally",
                                       {{"resource", NameOf(resource_.type)}})),
        current_at_(metrics.AddGauge("sluice_informer_current_timestamp_seconds",
                                     "When the API server last said how the resource stands",
                                     {{"resource", NameOf(resource_.type)}})) {
    if (!resource_.transform) resource_.transform = DropBookkeeping;
  }

  void Run(const std::stop_token& stop, const std::function<void(const Change&)>& on_change);

  [[nodiscard]] const ResourceType& Type() const { return resource_.type; }
  [[nodiscard]] bool Synced() const {
    return store_.With([](const Store& store) { return store.synced; });
  }
  [[nodiscard]] std::string Problem() const {
    return store_.With([](const Store& store) { return store.problem; });
  }
  bool WaitSynced(steady_clock::time_point deadline) {
    return store_.WaitUntil(deadline, [](const Store& store) { return store.synced; });
  }
  [[nodiscard]] std::shared_ptr<const Json> Find(const ObjectKey& key) const {
    return store_.With([&](const Store& store) -> std::shared_ptr<const Json> {
      const auto it = store.objects.find(key);
      return it == store.objects.end() ? nullptr : it->second;
    });
  }
  [[nodiscard]] std::vector<std::shared_ptr<const Json>> List(const std::string& ns) const {
    return store_.With([&](const Store& store) {
      std::vector<std::shared_ptr<const Json>> found;
      auto it = ns.empty() ? store.objects.begin() : store.objects.lower_bound({ns, ""});
      for (; it != store.objects.end() && (ns.empty() || it->first.ns == ns); ++it) {
        found.push_back(it->second);
      }
      return found;
    });
  }

 private:
  // Lists and replaces all; the version to watch from.
  Result<std::string> Relist(const std::function<void(const Change&)>& on_change);
  void Take(WatchEvent event, const std::function<void(const Change&)>& on_change);
  // Puts the object (null: removes it) and tells the handler.
  void Put(const ObjectKey& key, std::shared_ptr<const Json> after,
           const std::function<void(const Change&)>& on_change);
  void MarkSynced();
  // A list, an event or a bookmark has come.
  void MarkCurrent() {
    current_at_.Set(static_cast<double>(
        std::chrono::system_clock::to_time_t(std::chrono::system_clock::now())));
  }
  void Sleep(const std::stop_token& stop, milliseconds duration);
  milliseconds AfterFailure(const Error& error, Backoff& backoff);

  Cluster& cluster_;
  InformedResource resource_;
  const InformerOptions& options_;
  const platform::Log& log_;
  platform::Counter& relists_;
  platform::Counter& failures_;
  platform::Gauge& object_count_;
  platform::Gauge& current_at_;
  platform::Guarded<Store> store_;
  std::mutex sleep_mutex_;
  std::condition_variable_any sleep_;
};

void Informer::Sleep(const std::stop_token& stop, milliseconds duration) {
  std::unique_lock lock(sleep_mutex_);
  sleep_.wait_for(lock, stop, duration, [] { return false; });
}

void Informer::MarkSynced() {
  store_.With([](Store& store) {
    store.synced = true;
    store.problem.clear();
  });
  store_.Notify();
}

void Informer::Put(const ObjectKey& key, std::shared_ptr<const Json> after,
                   const std::function<void(const Change&)>& on_change) {
  std::size_t count = 0;
  auto before = store_.With([&](Store& store) {
    std::shared_ptr<const Json> old;
    const auto it = store.objects.find(key);
    if (it != store.objects.end()) old = it->second;
    if (after) {
      store.objects[key] = after;
    } else {
      store.objects.erase(key);
    }
    count = store.objects.size();
    return old;
  });
  object_count_.Set(static_cast<double>(count));
  if (on_change && (before || after)) {
    on_change({.type = resource_.type, .key = key, .before = before, .after = after});
  }
}

Result<std::string> Informer::Relist(const std::function<void(const Change&)>& on_change) {
  auto listed = cluster_.List(resource_.type, resource_.filter);
  if (!listed) return Fail(listed.error());
  relists_.Add();
  std::map<ObjectKey, std::shared_ptr<const Json>> fresh;
  for (Json& item : listed->items) {
    resource_.transform(item);
    ObjectKey key = KeyOf(item);
    fresh[std::move(key)] = std::make_shared<const Json>(std::move(item));
  }
  const Objects known = store_.With([](const Store& store) { return store.objects; });
  for (const auto& [key, old] : known) {
    if (!fresh.contains(key)) Put(key, nullptr, on_change);
  }
  for (const auto& [key, object] : fresh) {
    const auto it = known.find(key);
    const bool same = it != known.end() && StringAt(*it->second, "/metadata/resourceVersion") ==
                                               StringAt(*object, "/metadata/resourceVersion");
    if (!same) Put(key, object, on_change);
  }
  MarkSynced();
  MarkCurrent();
  return listed->resource_version;
}

void Informer::Take(WatchEvent event, const std::function<void(const Change&)>& on_change) {
  const ObjectKey key = KeyOf(event.object);
  if (event.type == WatchEvent::Type::kDeleted) {
    Put(key, nullptr, on_change);
    return;
  }
  resource_.transform(event.object);
  Put(key, std::make_shared<const Json>(std::move(event.object)), on_change);
}

milliseconds Informer::AfterFailure(const Error& error, Backoff& backoff) {
  if (error.code == Code::kNotFound && resource_.optional) {
    MarkSynced();
    return options_.missing_resource_retry;
  }
  failures_.Add();
  store_.With([&](Store& store) {
    if (!store.synced) store.problem = error.message;
  });
  const auto delay = backoff.Next();
  log_.Warn(
      "informer lost the API server",
      {{"resource", NameOf(resource_.type)}, {"error", error.message}, {"retryMs", delay.count()}});
  return delay;
}

void Informer::Run(const std::stop_token& stop,
                   const std::function<void(const Change&)>& on_change) {
  Backoff backoff(options_);
  std::string version;
  while (!stop.stop_requested()) {
    if (version.empty()) {
      auto listed = Relist(on_change);
      if (!listed) {
        Sleep(stop, AfterFailure(listed.error(), backoff));
        continue;
      }
      version = *listed;
    }
    const auto begun = steady_clock::now();
    bool got_event = false;
    Status watched =
        cluster_.Watch(resource_.type, resource_.filter, version, stop, [&](WatchEvent event) {
          got_event = true;
          MarkCurrent();
          version = StringAt(event.object, "/metadata/resourceVersion", version);
          if (event.type != WatchEvent::Type::kBookmark) Take(std::move(event), on_change);
        });
    if (stop.stop_requested()) return;
    if (watched) MarkCurrent();  // the server ended the stream by itself: nothing was missed
    if (watched && (got_event || steady_clock::now() - begun >= kShortestWatch)) {
      backoff.Reset();
      continue;
    }
    if (watched) {
      Sleep(stop, backoff.Next());
    } else if (watched.error().code == Code::kConflict) {
      // Expired (410): what we know is too old to go on from.
      version.clear();
      Sleep(stop, backoff.Next());
    } else {
      if (watched.error().code == Code::kNotFound) version.clear();
      if (got_event) backoff.Reset();
      Sleep(stop, AfterFailure(watched.error(), backoff));
    }
  }
}

struct InformerSet::Impl {
  InformerOptions options;
  platform::Log log;
  std::function<void(const Change&)> on_change;
  std::map<ResourceType, std::unique_ptr<Informer>> informers;
  std::vector<std::jthread> threads;  // last: joined before what they use goes
};

InformerSet::InformerSet(Cluster& cluster, std::vector<InformedResource> resources,
                         InformerOptions options, platform::Log log, platform::Metrics& metrics)
    : impl_(new Impl{.options = options,
                     .log = std::move(log),
                     .on_change = {},
                     .informers = {},
                     .threads = {}}) {
  for (auto& resource : resources) {
    const ResourceType type = resource.type;
    impl_->informers.try_emplace(
        type, std::make_unique<Informer>(cluster, std::move(resource), impl_->options, impl_->log,
                                         metrics));
  }
}

InformerSet::~InformerSet() {
  for (auto& thread : impl_->threads) thread.request_stop();
}

void InformerSet::OnChange(std::function<void(const Change&)> handler) {
  impl_->on_change = std::move(handler);
}

void InformerSet::Start() {
  for (auto& [type, informer] : impl_->informers) {
    impl_->threads.emplace_back([this, target = informer.get()](const std::stop_token& stop) {
      target->Run(stop, impl_->on_change);
    });
  }
}

bool InformerSet::HasSynced() const {
  return std::ranges::all_of(impl_->informers,
                             [](const auto& entry) { return entry.second->Synced(); });
}

bool InformerSet::HasSynced(const ResourceType& type) const {
  const auto it = impl_->informers.find(type);
  return it != impl_->informers.end() && it->second->Synced();
}

std::string InformerSet::NotSyncedReason() const {
  for (const auto& [type, informer] : impl_->informers) {
    if (!informer->Synced()) return fmt::format("{}: {}", NameOf(type), informer->Problem());
  }
  return "";
}

bool InformerSet::WaitSynced(steady_clock::time_point deadline) const {
  return std::ranges::all_of(impl_->informers,
                             [&](const auto& entry) { return entry.second->WaitSynced(deadline); });
}

Result<std::shared_ptr<const Json>> InformerSet::Find(const ResourceType& type,
                                                      const ObjectKey& key) const {
  const auto it = impl_->informers.find(type);
  auto object = it == impl_->informers.end() ? nullptr : it->second->Find(key);
  if (!object) {
    return Fail(Code::kNotFound, fmt::format("{} {} not found", NameOf(type), key.ToString()));
  }
  return object;
}

std::vector<std::shared_ptr<const Json>> InformerSet::List(const ResourceType& type,
                                                           const std::string& ns) const {
  const auto it = impl_->informers.find(type);
  return it == impl_->informers.end() ? std::vector<std::shared_ptr<const Json>>{}
                                      : it->second->List(ns);
}

}  // namespace sluice::kube
