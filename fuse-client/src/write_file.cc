#include "write_file.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace sluice::fuse_client {
namespace {

constexpr unsigned kMostInFlight = 4;  // blocks of one file

}  // namespace

WriteMetrics::WriteMetrics(platform::Metrics& metrics)
    : bytes(metrics.AddCounter("sluice_fuse_written_bytes_total",
                               "Bytes that applications have written")),
      made(metrics.AddCounter("sluice_fuse_uploads_total", "Files written, by what became of them",
                              {{"result", "made"}})),
      failed(metrics.AddCounter("sluice_fuse_uploads_total",
                                "Files written, by what became of them", {{"result", "failed"}})) {}

WriteFile::WriteFile(std::string path_in_origin, Parts parts)
    : path_(std::move(path_in_origin)),
      parts_(std::move(parts)),
      rest_(std::make_shared<std::vector<std::byte>>()) {
  parts_.memory->AddFile();
}

WriteFile::~WriteFile() {
  parts_.memory->Give(rest_->size());
  parts_.memory->RemoveFile();
}

int WriteFile::ErrnoOf(const Error& error, Shortage shortage) {
  if (shortage == Shortage::kSpace) return ENOSPC;
  if (shortage == Shortage::kQuota) return EDQUOT;
  if (error.code == Code::kPermissionDenied) return EACCES;
  if (error.code == Code::kInvalidArgument) return EINVAL;
  return EIO;
}

std::uint64_t WriteFile::Size() const {
  const std::lock_guard lock(mutex_);
  return sent_ + rest_->size();
}

WriteFile::Phase WriteFile::Now() const {
  const std::lock_guard lock(mutex_);
  if (failed_ != 0) return Phase::kFailed;
  if (finishing_) return Phase::kFinishing;
  return changed_ ? Phase::kOpen : Phase::kComplete;
}

// With the lock held.
void WriteFile::NoteFailure(const Error& error, Shortage shortage) {
  if (failed_ != 0) return;
  failed_ = ErrnoOf(error, shortage);
  parts_.metrics.failed.Add();
  parts_.log.Error("a file could not be written",
                   {{"file", parts_.name}, {"error", error.message}});
}

bool WriteFile::MustWait() const {
  return in_flight_ >= kMostInFlight || (in_flight_ > 0 && parts_.memory->IsOver());
}

// With the lock held; false when it fails.
bool WriteFile::Begin() {
  if (upload_ != nullptr) return true;
  const std::uint64_t largest =
      parts_.memory->Budget() / std::max<std::uint64_t>(kMostInFlight, parts_.memory->Files());
  auto upload = parts_.writer.Begin(path_, largest, parts_.records);
  if (!upload) {
    NoteFailure(upload.error(), Shortage::kNone);
    return false;
  }
  upload_ = std::move(*upload);
  return true;
}

void WriteFile::Write(std::uint64_t offset, std::span<const std::byte> bytes, std::uint64_t owner,
                      WriteAnswer answer) {
  int error = 0;
  std::uint64_t size = 0;
  {
    Lock lock(mutex_);
    const bool made_for_good = (sent_ > 0 && !changed_) || sealed_;
    if (failed_ == 0 && finishing_) {
      later_.push_back({offset, {bytes.begin(), bytes.end()}, owner, std::move(answer)});
      return;
    }
    if (failed_ != 0) {
      error = failed_;
    } else if (made_for_good) {
      error = EIO;
      parts_.log.Warn("written to after it was closed, synced or renamed", {{"file", parts_.name}});
    } else if (offset < sent_ || offset > sent_ + rest_->size()) {
      error = EINVAL;
      parts_.log.Warn("not written in order",
                      {{"file", parts_.name}, {"offset", offset}, {"size", sent_ + rest_->size()}});
    } else {
      // One that is being sent is not changed.
      if (rest_.use_count() > 1) rest_ = std::make_shared<std::vector<std::byte>>(*rest_);
      const std::size_t at = offset - sent_;
      const std::size_t end = at + bytes.size();
      if (end > rest_->size()) {
        parts_.memory->Take(end - rest_->size());
        rest_->resize(end);
      }
      if (!bytes.empty()) std::memcpy(rest_->data() + at, bytes.data(), bytes.size());
      parts_.metrics.bytes.Add(bytes.size());
      last_owner_ = owner;
      changed_ = true;
      SendBlocks(lock);
      error = failed_;
      size = sent_ + rest_->size();
      if (error == 0 && MustWait()) held_.push_back(std::exchange(answer, nullptr));
    }
  }
  if (size > 0) parts_.on_size(size);
  if (answer) answer(error);
}

// Sends the blocks that are full, one call of the upload at a time. What asks for the object
// meanwhile is begun after them.
void WriteFile::SendBlocks(Lock& lock) {
  if (std::exchange(sending_, true)) return;
  SendFullBlocks(lock);
  sending_ = false;
  if (finishing_) Finish(lock);
}

