#include "local_upload.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <random>
#include <utility>

#include <fmt/format.h>

#include "local_files.h"

namespace sluice::origin {
namespace {

constexpr std::string_view kUploadPrefix = ".sluice-upload-";
constexpr std::uint64_t kBlockBytes = 8ULL << 20;
constexpr std::size_t kThreads = 4;
constexpr mode_t kFileMode = 0644;
constexpr mode_t kDirectoryMode = 0755;

std::string NewName() {
  std::random_device random;
  return fmt::format("{}{:08x}{:08x}", kUploadPrefix, random(), random());
}

std::string_view NameIn(const std::string& path) {
  return std::string_view(path).substr(path.rfind('/') + 1);
}

Written FailedWith(int error, std::string what) {
  Written written;
  if (error == ENOSPC) written.shortage = Shortage::kSpace;
  if (error == EDQUOT) written.shortage = Shortage::kQuota;
  written.status = Fail(FromErrno(error, std::move(what)));
  return written;
}

}  // namespace

bool IsUploadName(std::string_view name) { return name.starts_with(kUploadPrefix); }

// Its steps are done one after another, by whichever thread is free.
class LocalWriter::Upload {
 public:
  Upload(const LocalWriter& writer, std::string path, UploadRecords& records)
      : writer_(writer), path_(std::move(path)), records_(records) {}

  // True when the upload must be handed to a thread.
  bool Add(std::function<void()> step) {
    return steps_.With([&](Steps& steps) {
      steps.waiting.push_back(std::move(step));
      return !std::exchange(steps.running, true);
    });
  }
  // True when there are more.
  bool DoNext() {
    auto step = steps_.With([](Steps& steps) {
      auto front = std::move(steps.waiting.front());
      steps.waiting.pop_front();
      return front;
    });
    step();
    return steps_.With([](Steps& steps) {
      steps.running = !steps.waiting.empty();
      return steps.running;
    });
  }

  Written Append(const Block& block) {
    if (!failure_.status) return failure_;
    if (!file_.Valid()) failure_ = Open();
    if (!failure_.status || block == nullptr) return failure_;
    std::size_t done = 0;
    while (done < block->size()) {
      const ssize_t n = ::write(file_.Get(), block->data() + done, block->size() - done);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return failure_ = FailedWith(errno, writer_.Name(path_));
      done += static_cast<std::size_t>(n);
    }
    return failure_;
  }

  Written Finish(const Block& last) {
    Written written = Append(last);
    const std::string to(NameIn(path_));
    struct stat st = {};
    if (written.status &&
        (::fsync(file_.Get()) != 0 ||
         ::renameat(parent_.Get(), name_.c_str(), parent_.Get(), to.c_str()) != 0 ||
         ::fsync(parent_.Get()) != 0 || ::fstat(file_.Get(), &st) != 0)) {
      written = failure_ = FailedWith(errno, writer_.Name(path_));
    }
    if (!written.status) {
      Leave();
      return written;
    }
    written.object = ObjectOf(path_, st);
    name_.clear();
    file_.Reset();
    Forget();
    return written;
  }

  // Nothing of it stays.
  void Leave() {
    if (!name_.empty()) (void)::unlinkat(parent_.Get(), name_.c_str(), 0);
    name_.clear();
    file_.Reset();
    Forget();
  }

 private:
  struct Steps {
    std::deque<std::function<void()>> waiting;
    bool running = false;
  };

  Written Open() {
    auto parent = writer_.OpenParent(path_, /*make=*/true);
    if (!parent) return {Fail(parent.error())};
    parent_ = std::move(*parent);
    name_ = NewName();
    const std::string place = path_.substr(0, path_.size() - NameIn(path_).size()) + name_;
    record_ = records_.Keep(place);
    file_ = platform::UniqueFd(::openat(parent_.Get(), name_.c_str(),
                                        O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW,
                                        kFileMode));
    if (file_.Valid()) return {};
    const int error = errno;
    name_.clear();
    Forget();
    return FailedWith(error, writer_.Name(path_));
  }
  void Forget() {
    if (record_) records_.Drop(*std::exchange(record_, std::nullopt));
  }

  const LocalWriter& writer_;
  const std::string path_;
  UploadRecords& records_;
  platform::Guarded<Steps> steps_;
  // Of the step under way:
  platform::UniqueFd parent_;
  platform::UniqueFd file_;
  std::string name_;  // of the file on its way; empty: there is none
  std::optional<std::uint32_t> record_;
  Written failure_;
};

class LocalWriter::Owned final : public ObjectUpload {
 public:
  Owned(LocalWriter& writer, std::shared_ptr<Upload> upload)
      : writer_(writer), upload_(std::move(upload)) {}
  ~Owned() override {
    if (!finishing_) Do([upload = upload_] { upload->Leave(); });
  }
  Owned(const Owned&) = delete;
  Owned& operator=(const Owned&) = delete;

  [[nodiscard]] std::uint64_t NextBlock() const override { return kBlockBytes; }
  void Append(Block block, WriteDone done) override {
    Do([upload = upload_, block = std::move(block), done = std::move(done)] {
      done(upload->Append(block));
    });
  }
  void Finish(Block last, WriteDone done) override {
    finishing_ = true;
    Do([upload = upload_, last = std::move(last), done = std::move(done)] {
      done(upload->Finish(last));
    });
  }

