#include "s3_object_upload.h"

#include <algorithm>
#include <random>
#include <utility>

#include <fmt/format.h>

#include "s3_upload.h"
#include "s3_xml.h"

namespace sluice::origin {
namespace {

constexpr int kInsufficientStorage = 507;

std::string_view TextOf(const Block& block) {
  if (block == nullptr) return {};
  return {reinterpret_cast<const char*>(block->data()), block->size()};
}

// What a part's ETag may be: it goes into a document and comes from the network.
bool IsPlainTag(std::string_view tag) {
  return !tag.empty() && tag.size() <= 256 && std::ranges::all_of(tag, [](char c) {
    return c > ' ' && c < '\x7f' && c != '<' && c != '>' && c != '&';
  });
}

}  // namespace

std::string S3Upload::NewMark() {
  std::random_device random;
  return fmt::format("{:08x}{:08x}{:08x}", random(), random(), random());
}

std::uint64_t S3Upload::NextBlock() {
  const std::lock_guard lock(mutex_);
  return parts_ >= kMostParts ? 0 : PartBytes(parts_ + 1, largest_);
}

Written S3Upload::Failed(const S3Reply& reply) {
  Written written;
  written.status = reply.status;
  if (reply.head.status == kInsufficientStorage) written.shortage = Shortage::kSpace;
  return written;
}

Written S3Upload::Made(std::string_view etag) const {
  Written written;
  written.object.path = path_;
  written.object.size = bytes_;
  written.object.modified = std::chrono::system_clock::now();
  written.object.version = VersionOf(etag, bytes_, written.object.modified);
  return written;
}

void S3Upload::PutWhole(Block block, WriteDone done) {
  {
    const std::lock_guard lock(mutex_);
    bytes_ = block == nullptr ? 0 : block->size();
    ended_ = true;  // there is nothing to abort
  }
  S3Change change;
  change.operation = "put";
  change.message = {.method = Method::kPut, .key = key_, .payload_hash = Sha256Hex(TextOf(block))};
  change.body = std::move(block);
  SendChange(transport_, context_, std::move(change),
             [self = shared_from_this(), done = std::move(done)](const S3Reply& reply) {
               done(reply.status ? self->Made(reply.head.etag) : Failed(reply));
             });
}

void S3Upload::Create() {
  S3Change change;
  change.operation = "create_upload";
  change.message = {.method = Method::kPost,
                    .key = key_,
                    .query = {{"uploads", ""}},
                    .headers = {{std::string(kUploadMarkHeader), mark_}}};
  change.root = "InitiateMultipartUploadResult";
  SendChange(transport_, context_, std::move(change),
             [self = shared_from_this()](S3Reply reply) { self->OnCreated(std::move(reply)); });
}

void S3Upload::OnCreated(S3Reply reply) {
  std::deque<Part> parts;
  std::optional<Written> failure;
  {
    Lock lock(mutex_);
    if (reply.status) {
      const auto fields = FieldsOf(reply.body, "InitiateMultipartUploadResult");
      const auto id = fields ? fields->find("UploadId") : fields->end();
      if (fields && id != fields->end()) id_ = id->second;
      if (id_.empty()) {
        reply.status =
            Fail(Code::kUnavailable, context_.Place(key_) + ": the server gives the upload no id");
      } else {
        record_ = records_.Keep(key_ + '\n' + id_);
      }
    }
    if (!reply.status) {
      failure_ = Failed(reply);
      ended_ = true;  // there is nothing to abort
    }
    failure = failure_;
    parts = std::exchange(waiting_, {});
    if (abandoned_ || failure) {  // abandoned: by an owner who did not ask for the end
      in_flight_ -= static_cast<unsigned>(parts.size());
      if (!failure) failure = Written{Fail(Code::kUnavailable, "the upload was given up")};
      AbortWhenIdle(lock);
    }
  }
  for (Part& part : parts) {
    if (failure) {
      part.done(*failure);
    } else {
      Send(std::move(part));
    }
  }
  if (failure) {
    WriteDone finish;
    {
      const std::lock_guard lock(mutex_);
      finish = std::exchange(finish_, nullptr);
    }
    if (finish) finish(*failure);
  }
}

void S3Upload::Append(Block block, WriteDone done) {
  Submit(std::move(block), std::move(done), nullptr);
}

void S3Upload::Submit(Block block, WriteDone done, WriteDone finish) {
  Part part{.number = 0, .block = std::move(block), .hash = {}, .done = std::move(done)};
  const bool more = part.block != nullptr && !part.block->empty();
  if (more) part.hash = Sha256Hex(TextOf(part.block));
  bool create = false;
  bool complete = false;
  std::optional<Written> failure;
  {
    const std::lock_guard lock(mutex_);
    failure = failure_;
    if (!failure) {
      finish_ = std::move(finish);
      if (more) {
        part.number = ++parts_;
        bytes_ += part.block->size();
        ++in_flight_;
        etags_.resize(parts_);
      }
      complete = finish_ != nullptr && in_flight_ == 0;
      if (more && id_.empty()) {
        create = !std::exchange(creating_, true);
        waiting_.push_back(std::move(part));
        part.number = 0;
      }
    }
  }
  if (failure) {
    part.done(*failure);
    if (finish) finish(*failure);
    return;
  }
  if (create) Create();
  if (part.number != 0) Send(std::move(part));
  if (complete) Complete();
}

void S3Upload::Send(Part part) {
  S3Change change;
  change.operation = "put_part";
  {
    const std::lock_guard lock(mutex_);
    change.message = {.method = Method::kPut,
                      .key = key_,
                      .query = {{"partNumber", fmt::format("{}", part.number)}, {"uploadId", id_}}};
  }
  change.message.payload_hash = std::move(part.hash);
  change.body = std::move(part.block);
  SendChange(transport_, context_, std::move(change),
             [self = shared_from_this(), number = part.number, done = std::move(part.done)](
                 S3Reply reply) { self->OnPart(number, done, std::move(reply)); });
}

void S3Upload::OnPart(unsigned number, const WriteDone& done, S3Reply reply) {
  if (reply.status && !IsPlainTag(reply.head.etag)) {
    reply.status = Fail(Code::kUnavailable,
                        context_.Place(key_) + ": the server gives a part of the upload no ETag");
  }
  Written written;
  WriteDone finish;
  bool complete = false;
  {
    Lock lock(mutex_);
    --in_flight_;
    if (reply.status) {
      etags_[number - 1] = reply.head.etag;
    } else {
      written = Failed(reply);
      if (!failure_) failure_ = written;
      abandoned_ = true;
    }
    if (finish_ != nullptr && in_flight_ == 0) {
      complete = !failure_;
      if (failure_) finish = std::exchange(finish_, nullptr);
    }
    if (!complete) AbortWhenIdle(lock);
  }
  if (complete) Complete();
  done(written);
  if (finish) finish(*failure_);
}

void S3Upload::Finish(Block last, WriteDone done) {
  const bool small = [&] {
    const std::lock_guard lock(mutex_);
    return parts_ == 0;
  }();
  if (small) return PutWhole(std::move(last), std::move(done));
  Submit(
      std::move(last), [](const Written&) {}, std::move(done));
}

void S3Upload::Complete() {
  S3Change change;
  change.operation = "complete_upload";
  {
    const std::lock_guard lock(mutex_);
    const std::string document = CompletionDocument(etags_);
    const auto* const begin = reinterpret_cast<const std::byte*>(document.data());
    change.body = std::make_shared<const std::vector<std::byte>>(begin, begin + document.size());
    change.message = {.method = Method::kPost,
                      .key = key_,
                      .query = {{"uploadId", id_}},
                      .payload_hash = Sha256Hex(document)};
  }
  change.root = "CompleteMultipartUploadResult";
  SendChange(transport_, context_, std::move(change),
             [self = shared_from_this()](S3Reply reply) { self->OnCompleted(std::move(reply)); });
}

void S3Upload::OnCompleted(S3Reply reply) {
  if (reply.status) {
    const auto fields = FieldsOf(reply.body, "CompleteMultipartUploadResult");
    const auto etag = fields ? fields->find("ETag") : fields->end();
    return End(Made(fields && etag != fields->end() ? etag->second : reply.head.etag));
  }
  const Code code = reply.status.error().code;
  if (code == Code::kNotFound || code == Code::kDeadlineExceeded || code == Code::kUnavailable) {
    return LookAfterAll(reply.status.error());
  }
  End(Failed(reply));
}

void S3Upload::LookAfterAll(Error error) {
  S3Change change;
  change.operation = "head";
  change.message = {.method = Method::kHead, .key = key_};
  SendChange(transport_, context_, std::move(change),
             [self = shared_from_this(), error = std::move(error)](const S3Reply& reply) {
               if (reply.status && reply.head.upload_mark == self->mark_) {
                 return self->End(self->Made(reply.head.etag));
               }
               Written written;
               written.status = Fail(error);
               self->End(written);
             });
}

void S3Upload::End(const Written& written) {
  WriteDone finish;
  std::optional<std::uint32_t> record;
  {
    Lock lock(mutex_);
    finish = std::exchange(finish_, nullptr);
    if (written.status) {
      ended_ = true;
      record = std::exchange(record_, std::nullopt);
    } else {
      failure_ = written;
      abandoned_ = true;
      AbortWhenIdle(lock);
    }
  }
  if (record) records_.Drop(*record);
  if (finish) finish(written);
}

void S3Upload::Leave() {
  Lock lock(mutex_);
  if (finish_ != nullptr) return;  // its end is asked for: that answer decides
  abandoned_ = true;
  AbortWhenIdle(lock);
}

// A part that arrives later would bring the upload's storage back.
void S3Upload::AbortWhenIdle(Lock& lock) {
  if (!abandoned_ || ended_ || in_flight_ > 0 || id_.empty()) return;
  ended_ = true;
  S3Change change;
  change.operation = "abort_upload";
  change.message = {.method = Method::kDelete, .key = key_, .query = {{"uploadId", id_}}};
  const auto record = std::exchange(record_, std::nullopt);
  lock.unlock();
  SendChange(transport_, context_, std::move(change),
             [self = shared_from_this(), record](const S3Reply& reply) {
               if (reply.status || reply.status.error().code == Code::kNotFound) {
                 if (record) self->records_.Drop(*record);
                 return;
               }
               self->context_.Log().Warn(
                   "an upload that failed could not be given up; a lifecycle rule that ends "
                   "incomplete uploads frees its storage",
                   {{"error", reply.status.error().message}});
             });
  lock.lock();
}

}  // namespace sluice::origin
