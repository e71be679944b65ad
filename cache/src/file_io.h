// Whole-buffer file calls with errors that name the file. Private to the node cache.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>

#include "sluice/core/result.h"
#include "sluice/platform/unique_fd.h"

#include "object_index.h"

namespace sluice::cache {

// The last errno as an Error: "<what> <path>: <reason>".
Error ErrnoError(std::string_view what, const std::filesystem::path& path);

// Both retry short calls and EINTR. Reading fails at the end of the file.
Status ReadAt(int fd, std::uint64_t offset, std::span<std::byte> into,
              const std::filesystem::path& path);
Status WriteAt(int fd, std::uint64_t offset, std::span<const std::byte> bytes,
               const std::filesystem::path& path);

// Makes the disk begin to write what was written to the file, and waits until it has. Neither
// syncs metadata: this is for memory, not against a crash. A file system that knows no such thing
// is left alone.
void BeginWriteBack(int fd);
void AwaitWriteBack(int fd);

// Follows no symlink in the last component; close-on-exec.
Result<platform::UniqueFd> OpenFile(const std::filesystem::path& path, int flags,
                                    unsigned mode = 0);

// Whether the open file is the one that lies there now.
bool IsFileAt(const platform::UniqueFd& file, const std::filesystem::path& path);

// The whole of a file of at most `limit` bytes.
Result<ByteBuffer> ReadWholeFile(const std::filesystem::path& path, std::uint64_t limit);

}  // namespace sluice::cache
