// What applications change in the dataset, without the kernel: new files, written through to the
// origin; directories for them; new names for what this client has written. Rules: docs/writing.md.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <shared_mutex>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <tl/expected.hpp>

#include "sluice/platform/guarded.h"
#include "sluice/platform/log.h"
#include "sluice/platform/metrics.h"
#include "sluice/ports/object_writer.h"

#include "file_system.h"
#include "upload_journal.h"
#include "write_file.h"

namespace sluice::fuse_client {

// A value, or the errno for the application.
template <typename T>
using Outcome = tl::expected<T, int>;

struct WritableMount {
  std::string path;                // "a/b", "" for the root
  std::string identity;            // of its origin
  std::string name;                // of its origin, for messages
  ObjectWriter* writer = nullptr;  // null: not to be written to
};

struct WritingOptions {
  std::vector<WritableMount> mounts;  // as FileSystemOptions::mounts
  std::uint64_t memory_bytes = 64ULL << 20;
  std::function<void()> on_made = [] {};  // there is something that the index does not know
};

// Threads: any. Answers come from any thread, and none after Stop has returned.
class Writing {
 public:
  Writing(WritingOptions options, FileSystem& files, UploadJournal& journal,
          platform::Metrics& metrics, const platform::Log& log);
  ~Writing();

  struct Opened {
    Attributes attributes;
    std::uint64_t handle = 0;  // never 0, and unknown to every other process
  };
  Outcome<Opened> Create(std::uint64_t directory, std::string_view name, int flags);
  // An existing file, which is replaced when this is closed; `flags` must have O_TRUNC.
  Outcome<Opened> Open(std::uint64_t id, int flags);
  void Write(std::uint64_t handle, std::uint64_t offset, std::span<const std::byte> bytes,
             std::uint64_t owner, WriteAnswer answer);
  void Flush(std::uint64_t handle, std::uint64_t owner, WriteAnswer answer);
  void Sync(std::uint64_t handle, WriteAnswer answer);
  void Release(std::uint64_t handle);

  // Of a node whose file is being written; nothing for any other.
  [[nodiscard]] std::optional<Attributes> AttributesOf(std::uint64_t id) const;
  // Whether a node cannot be opened for reading since its file is being written: then `answer` is
  // given EBUSY, or ESTALE (the kernel looks the name up again) once it is at the origin.
  bool RefuseReading(std::uint64_t id, WriteAnswer answer);
  int Truncate(std::uint64_t id, std::uint64_t size);

  Outcome<Attributes> MakeDirectory(std::uint64_t parent, std::string_view name);
  int RemoveDirectory(std::uint64_t parent, std::string_view name);
  struct Name {
    std::uint64_t directory = 0;
    std::string name;
  };
  void Rename(Name from, Name to, bool replace, WriteAnswer answer);

  // Files that are being written fail.
  void Stop();

 private:
  struct Writer {
    std::uint64_t id = 0;  // of the node
    NewEntry entry;
    std::shared_ptr<WriteFile> file;
    std::optional<NewEntry> before;  // what had its place here, to come back when this fails
    bool closed = false;             // a descriptor at least
  };
  struct Place {
    std::uint64_t directory = 0;
    std::string path;
    std::uint16_t mount = 0;

    [[nodiscard]] std::string_view Name() const {
      return std::string_view(path).substr(path.rfind('/') + 1);
    }
  };
  struct Own {
    OriginObject object;
    std::uint16_t mount = 0;
  };
  struct State {
    std::map<std::uint64_t, Writer> writers;  // by handle
    std::map<std::uint64_t, Own> own;         // what was made here, by node
  };
  struct Jobs {
    std::deque<std::function<void()>> waiting;
    bool stopping = false;
  };
  // Lets nothing through to us once it is closed.
  struct Gate {
    std::shared_mutex mutex;
    bool closed = false;
  };

  static std::int64_t NowNs();
  [[nodiscard]] std::optional<std::string> DirectoryPath(std::uint64_t id) const;
  [[nodiscard]] Outcome<Place> PlaceOf(std::uint64_t directory, std::string_view name) const;
  Outcome<Opened> Begin(const Place& place, std::uint64_t id);
  std::shared_ptr<WriteFile> MakeFile(const NewEntry& entry);
  void OnMade(NewEntry entry, const OriginObject& object);
  void OnReleased(std::uint64_t handle);
  [[nodiscard]] std::shared_ptr<WriteFile> FileOf(std::uint64_t handle) const;
  [[nodiscard]] std::optional<Writer> WriterOf(std::uint64_t id) const;  // of a node
  [[nodiscard]] WriteAnswer Gated(WriteAnswer answer) const;
  void Do(std::function<void()> job);
  void Work();
  void GiveUpLeftOver(const std::vector<UploadJournal::Left>& left);
  void Seal(const Place& place);
  int RenameNow(const Place& from, const Place& to, bool replace);
  [[nodiscard]] std::string InOrigin(const Place& place) const;

  const WritingOptions options_;
  FileSystem& files_;
  UploadJournal& journal_;
  const platform::Log& log_;
  WriteMetrics metrics_;
  std::shared_ptr<WriteMemory> memory_;
  std::shared_ptr<Gate> gate_ = std::make_shared<Gate>();
  platform::Guarded<State> state_;
  platform::Guarded<Jobs> jobs_;
  std::jthread worker_;  // does what blocks
};

}  // namespace sluice::fuse_client
