// One life of the client: from its configuration to the end of the mount.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>

#include "sluice/fuse_client/options.h"
#include "sluice/platform/metrics.h"

#include "backing_files.h"
#include "bell.h"
#include "binding.h"
#include "dataset.h"
#include "index_memory.h"
#include "upload_journal.h"
#include "writing.h"

namespace sluice::fuse_client {

// Run and End are called from two threads; NotReady from any.
class Session {
 public:
  Session(const Options& options, platform::Metrics& metrics, const platform::Log& log);
  ~Session();

  // Gets the origin's listing and the device, serves, and keeps the listing fresh until `stop`.
  // `on_end` is called when the connection has ended by itself. Fails when the client cannot start
  // within the options' limits.
  Status Run(const std::stop_token& stop, const std::function<void()>& on_end);
  // Unmounts what Run mounted and stops serving. Run returns soon after its `stop`, or is in a call
  // to the origin that has a deadline of its own.
  void End();

  // Empty when the file system answers, else why not.
  [[nodiscard]] std::string NotReady() const;

 private:
  Status StartFromBroker(const std::stop_token& stop);
  Status StartByMounting(const std::stop_token& stop);
  Status Prepare();
  Status LoadOrBuildIndex();
  Result<std::shared_ptr<const Index>> BuildIndex();
  std::uint64_t ReaderBudget();
  void KeepFresh(const std::stop_token& stop);
  Status Refresh();
  [[nodiscard]] cache::PinSet Pinned() const;
  std::shared_ptr<const Index> Publish(std::uint64_t mark);
  [[nodiscard]] std::uint64_t WritingBudget(std::uint64_t buffers) const;
  std::size_t Invalidate(const Index& before, const Index& after);
  void NoteFailure(const Error& error);
  void NoteReady();
  InitPolicy Policy() const;

  const Options& options_;
  platform::Metrics& metrics_;
  const platform::Log& log_;
  platform::Counter& takeovers_;
  platform::Counter& refreshes_;
  platform::Counter& refresh_failures_;
  platform::Gauge& ready_;
  platform::Guarded<std::string> not_ready_{"starting"};
  Bell stale_;  // rung when an object has changed at the origin
  Error last_failure_;
  platform::Gauge& index_bytes_;
  std::optional<FuseConfig> config_;
  std::optional<IndexMemory> index_memory_;
  bool from_saved_index_ = false;

  // Destroyed from the last to the first: each uses those before it.
  platform::UniqueFd device_;
  std::unique_ptr<broker::Client> client_;
  std::unique_ptr<StateFile> state_;
  std::unique_ptr<UploadJournal> uploads_;
  std::unique_ptr<Dataset> dataset_;
  std::shared_ptr<const Index> index_;
  std::unique_ptr<OpenTable> opens_;
  std::unique_ptr<DeviceChannel> channel_;
  std::unique_ptr<KernelBackingFiles> backing_files_;
  std::unique_ptr<FileSystem> files_;
  std::unique_ptr<Writing> writing_;  // null: the dataset is only read
  std::unique_ptr<cache::Reader> reader_;
  // Shared with End, which may run while Run is still starting.
  struct Serving {
    std::unique_ptr<Binding> binding;
    bool mounted = false;
    bool ended = false;
  };
  std::mutex serving_mutex_;
  Serving serving_;
  std::atomic<bool> ending_ = false;
};

}  // namespace sluice::fuse_client
