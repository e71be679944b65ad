#include "state_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>

#include "siphash.h"

namespace sluice::fuse_client {
namespace {

constexpr char kMagic[8] = {'S', 'L', 'U', 'I', 'C', 'E', 'S', 'T'};
constexpr std::uint32_t kLayout = 2;
constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kSlotsOffset = kPage;
constexpr std::uint64_t kOpensOffset = kSlotsOffset + kJournalSlots * kSlotBytes;
constexpr std::uint64_t kUploadsOffset = kOpensOffset + kMaxOpenInodes * sizeof(OpenEntry);
constexpr std::uint64_t kFixedBytes = kUploadsOffset + kUploadRecords * sizeof(UploadRecord);
// The records lie where an earlier version had the last rows of its open table, which nobody has
// ever come to use: what begins behind stays where it was.
static_assert(kOpensOffset % kPage == 0 &&
              kFixedBytes == kOpensOffset + 262'144 * sizeof(OpenEntry));

Error Errno(const char* what) {
  return {Code::kInternal, fmt::format("state: {}: {}", what, std::strerror(errno))};
}

std::uint64_t RoundUp(std::uint64_t bytes) { return (bytes + kPage - 1) / kPage * kPage; }

std::uint64_t Checksum(std::span<const std::byte> bytes) {
  return SipHash({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

std::uint64_t FileSize(int fd) {
  struct stat info = {};
  return ::fstat(fd, &info) == 0 ? static_cast<std::uint64_t>(info.st_size) : 0;
}

void PunchHole(int fd, std::uint64_t offset, std::uint64_t bytes) {
  // Best effort: the memory is merely given back later.
  (void)::fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                    static_cast<off_t>(bytes));
}

}  // namespace

// One mapped index. A hole reads as zeros at once, so memory is given back only when the last user
// of a replaced index has gone; the current one is left to the successor.
struct StateFile::Mapping {
  Mapping() = default;
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping() {
    if (address == nullptr) return;
    ::munmap(address, bytes);
    if (replaced) PunchHole(file->Get(), offset, RoundUp(bytes));
  }

  std::shared_ptr<platform::UniqueFd> file;
  void* address = nullptr;
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
  std::atomic<bool> replaced = false;
};

Result<std::unique_ptr<StateFile>> StateFile::Create() {
  platform::UniqueFd file(::memfd_create("sluice-state", MFD_CLOEXEC));
  if (!file.Valid()) return Fail(Errno("memfd_create"));
  return Attach(std::move(file));
}

Result<std::unique_ptr<StateFile>> StateFile::Attach(platform::UniqueFd file) {
  const std::uint64_t size = FileSize(file.Get());
  if (size < kFixedBytes && ::ftruncate(file.Get(), static_cast<off_t>(kFixedBytes)) != 0) {
    return Fail(Errno("ftruncate"));
  }
  SLUICE_TRY(state, Map(std::move(file)), "attach");
  StateHeader& header = state->Header();
  const bool empty = header.layout == 0;
  if (empty) {
    std::memcpy(header.magic, kMagic, sizeof(kMagic));
  } else if (std::memcmp(header.magic, kMagic, sizeof(kMagic)) != 0 || header.layout > kLayout) {
    return Fail(Code::kInvalidArgument,
                fmt::format("state: layout {} is not known to this version (it knows {}); run the "
                            "version that made the mount, or mount anew",
                            header.layout, kLayout));
  }
  // Layout 1 had zeros where `effects` is now, which says that nothing is known to be done.
  header.layout = kLayout;
  if (header.init_request_bytes > kMaxInitBytes || header.init_reply_bytes > kMaxInitBytes ||
      header.opens_used > kMaxOpenInodes) {
    return Fail(Code::kInternal, "state: the header is damaged");
  }
  return state;
}

Result<std::unique_ptr<StateFile>> StateFile::Map(platform::UniqueFd file) {
  std::unique_ptr<StateFile> state(new StateFile());
  void* const address =
      ::mmap(nullptr, kFixedBytes, PROT_READ | PROT_WRITE, MAP_SHARED, file.Get(), 0);
  if (address == MAP_FAILED) return Fail(Errno("mmap"));
  state->fixed_ = static_cast<std::byte*>(address);
  // Header and slots must never fault while the kernel fills them; the open table may.
  if (::madvise(address, kOpensOffset, MADV_POPULATE_WRITE) != 0) {
    for (std::uint64_t offset = 0; offset < kOpensOffset; offset += kPage) {
      auto* const byte = reinterpret_cast<volatile char*>(state->fixed_ + offset);
      *byte = *byte;  // kernels before 5.14
    }
  }
  state->file_ = std::make_shared<platform::UniqueFd>(std::move(file));
  return state;
}

StateFile::~StateFile() {
  if (fixed_ != nullptr) ::munmap(fixed_, kFixedBytes);
}

std::span<std::byte> StateFile::Slot(std::uint32_t slot) {
  return {fixed_ + kSlotsOffset + slot * kSlotBytes, kSlotBytes};
}

std::span<OpenEntry> StateFile::Opens() {
  return {reinterpret_cast<OpenEntry*>(fixed_ + kOpensOffset), kMaxOpenInodes};
}

std::span<UploadRecord> StateFile::Uploads() {
  return {reinterpret_cast<UploadRecord*>(fixed_ + kUploadsOffset), kUploadRecords};
}

Result<StateFile::MappedIndex> StateFile::MapIndex(std::uint64_t offset,
                                                   std::uint64_t bytes) const {
  auto mapping = std::make_shared<Mapping>();
  void* const address =
      ::mmap(nullptr, bytes, PROT_READ, MAP_SHARED, file_->Get(), static_cast<off_t>(offset));
  if (address == MAP_FAILED) return Fail(Errno("mmap index"));
  mapping->file = file_;
  mapping->address = address;
  mapping->offset = offset;
  mapping->bytes = bytes;
  SLUICE_TRY(index, Index::FromBytes({static_cast<const std::byte*>(address), bytes}, mapping),
             "map index");
  return MappedIndex{std::move(mapping), std::move(index)};
}

std::shared_ptr<const Index> StateFile::LoadIndex(std::uint64_t config) {
  const StateHeader& header = Header();
  const std::uint64_t size = FileSize(file_->Get());
  if (header.index_offset < kFixedBytes || header.index_offset % kPage != 0 ||
      header.index_offset > size || header.index_bytes > size - header.index_offset ||
      header.index_config != config) {
    return nullptr;
  }
  const auto mapped = MapIndex(header.index_offset, header.index_bytes);
  if (!mapped || Checksum(mapped->index->Bytes()) != header.index_checksum) return nullptr;
  // What a killed predecessor left beside the current index.
  PunchHole(file_->Get(), kFixedBytes, header.index_offset - kFixedBytes);
  const std::uint64_t end = header.index_offset + RoundUp(header.index_bytes);
  if (end < size) PunchHole(file_->Get(), end, size - end);
  current_mapping_ = mapped->mapping;
  current_ = mapped->index;
  next_offset_ = end;
  return mapped->index;
}

// Through a mapping, so that the index is in memory once.
Result<StateFile::MappedIndex> StateFile::WriteIndex(const IndexDraft& draft,
                                                     std::uint64_t offset) const {
  const std::uint64_t bytes = draft.bytes();
  // Before it is touched: memory that is not to be had is an error here and a signal there.
  if (::fallocate(file_->Get(), 0, static_cast<off_t>(offset),
                  static_cast<off_t>(RoundUp(bytes))) != 0) {
    return Fail(Errno("memory for the index"));
  }
  void* const address = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file_->Get(),
                               static_cast<off_t>(offset));
  if (address == MAP_FAILED) return Fail(Errno("mmap index"));
  draft.WriteTo({static_cast<std::byte*>(address), bytes});
  ::munmap(address, bytes);
  return MapIndex(offset, bytes);
}

Result<std::shared_ptr<const Index>> StateFile::StoreIndex(const IndexDraft& draft,
                                                           std::uint64_t config) {
  if (next_offset_ == 0) next_offset_ = RoundUp(std::max(FileSize(file_->Get()), kFixedBytes));
  auto mapped = WriteIndex(draft, next_offset_);
  if (mapped) Header().listing_bytes = draft.memory();
  const auto current = current_.lock();
  const bool same = mapped && current != nullptr && config == Header().index_config &&
                    std::ranges::equal(mapped->index->Bytes(), current->Bytes());
  if (mapped && !same) {
    MakeCurrent(*mapped, config);
    return mapped->index;
  }
  Result<std::shared_ptr<const Index>> kept = current;
  if (!mapped) kept = Fail(mapped.error());
  mapped = MappedIndex{};
  PunchHole(file_->Get(), next_offset_, RoundUp(draft.bytes()));
  return kept;
}

void StateFile::MakeCurrent(const MappedIndex& mapped, std::uint64_t config) {
  StateHeader& header = Header();
  const std::uint64_t old_offset = header.index_offset;
  const std::uint64_t old_bytes = header.index_bytes;
  // A process killed between these lines leaves an index whose checksum is wrong: a successor lists
  // the origin anew.
  header.index_offset = mapped.mapping->offset;
  header.index_bytes = mapped.mapping->bytes;
  header.index_config = config;
  header.index_checksum = Checksum(mapped.index->Bytes());
  next_offset_ = header.index_offset + RoundUp(header.index_bytes);
  if (const auto replaced = current_mapping_.lock()) {
    replaced->replaced = true;
  } else if (old_offset != 0) {
    PunchHole(file_->Get(), old_offset, RoundUp(old_bytes));
  }
  current_mapping_ = mapped.mapping;
  current_ = mapped.index;
}

}  // namespace sluice::fuse_client