void WriteFile::SendFullBlocks(Lock& lock) {
  while (failed_ == 0) {
    // A file of no more than one block is sent whole when it is closed.
    if (rest_->size() == 0 || !Begin()) return;
    const std::uint64_t block = upload_->NextBlock();
    if (block == 0) {
      failed_ = EFBIG;
      parts_.metrics.failed.Add();
      parts_.log.Error("a file has become too large; a larger memory budget allows larger parts",
                       {{"file", parts_.name}, {"bytes", sent_}});
      return;
    }
    if (rest_->size() <= block) return;
    auto full = std::exchange(
        rest_, std::make_shared<std::vector<std::byte>>(
                   rest_->begin() + static_cast<std::ptrdiff_t>(block), rest_->end()));
    full->resize(block);
    rest_->reserve(block);
    sent_ += block;
    ++in_flight_;
    const auto upload = upload_;
    lock.unlock();
    upload->Append(std::move(full), [self = shared_from_this(), block](const Written& written) {
      self->OnBlock(block, written);
    });
    lock.lock();
  }
}

void WriteFile::OnBlock(std::uint64_t bytes, const Written& written) {
  std::vector<WriteAnswer> answers;
  int error = 0;
  parts_.memory->Give(bytes);
  {
    const Lock lock(mutex_);
    --in_flight_;
    if (!written.status) NoteFailure(written.status.error(), written.shortage);
    error = failed_;
    if (error != 0 || !MustWait()) answers = std::exchange(held_, {});
  }
  for (const WriteAnswer& answer : answers) answer(error);
}

void WriteFile::Flush(std::uint64_t owner, WriteAnswer answer) {
  int error = 0;
  {
    const Lock lock(mutex_);
    error = failed_;
    // What nobody has written to, as `touch` makes, is made by whoever closes it.
    if (error == 0 && (last_owner_ == owner || last_owner_ == 0)) error = -1;
  }
  if (error >= 0) return answer(error);
  Complete(std::move(answer));
}

void WriteFile::Complete(WriteAnswer answer) {
  Lock lock(mutex_);
  const bool nothing_to_do =
      failed_ != 0 || (!changed_ && !finishing_) || (!finishing_ && !Begin());
  if (nothing_to_do) {
    const int error = failed_;
    lock.unlock();
    return answer(error);
  }
  waiting_.push_back(std::move(answer));
  if (std::exchange(finishing_, true) || sending_) return;
  Finish(lock);
}

void WriteFile::Finish(Lock& lock) {
  const auto upload = upload_;
  const Block rest = rest_;
  lock.unlock();
  if (upload == nullptr) {  // given up, or it could not be begun
    OnFinished({.status = Fail(Code::kUnavailable, "the file was given up")});
  } else {
    upload->Finish(
        rest, [self = shared_from_this()](const Written& written) { self->OnFinished(written); });
  }
  lock.lock();
}

void WriteFile::OnFinished(const Written& written) {
  std::vector<WriteAnswer> answers;
  std::vector<LateWrite> later;
  int error = 0;
  bool made = false;
  {
    const Lock lock(mutex_);
    if (written.status) {
      made = failed_ == 0;
      changed_ = false;
      if (sent_ == 0) {
        upload_.reset();
      } else {
        // What was sent in blocks cannot be sent again.
        parts_.memory->Give(rest_->size());
        sent_ += rest_->size();
        rest_ = std::make_shared<std::vector<std::byte>>();
      }
    } else {
      NoteFailure(written.status.error(), written.shortage);
    }
    error = failed_;
  }
  // Before the answers: whoever has closed the file finds it.
  if (made) {
    parts_.metrics.made.Add();
    parts_.on_made(written.object);
  }
  {
    const Lock lock(mutex_);
    finishing_ = false;
    answers = std::exchange(waiting_, {});
    later = std::exchange(later_, {});
  }
  for (const WriteAnswer& answer : answers) answer(error);
  for (LateWrite& write : later) {
    Write(write.offset, write.bytes, write.owner, std::move(write.answer));
  }
}

int WriteFile::Truncate(std::uint64_t size) {
  const Lock lock(mutex_);
  if (failed_ != 0) return failed_;
  if (size == sent_ + rest_->size()) return 0;
  if (size != 0 || sent_ != 0 || finishing_) return EINVAL;
  parts_.memory->Give(rest_->size());
  rest_ = std::make_shared<std::vector<std::byte>>();
  changed_ = true;
  return 0;
}

void WriteFile::Seal() {
  const Lock lock(mutex_);
  sealed_ = true;
}

void WriteFile::GiveUp() {
  std::vector<WriteAnswer> answers;
  std::shared_ptr<ObjectUpload> upload;
  {
    const Lock lock(mutex_);
    if (failed_ == 0) failed_ = EIO;
    answers = std::exchange(waiting_, {});
    for (WriteAnswer& held : std::exchange(held_, {})) answers.push_back(std::move(held));
    for (LateWrite& late : std::exchange(later_, {})) answers.push_back(std::move(late.answer));
    upload = std::exchange(upload_, nullptr);
  }
  upload.reset();
  for (const WriteAnswer& answer : answers) answer(EIO);
}

}  // namespace sluice::fuse_client
