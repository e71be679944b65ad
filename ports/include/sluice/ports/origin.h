// Where the data comes from: an object store, an HTTP server, a directory. Adapters are in origin/.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "sluice/core/result.h"

namespace sluice {

class ObjectWriter;

// Above what any store takes (S3: 50 TB). Blocks of an object are counted in 32 bits.
inline constexpr std::uint64_t kMostObjectBytes = 64ULL << 40;

enum class ObjectKind : std::uint8_t {
  kFile,
  // A symbolic link, of directories only. Its version is its text: relative to the link's own
  // directory, and never out of the origin, whatever is there. It is not read.
  kLink,
};

// One object as the origin describes it. `version` changes whenever the bytes may have changed
// (ETag, else size and mtime); but for links, it is opaque to everybody but the adapter.
struct OriginObject {
  std::string path;        // relative to the origin's root, '/'-separated, no leading slash
  std::uint64_t size = 0;  // at most kMostObjectBytes
  std::string version;
  std::chrono::system_clock::time_point modified;
  ObjectKind kind = ObjectKind::kFile;
};

// About how much memory an object of a listing takes, heap included.
inline std::uint64_t MemoryOf(const OriginObject& object) {
  constexpr std::size_t kInPlace = 15;
  constexpr std::size_t kOfAllocation = 16;
  std::uint64_t bytes = sizeof(OriginObject);
  for (const std::string* text : {&object.path, &object.version}) {
    if (text->capacity() > kInPlace) bytes += text->capacity() + kOfAllocation;
  }
  return bytes;
}

// Names that cannot be file names ("..", ".", empty components, NUL, components over 255 bytes)
// never come out of List: the adapter skips them and counts them in `skipped`. So it does with an
// object over kMostObjectBytes, and with one whose name is a directory of another one ("a" beside
// "a/b"): the directory wins.
struct Listing {
  std::vector<OriginObject> objects;  // sorted by path (byte order)
  std::uint64_t skipped = 0;
};

// Called with bytes as they arrive, in order, from a thread of the adapter; must not block.
// Returning false cancels the read.
using ReadSink = std::function<bool(std::span<const std::byte>)>;
// Called exactly once, after the last sink call; from a thread of the adapter, or from within
// ReadAsync when the read is refused at once or asks for no byte. Must not block, and must not
// destroy the origin.
using ReadDone = std::function<void(Status)>;

// Threads: every method may be called from any thread. Deadlines and retries (bounded, with jitter)
// are the adapter's; after a retry the sink continues where it stopped, it never sees a byte twice.
// Errors: kNotFound (object or bucket missing, named), kPermissionDenied (credentials), kConflict
// (the version asked for is gone), kUnavailable (also: cancelled by the sink, too many reads
// waiting, origin destroyed), kDeadlineExceeded. Messages name object, endpoint and, where there is
// one, the fix; no credentials.
class Origin {
 public:
  virtual ~Origin() = default;

  virtual Result<Listing> List() = 0;

  // Reads [offset, offset+length) of the given version. Many reads may be under way at once.
  // A server that answers with other bytes than asked for (ignored Range, short body, changed ETag)
  // is an error, never delivered as data.
  virtual void ReadAsync(const OriginObject& object, std::uint64_t offset, std::uint64_t length,
                         ReadSink sink, ReadDone done) = 0;

  // For logs and `sluice status`: the URL without credentials.
  [[nodiscard]] virtual std::string Describe() const = 0;

  // What keeps this origin's objects apart from those of every other in a shared cache: the same
  // bucket at two endpoints is two origins. No credentials.
  [[nodiscard]] virtual std::string Identity() const { return Describe(); }

  // Whether identity, path and version stand for other bytes on another machine, as those of a
  // directory do: such objects must not go into a cache that machines share.
  [[nodiscard]] virtual bool IsOfOneMachine() const { return false; }

  // Writes new objects (object_writer.h); null where that is not possible. Lives as long as the
  // origin.
  virtual ObjectWriter* Writer() { return nullptr; }
};

}  // namespace sluice
