#include "session.h"

#include <malloc.h>
#include <sys/vfs.h>

#include <algorithm>
#include <random>
#include <thread>

#include <fmt/format.h>

#include "sluice/platform/memory_limit.h"
#include "sluice/platform/mount.h"
#include "sluice/platform/pause.h"

#include "config_file.h"
#include "pins.h"
#include "pool_memory.h"

namespace sluice::fuse_client {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr milliseconds kFirstRetry{200};
constexpr milliseconds kLastRetry{10'000};
constexpr milliseconds kConnectPatience{2'000};
constexpr milliseconds kDrain{2'000};
// Between listings because of changed objects: a second, and a multiple of the time that one takes,
// so that an object that is listed but cannot be read does not keep the origin busy.
constexpr milliseconds kRefreshSpacing{1'000};
constexpr int kRefreshSpacingShare = 4;
constexpr std::size_t kInvalidationBatch = 1'000;
constexpr unsigned kReadAheadKilobytes = 8192;
constexpr long kOverlayMagic = 0x794c7630;

// Doubles up to ten seconds, less a random part.
milliseconds RetryDelay(unsigned attempt) {
  const auto full = std::min(kLastRetry, kFirstRetry * (1U << std::min(attempt, 6U)));
  std::minstd_rand random{std::random_device{}()};
  return milliseconds(
      std::uniform_int_distribution<std::int64_t>(full.count() / 2, full.count())(random));
}

bool MayHealByItself(Code code) {
  return code == Code::kUnavailable || code == Code::kDeadlineExceeded || code == Code::kConflict;
}

// 0 where nothing limits the memory: then the kernel writes back when it sees fit.
std::uint64_t UnsyncedBytes(std::uint64_t memory_budget) {
  const auto limit = platform::MemoryLimit();
  return limit ? cache::UnsyncedBytesUnder(*limit, memory_budget) : 0;
}

// Files of up to 1 MiB, which may take a quarter of the memory together.
std::uint32_t FilesAhead(std::uint64_t memory_budget) {
  constexpr std::uint64_t kMost = 64;
  return static_cast<std::uint32_t>(std::min(memory_budget >> 22U, kMost));
}

unsigned WorkerCount() { return std::clamp(std::thread::hardware_concurrency(), 2U, 8U); }

}  // namespace

Session::Session(const Options& options, platform::Metrics& metrics, const platform::Log& log)
    : options_(options),
      metrics_(metrics),
      log_(log),
      takeovers_(metrics.AddCounter("sluice_fuse_takeovers_total",
                                    "Mounts taken over from a predecessor")),
      refreshes_(metrics.AddCounter("sluice_fuse_refreshes_total", "Listings of the origin")),
      refresh_failures_(
          metrics.AddCounter("sluice_fuse_refresh_failures_total", "Listings that failed")),
      ready_(metrics.AddGauge("sluice_fuse_ready", "1 while the file system answers")),
      index_bytes_(metrics.AddGauge("sluice_fuse_index_bytes", "Memory of the index")) {}

Session::~Session() { End(); }

std::string Session::NotReady() const {
  return not_ready_.With([](const std::string& reason) { return reason; });
}

void Session::NoteFailure(const Error& error) {
  ready_.Set(0);
  not_ready_.With([&](std::string& reason) { reason = error.message; });
  if (client_ != nullptr) (void)client_->ReportFailure(error);  // or its reconnect tells later
  if (error.message != last_failure_.message) {
    log_.Error("not ready; trying again", {{"error", error.message}});
  }
  last_failure_ = error;
}

void Session::NoteReady() {
  ready_.Set(1);
  not_ready_.With([](std::string& reason) { reason.clear(); });
  if (client_ != nullptr) (void)client_->ReportReady();
  log_.Info("ready", {{"origin", dataset_->Describe()},
                      {"objects", index_->Totals().files},
                      {"takeover", takeovers_.Value() != 0}});
}

// Configuration and origins: again from the files, which may have been corrected meanwhile.
Status Session::Prepare() {
  SLUICE_TRY(config, LoadConfig(options_), "start");
  IndexMemory memory(config.cache.memory_budget_bytes - PoolMemory(config));
  SLUICE_TRY(dataset, Dataset::Make(config, metrics_, log_), "start");
  config_ = std::move(config);
  index_memory_ = memory;
  dataset_ = std::move(dataset);
  return Ok();
}

Status Session::LoadOrBuildIndex() {
  const std::uint64_t config = dataset_->Fingerprint();
  index_ = state_->LoadIndex(config);
  from_saved_index_ = index_ != nullptr;
  if (index_ != nullptr) return Ok();
  SLUICE_TRY(index, BuildIndex(), "start");
  index_ = std::move(index);
  return Ok();
}

// Lists the origin; the index now served when nothing has changed.
Result<std::shared_ptr<const Index>> Session::BuildIndex() {
  const auto build = [&]() -> Result<std::shared_ptr<const Index>> {
    const auto draft = dataset_->List(index_memory_->ListingLimit());
    if (!draft) return Fail(draft.error());
    SLUICE_CHECK(index_memory_->Admit({.listing_bytes = draft->memory(),
                                       .index_bytes = draft->bytes(),
                                       .objects = draft->objects()}),
                 fmt::format("list {}", dataset_->Describe()));
    return state_->StoreIndex(*draft, dataset_->Fingerprint());
  };
  auto index = build();
  // A large listing leaves much behind that no later allocation is small enough to need.
  ::malloc_trim(0);
  return index;
}

// What is written and not at the origin yet has three eighths of what the index leaves.
std::uint64_t Session::WritingBudget(std::uint64_t buffers) const {
  return dataset_->IsWritable() ? buffers / 8 * 3 : 0;
}

// What the index leaves of the memory budget for the data buffers.
std::uint64_t Session::ReaderBudget() {
  return index_memory_->SetAside({.listing_bytes = state_->Header().listing_bytes,
                                  .index_bytes = index_->Bytes().size(),
                                  .objects = index_->Totals().files});
}

Status Session::StartFromBroker(const std::stop_token& stop) {
  for (unsigned attempt = 0; !stop.stop_requested();) {
    auto client = broker::Client::Connect(options_.broker_socket, Clock::now() + kConnectPatience);
    if (client) {
      client_ = std::move(*client);
      break;
    }
    NoteFailure(client.error());
    if (!platform::Pause(stop, RetryDelay(attempt++))) break;
  }
  if (stop.stop_requested()) return Ok();
  broker::Bundle bundle = client_->TakeBundle();
  device_ = std::move(bundle.device);
  auto state = StateFile::Attach(std::move(bundle.state));
  if (!state) {
    NoteFailure(state.error());
    return Fail(state.error());
  }
  state_ = std::move(*state);
  for (unsigned attempt = 0; !stop.stop_requested();) {
    Status prepared = Prepare();
    if (prepared) prepared = LoadOrBuildIndex();
    if (prepared) break;
    NoteFailure(prepared.error());
    (void)platform::Pause(stop, RetryDelay(attempt++));
  }
  return Ok();
}

Status Session::StartByMounting(const std::stop_token& stop) {
  const auto deadline = Clock::now() + options_.start_timeout;
  const bool forever = options_.start_timeout == seconds(0);
  SLUICE_TRY(state, StateFile::Create(), "start");
  state_ = std::move(state);
  for (unsigned attempt = 0; !stop.stop_requested();) {
    Status prepared = Prepare();
    if (prepared) prepared = LoadOrBuildIndex();
    if (prepared) break;
    NoteFailure(prepared.error());
    const auto delay = RetryDelay(attempt++);
    if (!forever && (!MayHealByItself(prepared.error().code) || Clock::now() + delay > deadline)) {
      return prepared;
    }
    (void)platform::Pause(stop, delay);
  }
  if (stop.stop_requested()) return Ok();
  // What a killed predecessor left there is dead.
  const auto present = platform::FindMount(options_.mount_path);
  if (present && present->fs_type == "fuse.sluice") {
    SLUICE_CHECK(platform::UnmountAll(options_.mount_path, /*detach=*/true), "start");
  }
  SLUICE_CHECK(platform::MakeDirectories("/", options_.mount_path, 0755), "start");
  const std::lock_guard lock(serving_mutex_);
  if (serving_.ended) return Ok();
  SLUICE_TRY(device,
             platform::MountFuse(options_.mount_path, {.source = dataset_->Describe(),
                                                       .read_only = !dataset_->IsWritable()}),
             "start");
  device_ = std::move(device);
  serving_.mounted = true;
  return Ok();
}

InitPolicy Session::Policy() const {
  InitPolicy policy;
  policy.passthrough = options_.passthrough && !config_->cache.directory.empty();
  policy.writing = dataset_->IsWritable();
  struct statfs info = {};
  if (::statfs(config_->cache.directory.c_str(), &info) == 0 && info.f_type == kOverlayMagic) {
    policy.max_stack_depth = 2;
  }
  return policy;
}

Status Session::Run(const std::stop_token& stop, const std::function<void()>& on_end) {
  SLUICE_CHECK(options_.mount_path.empty() ? StartFromBroker(stop) : StartByMounting(stop),
               options_.mount_path.empty() ? options_.broker_socket : options_.mount_path);
  if (stop.stop_requested()) return Ok();
  if (state_->IsTakeover()) {
    takeovers_.Add();
    ++state_->Header().takeovers;
  }
  const CacheConfig& cache = config_->cache;
  const std::uint64_t buffers = ReaderBudget();
  const std::uint64_t for_writing = WritingBudget(buffers);
  const std::uint64_t budget = buffers - for_writing;
  reader_ = cache::Reader::Start({.cache_directory = cache.directory,
                                  .quota_bytes = cache.quota_bytes,
                                  .pinned = Pinned(),
                                  .unsynced_bytes = UnsyncedBytes(cache.memory_budget_bytes),
                                  .memory_budget_bytes = budget},
                                 metrics_, log_);
  opens_ = std::make_unique<OpenTable>(*state_);
  uploads_ = std::make_unique<UploadJournal>(*state_);
  channel_ = std::make_unique<DeviceChannel>(device_.Get(), *state_, Policy(), metrics_, log_);
  backing_files_ =
      std::make_unique<KernelBackingFiles>(device_.Get(), client_.get(), *channel_, log_);
  dataset_->UsePool(*config_, metrics_, log_);
  FileSystemOptions files;
  files.mounts = dataset_->Sources();
  files.backing_files = options_.passthrough ? backing_files_.get() : nullptr;
  files.files_ahead = FilesAhead(budget);
  files.on_stale = [this] { stale_.Ring(); };
  files_ = std::make_unique<FileSystem>(std::move(files), *reader_, *opens_, metrics_);
  Publish(0);
  if (dataset_->IsWritable()) {
    writing_ = std::make_unique<Writing>(
        WritingOptions{.mounts = dataset_->Writable(),
                       .memory_bytes = for_writing,
                       // So that the index, which outlives this process, has it soon.
                       .on_made = [this] { stale_.Ring(); }},
        *files_, *uploads_, metrics_, log_);
  }
  {
    const std::lock_guard lock(serving_mutex_);
    if (serving_.ended) return Ok();
    const BindingOptions binding = {
        .workers = WorkerCount(),
        .entry_timeout = options_.refresh == seconds(0) ? seconds(86'400) : options_.refresh,
        .appearance = config_->appearance,
        .writing = writing_.get()};
    serving_.binding = std::make_unique<Binding>(binding, *files_, *channel_, metrics_, log_);
    SLUICE_CHECK(serving_.binding->Start(on_end), "start");
  }
  if (const auto mount = platform::FindMount(options_.mount_path)) {
    // Best effort; the holder does it for a mount of its own.
    (void)platform::SetReadAhead(mount->major, mount->minor, kReadAheadKilobytes);
  }
  NoteReady();
  KeepFresh(stop);
  return Ok();
}

void Session::KeepFresh(const std::stop_token& stop) {
  const milliseconds period = options_.refresh == seconds(0) ? seconds(86'400) : options_.refresh;
  milliseconds wait = from_saved_index_ ? milliseconds(0) : period;  // a saved one may be old
  while (!stop.stop_requested()) {
    // Also without time to sleep: the listing answers a ring that came before.
    if (!stale_.Sleep(stop, std::max(wait, milliseconds(0)))) return;
    const auto start = Clock::now();
    const Status refreshed = Refresh();
    refreshes_.Add();
    if (!refreshed) {
      refresh_failures_.Add();
      log_.Warn("listing the origin failed; serving the last one",
                {{"error", refreshed.error().message}});
    }
    const auto took = std::chrono::duration_cast<milliseconds>(Clock::now() - start);
    const auto rest = std::clamp<milliseconds>(took * kRefreshSpacingShare, kRefreshSpacing,
                                               std::max<milliseconds>(period, kRefreshSpacing));
    if (!platform::Pause(stop, rest)) return;
    wait = period - took - rest;
  }
}

Status Session::Refresh() {
  const std::uint64_t mark = files_->New().Mark();
  SLUICE_TRY(index, BuildIndex(), "refresh");
  const bool same = index == index_;
  index_ = std::move(index);
  if (!same && !config_->cache.pinned.empty()) reader_->SetPinned(Pinned());
  const auto before = Publish(mark);
  if (same) return Ok();
  const std::size_t changes = Invalidate(*before, *index_);
  log_.Info("the origin has changed", {{"objects", index_->Totals().files}, {"changes", changes}});
  return Ok();
}

cache::PinSet Session::Pinned() const {
  return PinnedObjects(*index_, dataset_->Sources(), config_->cache.pinned);
}

// `mark`: of what this client had made when the listing began.
std::shared_ptr<const Index> Session::Publish(std::uint64_t mark) {
  index_bytes_.Set(static_cast<double>(index_->Bytes().size()));
  return files_->Publish(index_, mark);
}

// Tells the kernel what has changed, some at a time: End need not wait for all of a large dataset.
// Returns how many changes there are.
std::size_t Session::Invalidate(const Index& before, const Index& after) {
  std::size_t count = 0;
  std::vector<IndexChange> batch;
  const auto flush = [&] {
    if (ending_) return batch.clear();  // or End might wait for its lock till all is told
    const std::lock_guard lock(serving_mutex_);
    if (!serving_.ended) serving_.binding->Invalidate(batch);
    batch.clear();
  };
  CompareIndexes(before, after, [&](IndexChange change) {
    ++count;
    batch.push_back(std::move(change));
    if (batch.size() == kInvalidationBatch) flush();
  });
  flush();
  return count;
}

void Session::End() {
  ending_ = true;
  const std::lock_guard lock(serving_mutex_);
  if (std::exchange(serving_.ended, true)) return;
  ready_.Set(0);
  if (serving_.mounted) {
    const Status unmounted = platform::UnmountAll(options_.mount_path, /*detach=*/true);
    if (!unmounted) log_.Error("not unmounted", {{"error", unmounted.error().message}});
  }
  if (serving_.binding == nullptr) return;  // Run has not come so far and still uses the rest
  serving_.binding->Stop(kDrain);
  if (writing_ != nullptr) writing_->Stop();
  // Its callbacks use the binding, which stays until they can't come any more.
  reader_.reset();
  serving_.binding.reset();
}

}  // namespace sluice::fuse_client
