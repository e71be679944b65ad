// One object of a bucket while it is sent: a PUT, or a multipart upload.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "s3_send.h"

namespace sluice::origin {

// One object while it is sent. Shared with the requests under way, which may outlive its owner.
class S3Upload : public std::enable_shared_from_this<S3Upload> {
 public:
  S3Upload(HttpTransport& transport, S3Context& context, std::string path, std::string key,
           std::uint64_t largest, UploadRecords& records)
      : transport_(transport),
        context_(context),
        path_(std::move(path)),
        key_(std::move(key)),
        largest_(largest),
        records_(records),
        mark_(NewMark()) {}

  std::uint64_t NextBlock();
  void Append(Block block, WriteDone done);
  void Finish(Block last, WriteDone done);
  // The owner has gone.
  void Leave();

 private:
  struct Part {
    unsigned number = 0;
    Block block;
    std::string hash;
    WriteDone done;
  };
  using Lock = std::unique_lock<std::mutex>;

  void PutWhole(Block block, WriteDone done);
  // A further part, if `block` has bytes, and the end after it, if `finish` is given.
  void Submit(Block block, WriteDone done, WriteDone finish);
  void Create();
  void OnCreated(S3Reply reply);
  void Send(Part part);
  void OnPart(unsigned number, const WriteDone& done, S3Reply reply);
  void Complete();
  void OnCompleted(S3Reply reply);
  // The answer to Complete may be lost, and the repeated request finds no upload.
  void LookAfterAll(Error error);
  void End(const Written& written);
  void AbortWhenIdle(Lock& lock);
  [[nodiscard]] Written Made(std::string_view etag) const;
  static Written Failed(const S3Reply& reply);
  static std::string NewMark();

  HttpTransport& transport_;
  S3Context& context_;
  const std::string path_;
  const std::string key_;
  const std::uint64_t largest_;
  UploadRecords& records_;
  const std::string mark_;

  std::mutex mutex_;
  std::string id_;  // of the multipart upload; empty: not made yet
  std::optional<std::uint32_t> record_;
  bool creating_ = false;
  bool abandoned_ = false;  // by the owner, or because it failed
  bool ended_ = false;      // made or aborted: nothing is left to be aborted
  unsigned parts_ = 0;
  std::uint64_t bytes_ = 0;
  std::vector<std::string> etags_;
  std::deque<Part> waiting_;  // for the upload's id
  unsigned in_flight_ = 0;
  std::optional<Written> failure_;
  WriteDone finish_;
};

}  // namespace sluice::origin
