#include "reply.h"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

namespace sluice::pool {
namespace {

constexpr std::size_t kQuoted = 100;

using Kind = Reply::Kind;

tl::unexpected<Error> NoReply(std::string_view line) {
  return Fail(Code::kUnavailable, fmt::format("not a reply of memcached: {}", Printable(line)));
}

// Takes the next word off `rest`; empty at the end.
std::string_view NextWord(std::string_view& rest) {
  const std::size_t begin = std::min(rest.find_first_not_of(' '), rest.size());
  const std::size_t end = std::min(rest.find(' ', begin), rest.size());
  const std::string_view word = rest.substr(begin, end - begin);
  rest.remove_prefix(end);
  return word;
}

template <typename T>
bool ParseNumber(std::string_view text, T& number) {
  const char* const end = text.data() + text.size();
  const auto [last, error] = std::from_chars(text.data(), end, number);
  return error == std::errc() && last == end;
}

bool TakeFlag(std::string_view flag, Reply& reply) {
  const std::string_view value = flag.substr(1);
  switch (flag.front()) {
    case 'c':
      return ParseNumber(value, reply.cas);
    case 'f':
      return ParseNumber(value, reply.client_flags);
    case 's': {
      std::uint64_t size = 0;
      return ParseNumber(value, size) && size == reply.length;
    }
    case 'O': {
      std::uint32_t opaque = 0;
      if (!ParseNumber(value, opaque)) return false;
      reply.opaque = opaque;
      return true;
    }
    case 'W':
      reply.won = true;
      return value.empty();
    default:
      return true;  // Z, X and whatever later servers say
  }
}

std::optional<Kind> KindOf(std::string_view word) {
  if (word == "VA") return Kind::kValue;
  if (word == "EN") return Kind::kMiss;
  if (word == "HD") return Kind::kDone;
  if (word == "NS") return Kind::kNotStored;
  if (word == "EX") return Kind::kExists;
  if (word == "NF") return Kind::kNotFound;
  if (word == "STORED") return Kind::kStored;
  if (word == "OK") return Kind::kOk;
  if (word == "STAT") return Kind::kStatistic;
  if (word == "END") return Kind::kEnd;
  if (word == "CLIENT_ERROR") return Kind::kClientError;
  if (word == "SERVER_ERROR") return Kind::kServerError;
  return std::nullopt;
}

bool HasText(Kind kind) {
  return kind == Kind::kStatistic || kind == Kind::kClientError || kind == Kind::kServerError;
}

}  // namespace

std::string Printable(std::string_view text) {
  std::string printable(text.substr(0, kQuoted));
  std::replace_if(
      printable.begin(), printable.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
  return printable;
}

Result<Reply> ParseReply(std::string_view line) {
  std::string_view rest = line;
  const auto kind = KindOf(NextWord(rest));
  if (!kind) return NoReply(line);
  Reply reply;
  reply.kind = *kind;
  if (HasText(*kind)) {
    reply.text = rest.substr(std::min(rest.find_first_not_of(' '), rest.size()));
    return reply;
  }
  if (*kind == Kind::kValue &&
      (!ParseNumber(NextWord(rest), reply.length) || reply.length > kLongestValue)) {
    return NoReply(line);
  }
  for (std::string_view flag = NextWord(rest); !flag.empty(); flag = NextWord(rest)) {
    if (!TakeFlag(flag, reply)) return NoReply(line);
  }
  return reply;
}

}  // namespace sluice::pool
