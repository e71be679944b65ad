#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include <fmt/format.h>

#include "crc32c.h"
#include "file_io.h"
#include "geometry.h"
#include "node_cache.h"

namespace sluice::cache {
namespace {

constexpr std::uint64_t kMaxIndexBytes = 256ULL << 20;
constexpr unsigned kPartialMode = 0600;
constexpr unsigned kWholeMode = 0444;
// Verifying yields to writes after this many blocks.
constexpr std::uint32_t kVerifySlice = 64;

}  // namespace

CacheEntry::CacheEntry(std::shared_ptr<NodeCache> cache, CacheKey key, std::string name)
    : cache_(std::move(cache)),
      key_(std::move(key)),
      name_(std::move(name)),
      blocks_(BlockCount(key_.size)) {
  state_.With([&](State& state) { state.crcs.resize(blocks_); });
}

CacheEntry::~CacheEntry() { cache_->OnEntryClosed(name_); }

std::filesystem::path CacheEntry::Path(const char* suffix) const {
  return cache_->objects_ / (name_ + suffix);
}

// Called by NodeCache::Open with the names locked, before anybody else sees the entry.
void CacheEntry::LoadFiles() {
  const auto bytes = ReadWholeFile(Path(".index"), kMaxIndexBytes);
  auto index = bytes ? DecodeIndex(*bytes) : std::nullopt;
  if (!index || index->key != key_ || !LoadIndex(std::move(*index))) {
    // Nothing stored yet, or nothing that could be trusted.
    Reset(/*dropped=*/false);
    return;
  }
}

bool CacheEntry::LoadIndex(ObjectIndex index) {
  const bool whole = access(Path(".data").c_str(), F_OK) == 0;
  auto data = OpenFile(Path(whole ? ".data" : ".part"), whole ? O_RDONLY : O_RDWR);
  auto file = OpenFile(Path(".index"), O_RDWR);
  struct stat info {};
  if (!data || !file || fstat(data->Get(), &info) != 0 || !S_ISREG(info.st_mode) ||
      static_cast<std::uint64_t>(info.st_size) != key_.size) {
    return false;
  }
  index_ = std::move(*file);
  index_end_ = index.append_at;
  const std::uint32_t stored = state_.With([&](State& state) {
    for (const BlockRecord& record : index.records) {
      if (!state.crcs[record.block]) ++state.stored;
      state.crcs[record.block] = record.crc;
    }
    state.data = std::make_shared<const platform::UniqueFd>(std::move(*data));
    state.whole = whole;
    state.loaded = true;
    return state.stored;
  });
  if (whole && stored == blocks_) {
    // Closed and opened again: what this process has checked stays checked.
    const bool verified = cache_->IsVerified(name_);
    state_.With([&](State& state) { state.verified = verified; });
  }
  if (whole) return stored == blocks_;
  // The last block was stored, but the process ended before it could say so.
  if (stored == blocks_) return MakeWhole().has_value();
  return true;
}

bool CacheEntry::Has(std::uint32_t block) const {
  return state_.With([&](const State& state) { return state.crcs[block].has_value(); });
}

Status CacheEntry::Read(std::uint32_t block, std::span<std::byte> into) {
  const auto [data, crc] =
      state_.With([&](const State& state) { return std::pair(state.data, state.crcs[block]); });
  if (!data || !crc) return Fail(Code::kNotFound, "the block is not in the node cache");
  if (auto read = ReadAt(data->Get(), BlockOffset(block), into, Path(".data")); !read) {
    Forget(block, read.error().message);
    return read;
  }
  if (Crc32c(into) == *crc) return Ok();
  Forget(block, "checksum differs");
  return Fail(Code::kInternal,
              fmt::format("block {} of {} is damaged in the node cache", block, key_.path));
}

void CacheEntry::Forget(std::uint32_t block, std::string_view reason) {
  cache_->corrupt_blocks_.Add();
  cache_->log_.Warn("dropped a damaged block of the node cache",
                    {{"path", key_.path}, {"block", block}, {"reason", reason}});
  const bool whole = state_.With([&](State& state) {
    if (state.whole || !state.crcs[block]) return state.whole;
    state.crcs[block].reset();
    --state.stored;
    return false;
  });
  if (!whole) {
    cache_->Unreserve(name_, BlockLength(key_.size, block));
    return;
  }
  // A whole file is never written again, so it is of no use any more.
  std::lock_guard names(cache_->names_mutex_);
  Reset(/*dropped=*/false);
}

CacheEntry::WriteOutcome CacheEntry::Write(std::uint32_t block, std::span<const std::byte> bytes) {
  const auto [stored, dropped] = state_.With(
      [&](const State& state) { return std::pair(state.crcs[block].has_value(), state.dropped); });
  if (stored) return WriteOutcome::kStored;
  if (dropped || !cache_->Writable() || !cache_->Reserve(name_, bytes.size())) {
    return WriteOutcome::kRefused;
  }
  const Status status = StoreBlock(block, bytes, Crc32c(bytes));
  if (!status) {
    // Where only the whole file could not be made whole, the block is there.
    if (!Has(block)) cache_->Unreserve(name_, bytes.size());
    cache_->OnWriteError(status.error());
    return WriteOutcome::kFailed;
  }
  cache_->OnWriteSuccess();
  if (auto data = state_.With([](const State& state) { return state.data; })) {
    cache_->OnWritten(name_, std::move(data), bytes.size());
  }
  return WriteOutcome::kStored;
}

Status CacheEntry::OpenForWriting() {
  std::lock_guard names(cache_->names_mutex_);
  cache_->Unlink(name_);  // what an earlier failure may have left half made
  const auto header = EncodeIndexHeader(key_);
  SLUICE_TRY(data, OpenFile(Path(".part"), O_RDWR | O_CREAT | O_EXCL, kPartialMode), "create");
  if (ftruncate(data.Get(), static_cast<off_t>(key_.size)) != 0) {
    return Fail(ErrnoError("extend", Path(".part")));
  }
  SLUICE_TRY(index, OpenFile(Path(".index"), O_RDWR | O_CREAT | O_EXCL, kPartialMode), "create");
  SLUICE_CHECK(WriteAt(index.Get(), 0, header, Path(".index")), "begin the index");
  index_ = std::move(index);
  index_end_ = header.size();
  state_.With([&](State& state) {
    state.data = std::make_shared<const platform::UniqueFd>(std::move(data));
  });
  return Ok();
}

Status CacheEntry::StoreBlock(std::uint32_t block, std::span<const std::byte> bytes,
                              std::uint32_t crc) {
  const auto current = [&] { return state_.With([](const State& state) { return state.data; }); };
  if (!current()) SLUICE_CHECK(OpenForWriting(), "make a cache file");
  const auto data = current();
  if (!data) return Fail(Code::kUnavailable, "the cache file was dropped meanwhile");
  SLUICE_CHECK(WriteAt(data->Get(), BlockOffset(block), bytes, Path(".part")), "store a block");
  // Data before its record: a record without its data would only cost a failed check, but often.
  const auto record = EncodeRecord(key_, {block, crc});
  SLUICE_CHECK(WriteAt(index_.Get(), index_end_, record, Path(".index")), "record a block");
  index_end_ += record.size();
  const bool last = state_.With([&](State& state) {
    if (state.data != data || state.crcs[block]) return false;
    state.crcs[block] = crc;
    return ++state.stored == blocks_;
  });
  if (!last) return Ok();
  std::lock_guard names(cache_->names_mutex_);
  if (!current()) return Ok();
  SLUICE_CHECK(MakeWhole(), "make the file whole");
  // What this process has stored was right when it was; anything may have become of the rest.
  if (!state_.With([](const State& state) { return state.loaded; })) SetVerified();
  return Ok();
}

void CacheEntry::SetVerified() {
  const bool verified = state_.With([](State& state) { return state.verified = state.whole; });
  cache_->SetVerified(name_, verified);
}

// With the names locked. From here on no descriptor can write the file. Another directory may have
// taken the place of ours, with files of the same names in it: those are not what was stored.
Status CacheEntry::MakeWhole() {
  const auto data = state_.With([](const State& state) { return state.data; });
  if (!IsFileAt(*data, Path(".part"))) {
    return Fail(Code::kConflict, Path(".part").string() + " is another file now");
  }
  if (fchmod(data->Get(), kWholeMode) != 0) return Fail(ErrnoError("protect", Path(".part")));
  if (rename(Path(".part").c_str(), Path(".data").c_str()) != 0) {
    return Fail(ErrnoError("rename", Path(".part")));
  }
  SLUICE_TRY(reopened, OpenFile(Path(".data"), O_RDONLY), "open the whole file");
  state_.With([&](State& state) {
    state.data = std::make_shared<const platform::UniqueFd>(std::move(reopened));
    state.whole = true;
  });
  return Ok();
}

std::uint32_t CacheEntry::Stored() const {
  return state_.With([](const State& state) { return state.stored; });
}

bool CacheEntry::Whole() const {
  return state_.With([](const State& state) { return state.whole; });
}

bool CacheEntry::Fits() const {
  return cache_->Writable() && cache_->Knows(name_) && key_.size <= cache_->MostFor(name_);
}

Result<platform::UniqueFd> CacheEntry::OpenWhole() const {
  const bool ready = state_.With([](const State& state) { return state.whole && state.verified; });
  if (!ready) return Fail(Code::kUnavailable, key_.path + " is not whole in the node cache");
  auto fd = OpenFile(Path(".data"), O_RDONLY);
  if (!fd) return Fail(Code::kUnavailable, fd.error().message);
  const auto data = state_.With([](const State& state) { return state.data; });
  if (data == nullptr || !IsFileAt(*data, Path(".data"))) {
    return Fail(Code::kUnavailable, Path(".data").string() + " is another file now");
  }
  return fd;
}

bool CacheEntry::StartVerifying() {
  return state_.With([](State& state) {
    if (!state.whole || state.verified || state.verifying) return false;
    return state.verifying = true;
  });
}

bool CacheEntry::VerifySome(std::span<std::byte> buffer) {
  const std::uint32_t end = std::min(blocks_, verify_next_ + kVerifySlice);
  for (; verify_next_ < end; ++verify_next_) {
    if (!Read(verify_next_, buffer.first(BlockLength(key_.size, verify_next_)))) return false;
  }
  if (verify_next_ < blocks_) return true;
  SetVerified();
  return false;
}

void CacheEntry::Drop() {
  std::lock_guard names(cache_->names_mutex_);
  Reset(/*dropped=*/true);
}

// With the names locked: the files go, and everything that was known of them.
void CacheEntry::Reset(bool dropped) {
  state_.With([&](State& state) {
    const bool was_dropped = state.dropped;
    state = {};
    state.crcs.resize(blocks_);
    state.dropped = dropped || was_dropped;
  });
  cache_->Unlink(name_);
  cache_->Unreserve(name_, UINT64_MAX);
  cache_->SetVerified(name_, false);
}

}  // namespace sluice::cache
