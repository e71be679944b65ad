#include "sluice/pool/member_follower.h"

#include <filesystem>
#include <utility>

#include "sluice/core/json_access.h"
#include "sluice/platform/read_file.h"

#include "folder_watch.h"

namespace sluice::pool {

MemberFollower::MemberFollower(std::string path, OnMembers on_members, platform::Metrics& metrics,
                               platform::Log log, std::chrono::milliseconds poll)
    : path_(std::move(path)),
      on_members_(std::move(on_members)),
      metrics_(metrics),
      log_(std::move(log)),
      poll_(poll) {
  thread_ = std::jthread([this](const std::stop_token& stop) { Run(stop); });
}

MemberFollower::~MemberFollower() {
  thread_.request_stop();
  thread_.join();
}

void MemberFollower::Run(const std::stop_token& stop) {
  std::string folder = std::filesystem::path(path_).parent_path().string();
  FolderWatch watch(folder.empty() ? "." : std::move(folder));
  while (!stop.stop_requested()) {
    Look();
    watch.Wait(stop, poll_);
  }
}

void MemberFollower::Look() {
  const auto text = platform::ReadFile(path_);
  if (!text) return Complain(text.error());
  if (*text == text_ && complaint_.empty()) return;
  const Json document = Json::parse(*text, nullptr, false);
  if (document.is_discarded()) {
    return Complain({Code::kInvalidArgument, path_ + ": must be JSON"});
  }
  auto members = ParsePoolMembers(document);
  if (!members) return Complain(members.error().Wrap(path_));
  text_ = *text;
  complaint_.clear();
  if (known_ && *members == members_) return;
  known_ = true;
  members_ = *std::move(members);
  CountReload("ok");
  log_.Info("the pool's workers changed", {{"path", path_}, {"workers", members_.size()}});
  on_members_(members_);
}

void MemberFollower::Complain(const Error& error) {
  if (std::exchange(complaint_, error.message) == error.message) return;
  CountReload("failed");
  log_.Warn("the list of the pool's workers is of no use; the last good one stays",
            {{"path", path_}, {"error", error.message}, {"workers", members_.size()}});
}

void MemberFollower::CountReload(const std::string& result) {
  metrics_
      .AddCounter("sluice_pool_member_reloads_total",
                  "Lists of workers read, by whether they were of use.", {{"result", result}})
      .Add();
}

}  // namespace sluice::pool
