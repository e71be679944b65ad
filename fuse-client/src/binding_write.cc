#define FUSE_USE_VERSION FUSE_MAKE_VERSION(3, 14)
#include "binding_write.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <utility>

#include "binding.h"

namespace sluice::fuse_client {

void WriteSide::Count(const char* operation) const {
  metrics->AddCounter("sluice_fuse_requests_total", "Requests by operation", {{"op", operation}})
      .Add();
}

void WriteSide::ReplyError(fuse_req_t request, int error) const {
  if (error != 0 && error != ENOENT) errors->Add();
  fuse_reply_err(request, error);
}

namespace {

// Each handler answers exactly once; on a dataset that is only read with EROFS.
template <typename F>
void Change(fuse_req_t request, const char* operation, F&& handler) noexcept {
  try {
    const WriteSide& side = WriteSideOf(request);
    if (side.writing == nullptr) {
      fuse_reply_err(request, EROFS);
      return;
    }
    side.Count(operation);
    handler(side);
  } catch (const std::exception&) {
    fuse_reply_err(request, ENOMEM);
  }
}

// The bytes pass the page cache by: they are on their way when write(2) returns, in its order.
void Describe(fuse_file_info& info, std::uint64_t handle) {
  info.fh = handle;
  info.direct_io = 1;
  info.nonseekable = 0;
}

void Create(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t /*mode*/,
            fuse_file_info* info) {
  Change(request, "create", [&](const WriteSide& side) {
    const auto opened = side.writing->Create(parent, name, info->flags);
    if (!opened) return side.ReplyError(request, opened.error());
    const fuse_entry_param entry = side.entry(opened->attributes);
    Describe(*info, opened->handle);
    fuse_reply_create(request, &entry, info);
  });
}

void Write(fuse_req_t request, fuse_ino_t /*id*/, const char* bytes, std::size_t size, off_t offset,
           fuse_file_info* info) {
  Change(request, "write", [&](const WriteSide& side) {
    side.writing->Write(info->fh, static_cast<std::uint64_t>(offset),
                        {reinterpret_cast<const std::byte*>(bytes), size}, info->lock_owner,
                        [request, size, &side](int error) {
                          if (error != 0) return side.ReplyError(request, error);
                          fuse_reply_write(request, size);
                        });
  });
}

WriteAnswer AnswerTo(fuse_req_t request, const WriteSide& side) {
  return [request, &side](int error) { side.ReplyError(request, error); };
}

// Of a file that is read, whether or not there is writing, nothing is to be flushed or synced.
bool IsRead(const fuse_file_info& info) { return info.fh == 0; }

void Flush(fuse_req_t request, fuse_ino_t /*id*/, fuse_file_info* info) {
  if (IsRead(*info)) {
    fuse_reply_err(request, 0);
    return;
  }
  Change(request, "flush", [&](const WriteSide& side) {
    side.writing->Flush(info->fh, info->lock_owner, AnswerTo(request, side));
  });
}

void Sync(fuse_req_t request, fuse_ino_t /*id*/, int /*data_only*/, fuse_file_info* info) {
  if (IsRead(*info)) {
    fuse_reply_err(request, 0);
    return;
  }
  Change(request, "fsync",
         [&](const WriteSide& side) { side.writing->Sync(info->fh, AnswerTo(request, side)); });
}

void MakeDirectory(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t /*mode*/) {
  Change(request, "mkdir", [&](const WriteSide& side) {
    const auto made = side.writing->MakeDirectory(parent, name);
    if (!made) return side.ReplyError(request, made.error());
    const fuse_entry_param entry = side.entry(*made);
    fuse_reply_entry(request, &entry);
  });
}

void RemoveDirectory(fuse_req_t request, fuse_ino_t parent, const char* name) {
  Change(request, "rmdir", [&](const WriteSide& side) {
    side.ReplyError(request, side.writing->RemoveDirectory(parent, name));
  });
}

void Rename(fuse_req_t request, fuse_ino_t parent, const char* name, fuse_ino_t new_parent,
            const char* new_name, unsigned flags) {
  Change(request, "rename", [&](const WriteSide& side) {
    constexpr unsigned kNoReplace = 1;  // RENAME_NOREPLACE
    if ((flags & ~kNoReplace) != 0) return side.ReplyError(request, EINVAL);
    side.writing->Rename({parent, name}, {new_parent, new_name}, (flags & kNoReplace) == 0,
                         AnswerTo(request, side));
  });
}

// Modes and times are not kept: tools that set them after copying need not fail for that.
void SetAttributes(fuse_req_t request, fuse_ino_t id, struct stat* wanted, int what,
                   fuse_file_info* /*info*/) {
  Change(request, "setattr", [&](const WriteSide& side) {
    if ((what & (FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID)) != 0) {
      return side.ReplyError(request, EPERM);
    }
    if ((what & FUSE_SET_ATTR_SIZE) != 0) {
      const int error = side.writing->Truncate(id, static_cast<std::uint64_t>(wanted->st_size));
      if (error != 0) return side.ReplyError(request, error);
    }
    const auto attributes = side.attributes(id);
    if (!attributes) return side.ReplyError(request, ErrnoOf(attributes.error().code));
    const fuse_entry_param entry = side.entry(*attributes);
    fuse_reply_attr(request, &entry.attr, entry.attr_timeout);
  });
}

template <int kError>
void Refuse(fuse_req_t request) {
  fuse_reply_err(request, WriteSideOf(request).writing == nullptr ? EROFS : kError);
}

}  // namespace

bool OpenForWriting(fuse_req_t request, fuse_ino_t id, const fuse_file_info& info) {
  if ((info.flags & O_ACCMODE) == O_RDONLY && (info.flags & O_TRUNC) == 0) return false;
  Change(request, "open_to_write", [&](const WriteSide& side) {
    if (side.writing->RefuseReading(id, AnswerTo(request, side))) return;
    const auto opened = side.writing->Open(id, info.flags);
    if (!opened) return side.ReplyError(request, opened.error());
    fuse_file_info described = info;
    Describe(described, opened->handle);
    fuse_reply_open(request, &described);
  });
  return true;
}

bool RefuseReading(fuse_req_t request, fuse_ino_t id) {
  const WriteSide& side = WriteSideOf(request);
  return side.writing != nullptr && side.writing->RefuseReading(id, AnswerTo(request, side));
}

void AddWriteOperations(fuse_lowlevel_ops& ops) {
  ops.create = Create;
  ops.write = Write;
  ops.flush = Flush;
  ops.fsync = Sync;
  ops.mkdir = MakeDirectory;
  ops.rmdir = RemoveDirectory;
  ops.rename = Rename;
  ops.setattr = SetAttributes;
  ops.mknod = [](fuse_req_t r, fuse_ino_t, const char*, mode_t, dev_t) { Refuse<EPERM>(r); };
  ops.unlink = [](fuse_req_t r, fuse_ino_t, const char*) { Refuse<EPERM>(r); };
  ops.symlink = [](fuse_req_t r, const char*, fuse_ino_t, const char*) { Refuse<EPERM>(r); };
  ops.link = [](fuse_req_t r, fuse_ino_t, fuse_ino_t, const char*) { Refuse<EPERM>(r); };
  ops.setxattr = [](fuse_req_t r, fuse_ino_t, const char*, const char*, std::size_t, int) {
    Refuse<EOPNOTSUPP>(r);
  };
  ops.removexattr = [](fuse_req_t r, fuse_ino_t, const char*) { Refuse<EOPNOTSUPP>(r); };
}

}  // namespace sluice::fuse_client