 private:
  void Do(std::function<void()> step) {
    if (upload_->Add(std::move(step))) writer_.Post(upload_);
  }

  LocalWriter& writer_;
  std::shared_ptr<Upload> upload_;
  bool finishing_ = false;
};

LocalWriter::~LocalWriter() {
  auto threads = queue_.With([](Queue& queue) {
    queue.stopping = true;
    return std::exchange(queue.threads, {});
  });
  queue_.Notify();
}

void LocalWriter::Post(std::shared_ptr<Upload> upload) {
  queue_.With([&](Queue& queue) {
    queue.uploads.push_back(std::move(upload));
    while (queue.threads.size() < kThreads) queue.threads.emplace_back([this] { Work(); });
  });
  queue_.Notify();
}

// What has been handed over is done, also at the end.
void LocalWriter::Work() {
  while (true) {
    queue_.WaitUntil(std::chrono::steady_clock::now() + std::chrono::hours(1),
                     [](const Queue& queue) { return queue.stopping || !queue.uploads.empty(); });
    std::shared_ptr<Upload> upload;
    const bool end = queue_.With([&](Queue& queue) {
      if (queue.uploads.empty()) return queue.stopping;
      upload = std::move(queue.uploads.front());
      queue.uploads.pop_front();
      return false;
    });
    if (end) return;
    if (upload == nullptr || !upload->DoNext()) continue;
    queue_.With([&](Queue& queue) { queue.uploads.push_back(std::move(upload)); });
    queue_.Notify();
  }
}

std::string LocalWriter::Name(const std::string& path) const {
  return "file://" + root_ + (root_.ends_with('/') ? "" : "/") + path;
}

Result<platform::UniqueFd> LocalWriter::OpenRoot() const {
  platform::UniqueFd root(::open(root_.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!root.Valid()) return Fail(FromErrno(errno, "file://" + root_));
  return root;
}

Result<platform::UniqueFd> LocalWriter::OpenParent(const std::string& path, bool make) const {
  auto root = OpenRoot();
  if (!root) return Fail(root.error());
  const auto open = [](int from, const std::string& directory) {
    return OpenBeneath(from, directory, O_RDONLY | O_DIRECTORY, RESOLVE_NO_SYMLINKS);
  };
  platform::UniqueFd at = open(root->Get(), ".");
  if (!at.Valid()) return Fail(FromErrno(errno, Name("")));
  std::size_t begin = 0;
  for (std::size_t slash = path.find('/'); slash != std::string::npos;
       slash = path.find('/', begin)) {
    const std::string name = path.substr(begin, slash - begin);
    if (make && ::mkdirat(at.Get(), name.c_str(), kDirectoryMode) != 0 && errno != EEXIST) {
      return Fail(FromErrno(errno, Name(path)));
    }
    platform::UniqueFd next = open(at.Get(), name);
    if (!next.Valid()) return Fail(FromErrno(errno, Name(path)));
    at = std::move(next);
    begin = slash + 1;
  }
  return at;
}

Result<std::unique_ptr<ObjectUpload>> LocalWriter::Begin(const std::string& path,
                                                         std::uint64_t /*largest_block*/,
                                                         UploadRecords& records) {
  if (IsUploadName(NameIn(path))) {
    return Fail(Code::kInvalidArgument,
                fmt::format("{}: names that begin with {} are this program's own", Name(path),
                            kUploadPrefix));
  }
  return std::make_unique<Owned>(*this, std::make_shared<Upload>(*this, path, records));
}

Written LocalWriter::Rename(const OriginObject& from, const std::string& to) {
  const auto old_parent = OpenParent(from.path, /*make=*/false);
  if (!old_parent) return {Fail(old_parent.error())};
  const auto new_parent = OpenParent(to, /*make=*/true);
  if (!new_parent) return {Fail(new_parent.error())};
  const std::string old_name(NameIn(from.path));
  const std::string new_name(NameIn(to));
  struct stat st = {};
  if (::fstatat(old_parent->Get(), old_name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) {
    return FailedWith(errno, Name(from.path));
  }
  if (VersionOfFile(st) != from.version) {
    return {Fail(Code::kConflict, Name(from.path) + ": the file has changed")};
  }
  if (::renameat(old_parent->Get(), old_name.c_str(), new_parent->Get(), new_name.c_str()) != 0 ||
      ::fsync(new_parent->Get()) != 0) {
    return FailedWith(errno, Name(to));
  }
  Written written;
  written.object = ObjectOf(to, st);
  return written;
}

Status LocalWriter::GiveUp(const std::string& token) {
  if (!IsUploadName(NameIn(token))) return Ok();
  const auto parent = OpenParent(token, /*make=*/false);
  if (!parent && parent.error().code == Code::kNotFound) return Ok();
  if (!parent) return Fail(parent.error());
  if (::unlinkat(parent->Get(), std::string(NameIn(token)).c_str(), 0) != 0 && errno != ENOENT) {
    return Fail(FromErrno(errno, Name(token)));
  }
  return Ok();
}

}  // namespace sluice::origin
