// An origin that takes files, whose answers a test holds and spoils.
#pragma once

#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "sluice/ports/object_writer.h"

namespace sluice::fuse_client {

inline constexpr std::size_t kFakeBlock = 1000;

class FakeWriter final : public ObjectWriter {
 public:
  std::map<std::string, std::string> objects;
  std::map<std::string, unsigned> times;  // that an object was made
  std::vector<std::string> given_up;
  unsigned dropped = 0;         // uploads that were left before their end
  std::optional<Error> refuse;  // whatever is sent
  Shortage shortage = Shortage::kNone;
  bool hold = false;  // answers wait for Answer

  Result<std::unique_ptr<ObjectUpload>> Begin(const std::string& path, std::uint64_t /*largest*/,
                                              UploadRecords& /*records*/) override {
    return std::make_unique<Upload>(*this, path);
  }
  Written Rename(const OriginObject& from, const std::string& to) override {
    objects[to] = objects[from.path];
    objects.erase(from.path);
    Written written;
    written.object = from;
    written.object.path = to;
    return written;
  }
  Status GiveUp(const std::string& token) override {
    given_up.push_back(token);
    return Ok();
  }

  // The oldest answer that waits; false when there is none.
  bool Answer() {
    if (held_.empty()) return false;
    auto answer = std::move(held_.front());
    held_.pop_front();
    answer();
    return true;
  }

 private:
  class Upload final : public ObjectUpload {
   public:
    Upload(FakeWriter& writer, std::string path) : writer_(writer), path_(std::move(path)) {}
    ~Upload() override { writer_.dropped += finished_ ? 0 : 1; }
    Upload(const Upload&) = delete;
    Upload& operator=(const Upload&) = delete;

    [[nodiscard]] std::uint64_t NextBlock() const override { return kFakeBlock; }
    void Append(Block block, WriteDone done) override {
      Take(block);
      writer_.Reply({}, std::move(done));
    }
    void Finish(Block last, WriteDone done) override {
      finished_ = true;
      Take(last);
      Written written;
      written.object.path = path_;
      written.object.size = bytes_.size();
      written.object.version = "v" + std::to_string(++writer_.times[path_]);
      if (!writer_.refuse) writer_.objects[path_] = bytes_;
      writer_.Reply(std::move(written), std::move(done));
    }

   private:
    void Take(const Block& block) {
      bytes_.append(reinterpret_cast<const char*>(block->data()), block->size());
    }

    FakeWriter& writer_;
    const std::string path_;
    std::string bytes_;
    bool finished_ = false;
  };

  void Reply(Written written, WriteDone done) {
    if (refuse) written.status = Fail(*refuse);
    written.shortage = shortage;
    if (!hold) return done(written);
    held_.push_back([written = std::move(written), done = std::move(done)] { done(written); });
  }

  std::deque<std::function<void()>> held_;
};

// What an answer said: -1 before it comes.
struct Heard {
  std::shared_ptr<int> error = std::make_shared<int>(-1);
  std::function<void(int)> Take() {
    return [error = error](int e) { *error = e; };
  }
};

}  // namespace sluice::fuse_client
