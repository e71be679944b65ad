#include "s3_upload.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "s3_object_upload.h"

namespace sluice::origin {
namespace {

constexpr std::uint64_t kFirstPart = 8ULL << 20;
constexpr unsigned kPartsOfOneSize = 1'000;

class OwnedUpload final : public ObjectUpload {
 public:
  explicit OwnedUpload(std::shared_ptr<S3Upload> upload) : upload_(std::move(upload)) {}
  ~OwnedUpload() override { upload_->Leave(); }
  OwnedUpload(const OwnedUpload&) = delete;
  OwnedUpload& operator=(const OwnedUpload&) = delete;

  [[nodiscard]] std::uint64_t NextBlock() const override { return upload_->NextBlock(); }
  void Append(Block block, WriteDone done) override {
    upload_->Append(std::move(block), std::move(done));
  }
  void Finish(Block last, WriteDone done) override {
    upload_->Finish(std::move(last), std::move(done));
  }

 private:
  std::shared_ptr<S3Upload> upload_;
};

}  // namespace

std::uint64_t PartBytes(unsigned number, std::uint64_t largest) {
  const std::uint64_t bytes = kFirstPart << ((number - 1) / kPartsOfOneSize);
  return std::min(bytes, std::max(largest, kFirstPart));
}

std::string CompletionDocument(const std::vector<std::string>& etags) {
  std::string document = "<CompleteMultipartUpload>";
  for (std::size_t i = 0; i < etags.size(); ++i) {
    document +=
        fmt::format("<Part><PartNumber>{}</PartNumber><ETag>{}</ETag></Part>", i + 1, etags[i]);
  }
  return document + "</CompleteMultipartUpload>";
}

std::string S3Writer::Key(const std::string& path) const {
  return context_.Options().prefix + path;
}

Result<std::unique_ptr<ObjectUpload>> S3Writer::Begin(const std::string& path,
                                                      std::uint64_t largest_block,
                                                      UploadRecords& records) {
  constexpr std::size_t kLongestKey = 1'024;
  std::string key = Key(path);
  if (key.size() > kLongestKey) {
    return Fail(Code::kInvalidArgument,
                fmt::format("{}: a key has at most {} bytes", context_.Name(key), kLongestKey));
  }
  return std::make_unique<OwnedUpload>(std::make_shared<S3Upload>(
      transport_, context_, path, std::move(key), largest_block, records));
}

Status S3Writer::GiveUp(const std::string& token) {
  const std::size_t mark = token.find('\n');
  if (mark == std::string::npos) return Ok();
  S3Change change;
  change.operation = "abort_upload";
  change.message = {.method = Method::kDelete,
                    .key = token.substr(0, mark),
                    .query = {{"uploadId", token.substr(mark + 1)}}};
  Status status = SendAndWait(transport_, context_, std::move(change)).status;
  if (!status && status.error().code == Code::kNotFound) return Ok();
  return status;
}

}  // namespace sluice::origin
