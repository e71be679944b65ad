#include "reply_stream.h"

#include <algorithm>
#include <string_view>

namespace sluice::pool {
namespace {

constexpr std::size_t kWaste = 64U << 10;

tl::unexpected<Error> Broken(std::string_view what) {
  return Fail(Code::kUnavailable, std::string(what));
}

}  // namespace

std::span<const std::byte> ReplyStream::Buffered() const {
  return std::span(buffer_).subspan(begin_, end_ - begin_);
}

ReplyStream::Room ReplyStream::NextRoom() {
  if (begin_ > 0) {
    std::copy(buffer_.begin() + static_cast<std::ptrdiff_t>(begin_),
              buffer_.begin() + static_cast<std::ptrdiff_t>(end_), buffer_.begin());
    end_ -= begin_;
    begin_ = 0;
  }
  Room room;
  if (state_ == State::kValue) {
    if (value_.empty()) {
      waste_.resize(kWaste);
      room.value = std::span(waste_).first(
          static_cast<std::size_t>(std::min<std::uint64_t>(value_left_, kWaste)));
    } else {
      room.value = value_;
    }
  }
  if (room.value.size() == value_left_) room.lines = std::span(buffer_).subspan(end_);
  return room;
}

Status ReplyStream::Received(std::size_t count) {
  if (state_ == State::kValue) {
    // The room was the value's rest, or as much of it as is thrown away at once.
    const std::size_t room = value_.empty() ? waste_.size() : value_.size();
    const std::size_t taken = std::min({count, room, static_cast<std::size_t>(value_left_)});
    if (!value_.empty()) value_ = value_.subspan(taken);
    value_left_ -= taken;
    count -= taken;
  }
  end_ += count;
  for (bool progress = true; progress;) {
    progress = false;
    if (auto status = Step(progress); !status) return status;
  }
  if (state_ == State::kLine && end_ - begin_ == buffer_.size()) {
    return Broken("a reply line without an end");
  }
  return Ok();
}

Status ReplyStream::Step(bool& progress) {
  switch (state_) {
    case State::kLine:
      return TakeLine(progress);
    case State::kValue:
      if (begin_ < end_) MoveToValue();
      if (value_left_ == 0) {
        state_ = State::kValueEnd;
        progress = true;
      }
      return Ok();
    case State::kValueEnd:
      return TakeValueEnd(progress);
  }
  return Ok();
}

Status ReplyStream::TakeLine(bool& progress) {
  const auto bytes = Buffered();
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const std::size_t end = text.find('\n');
  if (end == std::string_view::npos) return Ok();
  if (end == 0 || text[end - 1] != '\r') return Broken("a reply line that does not end with CR LF");
  const auto reply = ParseReply(text.substr(0, end - 1));
  if (!reply) return Fail(reply.error());
  progress = true;
  begin_ += end + 1;
  const auto into = handler_.OnReply(*reply);
  if (!into) return Fail(into.error());
  if (reply->kind != Reply::Kind::kValue) return handler_.OnComplete();
  state_ = State::kValue;
  value_ = *into;
  value_left_ = reply->length;
  return Ok();
}

void ReplyStream::MoveToValue() {
  const auto bytes = Buffered();
  const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(bytes.size(), value_left_));
  if (!value_.empty()) {
    std::copy_n(bytes.begin(), count, value_.begin());
    value_ = value_.subspan(count);
  }
  begin_ += count;
  value_left_ -= count;
}

Status ReplyStream::TakeValueEnd(bool& progress) {
  const auto bytes = Buffered();
  if (bytes.size() < 2) return Ok();
  if (bytes[0] != std::byte{'\r'} || bytes[1] != std::byte{'\n'}) {
    return Broken("a value that does not end where it should");
  }
  begin_ += 2;
  state_ = State::kLine;
  progress = true;
  return handler_.OnComplete();
}

}  // namespace sluice::pool
