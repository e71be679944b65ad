#include "http_transport.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <deque>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <curl/curl.h>
#include <fmt/format.h>

#include "sluice/platform/guarded.h"
#include "sluice/platform/unique_fd.h"

#include "bandwidth_limit.h"
#include "curl_setup.h"
#include "hedge_policy.h"

namespace sluice::origin {
namespace {

using std::chrono::duration_cast;
using std::chrono::milliseconds;
using SteadyTime = std::chrono::steady_clock::time_point;

constexpr long kReceiveBuffer = 512L << 10;
constexpr long kLimitedReceiveBuffer = 64L << 10;  // what comes before it is paused
constexpr long kKeepAliveSeconds = 30;
constexpr milliseconds kLongestPoll{500};
// While bodies trickle in, wait a moment for more instead of waking for each packet: it halves the
// CPU time per byte on a link of 250 MB/s.
constexpr std::chrono::microseconds kGather{300};
constexpr std::size_t kGatherBelow = 256U << 10;  // bytes in one round

struct EasyDeleter {
  void operator()(CURL* easy) const { curl_easy_cleanup(easy); }
};
using Easy = std::unique_ptr<CURL, EasyDeleter>;

struct SlistDeleter {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using Slist = std::unique_ptr<curl_slist, SlistDeleter>;

// What all transfers share.
struct Shared {
  explicit Shared(const OriginLimits& limits)
      : hedging({.floor = limits.hedge_floor}), bandwidth(limits.bytes_per_second) {}

  HedgePolicy hedging;
  BandwidthLimit bandwidth;
  std::size_t round_bytes = 0;  // body bytes since the latest wait
};

// An attempt under way.
struct Transfer {
  std::unique_ptr<HttpCall> call;  // of a pair, one has it; null when the transfer has lost
  Easy easy;
  Slist headers;
  HttpHead head;
  std::array<char, CURL_ERROR_SIZE> error{};
  SteadyTime started;
  SteadyTime last_byte;
  Shared* shared = nullptr;
  std::shared_ptr<const std::vector<std::byte>> body;  // being sent
  curl_off_t sent = 0;                                 // of it
  milliseconds patience{0};
  bool head_delivered = false;
  bool abandoned = false;
  BandwidthLimit::Ticket ticket;

  std::optional<HttpRequest> again;  // to be sent once more if its answer is late
  SteadyTime asked;                  // when the first of a pair was started
  Transfer* twin = nullptr;          // the other one of a pair, while neither has an answer
  bool is_hedge = false;             // the second one
  bool lost = false;                 // the other one has the call: to be dropped
};

// One of a pair leaves the call to the other.
void Lose(Transfer& loser) {
  Transfer& winner = *loser.twin;
  if (loser.call != nullptr) winner.call = std::move(loser.call);
  winner.twin = loser.twin = nullptr;
  loser.lost = true;
}

// Whether the call is another transfer's to end; it is now if there is another one.
bool LeavesToTwin(Transfer& transfer) {
  if (transfer.twin != nullptr) Lose(transfer);
  return transfer.lost;
}

HttpCall& CallOf(Transfer& transfer) {
  return transfer.call != nullptr ? *transfer.call : *transfer.twin->call;
}

// An answer has come. Of a pair the first one gets the call, but one that only says that the server
// has too much to do does not end the other. False: it is not for the call.
bool ClaimAnswer(Transfer& transfer, int status) {
  if (transfer.lost) return false;
  const SteadyTime now = std::chrono::steady_clock::now();
  const bool overloaded = status == 429 || status >= 500;
  if (overloaded) transfer.shared->hedging.OnOverload(now);
  if (overloaded && LeavesToTwin(transfer)) return false;
  if (transfer.twin != nullptr) Lose(*transfer.twin);
  if (overloaded) return true;
  if (transfer.is_hedge) transfer.call->OnHedgeWon();
  if (transfer.call->MayBeHedged()) transfer.shared->hedging.OnFirstByte(now - transfer.asked);
  return true;
}

struct Waiting {
  SteadyTime at;
  std::unique_ptr<HttpCall> call;
};
bool Later(const Waiting& a, const Waiting& b) { return a.at > b.at; }

bool EqualsIgnoringCase(std::string_view a, std::string_view b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), [](char x, char y) {
           return (x | 0x20) == (y | 0x20);
         });
}

std::string_view Trim(std::string_view text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r' || text.back() == ' ')) {
    text.remove_suffix(1);
  }
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  return text;
}

void TakeHeader(HttpHead& head, std::string_view name, std::string_view value) {
  for (const auto& [known, text] : {std::pair("etag", &head.etag),
                                    {"content-range", &head.content_range},
                                    {"last-modified", &head.last_modified},
                                    {"location", &head.location},
                                    {"accept-ranges", &head.accept_ranges},
                                    {"content-type", &head.content_type},
                                    {"content-encoding", &head.content_encoding},
                                    {"link", &head.link},
                                    {"x-linked-etag", &head.linked_etag},
                                    {"x-error-code", &head.error_code},
                                    {kUploadMarkHeader, &head.upload_mark}}) {
    if (EqualsIgnoringCase(name, known)) *text = value;
  }
  if (EqualsIgnoringCase(name, "content-length")) {
    std::uint64_t length = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), length);
    if (error == std::errc() && end == value.data() + value.size()) head.content_length = length;
  }
}

// Runs a callback inside libcurl's C frames: no exception may pass, and one ends the attempt.
template <typename F>
bool Guard(Transfer& transfer, F&& f) {
  try {
    if (f()) return true;
  } catch (...) {
  }
  transfer.abandoned = true;
  return false;
}

// The status is known only after all header lines, so the head is delivered with the first byte of
// the body or at the end.
bool DeliverHead(Transfer& transfer) {
  if (transfer.head_delivered) return true;
  transfer.head_delivered = true;
  long status = 0;
  curl_easy_getinfo(transfer.easy.get(), CURLINFO_RESPONSE_CODE, &status);
  transfer.head.status = static_cast<int>(status);
  return Guard(transfer, [&] {
    return ClaimAnswer(transfer, transfer.head.status) && transfer.call->OnHead(transfer.head);
  });
}

std::size_t OnHeaderLine(char* data, std::size_t size, std::size_t count, void* user) {
  auto& transfer = *static_cast<Transfer*>(user);
  transfer.last_byte = std::chrono::steady_clock::now();
  const std::string_view line(data, size * count);
  if (line.starts_with("HTTP/")) transfer.head = {};  // also after an interim answer
  if (const std::size_t colon = line.find(':'); colon != std::string_view::npos) {
    TakeHeader(transfer.head, Trim(line.substr(0, colon)), Trim(line.substr(colon + 1)));
  }
  return size * count;
}

std::size_t OnBodyBytes(char* data, std::size_t size, std::size_t count, void* user) {
  auto& transfer = *static_cast<Transfer*>(user);
  transfer.last_byte = std::chrono::steady_clock::now();
  const std::span bytes(reinterpret_cast<const std::byte*>(data), size * count);
  if (transfer.abandoned || transfer.lost || !DeliverHead(transfer)) return 0;
  Shared& shared = *transfer.shared;
  bool wait = false;
  const bool go_on = Guard(transfer, [&] {
    wait = !shared.bandwidth.Take(transfer.ticket, bytes.size(), transfer.last_byte);
    return wait || transfer.call->OnBody(bytes);
  });
  if (wait) return CURL_WRITEFUNC_PAUSE;  // libcurl keeps the bytes until AdmitWaiting
  shared.round_bytes += bytes.size();
  return go_on ? bytes.size() : 0;
}

// Sending is progress, too.
int OnSendProgress(void* user, curl_off_t /*total*/, curl_off_t /*received*/,
                   curl_off_t /*to_send*/, curl_off_t sent) {
  auto& transfer = *static_cast<Transfer*>(user);
  if (std::exchange(transfer.sent, sent) != sent) {
    transfer.last_byte = std::chrono::steady_clock::now();
  }
  return 0;
}

Outcome OutcomeOf(CURLcode code, const Transfer& transfer) {
  if (transfer.abandoned) return Outcome::kAbandoned;
  switch (code) {
    case CURLE_OK:
      return Outcome::kComplete;
    case CURLE_COULDNT_CONNECT:
    case CURLE_OPERATION_TIMEDOUT:  // only the connect phase has a timeout in libcurl
      return Outcome::kNoConnection;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
      return Outcome::kUnknownHost;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_ISSUER_ERROR:
      return Outcome::kUntrusted;
    default:
      return Outcome::kBroken;
  }
}

}  // namespace

struct HttpTransport::Impl {
  struct Inbox {
    std::vector<std::unique_ptr<HttpCall>> calls;
    std::size_t unfinished = 0;  // everywhere, not only here
  };

  Impl(const OriginLimits& wanted, std::string certificates)
      : limits(wanted),
        shared(limits),
        ca_file(std::move(certificates)),
        epoll(::epoll_create1(EPOLL_CLOEXEC)),
        wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    InitializeCurl();
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = wake.Get();
    ::epoll_ctl(epoll.Get(), EPOLL_CTL_ADD, wake.Get(), &event);
    multi = curl_multi_init();
    curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, static_cast<long>(limits.max_connections));
    curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, &Impl::OnSocket);
    curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, this);
    curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, &Impl::OnTimer);
    curl_multi_setopt(multi, CURLMOPT_TIMERDATA, this);
    thread = std::jthread([this](const std::stop_token& stop) { Run(stop); });
  }
  ~Impl() {
    thread.request_stop();
    Wake();
    thread.join();
    idle.clear();
    curl_multi_cleanup(multi);
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  void Wake() const {
    const std::uint64_t one = 1;
    // It fails only when the counter is full, and then the thread is awake anyway.
    [[maybe_unused]] const ssize_t written = ::write(wake.Get(), &one, sizeof(one));
  }

  // libcurl tells which sockets it wants to hear of. This way (instead of curl_multi_perform) it
  // does not poll every connection in every round, which is most of the CPU time on slow links.
  static int OnSocket(CURL* /*easy*/, curl_socket_t socket, int what, void* self, void* known) {
    auto* impl = static_cast<Impl*>(self);
    if (what == CURL_POLL_REMOVE) {
      ::epoll_ctl(impl->epoll.Get(), EPOLL_CTL_DEL, socket, nullptr);
      curl_multi_assign(impl->multi, socket, nullptr);
      return 0;
    }
    epoll_event event{};
    event.data.fd = socket;
    if ((what & CURL_POLL_IN) != 0) event.events |= EPOLLIN;
    if ((what & CURL_POLL_OUT) != 0) event.events |= EPOLLOUT;
    ::epoll_ctl(impl->epoll.Get(), known == nullptr ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, socket,
                &event);
    curl_multi_assign(impl->multi, socket, impl);
    return 0;
  }
  static int OnTimer(CURLM* /*multi*/, long milliseconds_from_now, void* self) {
    auto* impl = static_cast<Impl*>(self);
    impl->timer.reset();
    if (milliseconds_from_now >= 0) {
      impl->timer = std::chrono::steady_clock::now() + milliseconds(milliseconds_from_now);
    }
    return 0;
  }

  void Run(const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      TakeInbox();
      StartWhatIsDue();
      RunTimer();
      AdmitWaiting();
      CollectFinished();
      CutOverdue();
      HedgeSlow();  // has the connection that has become free, before a new request
      StartWhatIsDue();
      WaitAndReceive();
    }
    GiveUpAll({Code::kUnavailable, "the client is shutting down"});
  }

  void RunTimer() {
    if (!timer || *timer > std::chrono::steady_clock::now()) return;
    timer.reset();
    int running = 0;
    curl_multi_socket_action(multi, CURL_SOCKET_TIMEOUT, 0, &running);
  }

  void WaitAndReceive() {
    if (shared.round_bytes > 0 && shared.round_bytes < kGatherBelow) {
      std::this_thread::sleep_for(kGather);
    }
    shared.round_bytes = 0;
    std::array<epoll_event, 64> events{};
    const int count = ::epoll_wait(epoll.Get(), events.data(), static_cast<int>(events.size()),
                                   static_cast<int>(NextWait().count()));
    for (int i = 0; i < count; ++i) {
      const epoll_event& event = events.at(static_cast<std::size_t>(i));
      if (event.data.fd == wake.Get()) {
        std::uint64_t ignored = 0;
        [[maybe_unused]] const ssize_t got = ::read(wake.Get(), &ignored, sizeof(ignored));
        continue;
      }
      int bits = 0;
      if ((event.events & EPOLLIN) != 0) bits |= CURL_CSELECT_IN;
      if ((event.events & EPOLLOUT) != 0) bits |= CURL_CSELECT_OUT;
      if ((event.events & (EPOLLERR | EPOLLHUP)) != 0) bits |= CURL_CSELECT_ERR;
      int running = 0;
      curl_multi_socket_action(multi, event.data.fd, bits, &running);
    }
  }

  void TakeInbox() {
    auto calls = inbox.With([](Inbox& box) { return std::exchange(box.calls, {}); });
    for (auto& call : calls) ready.push_back(std::move(call));
  }

  void StartWhatIsDue() {
    const SteadyTime now = std::chrono::steady_clock::now();
    while (!delayed.empty() && delayed.front().at <= now) {
      std::pop_heap(delayed.begin(), delayed.end(), Later);
      ready.push_back(std::move(delayed.back().call));
      delayed.pop_back();
    }
    while (!ready.empty() && active.size() < limits.max_connections) {
      auto call = std::move(ready.front());
      ready.pop_front();
      if (call->Deadline() <= now) {
        Finish([&] {
          call->OnGiveUp({Code::kDeadlineExceeded, "no connection became free in time"});
        });
        continue;
      }
      Start(std::move(call), now);
    }
  }

  std::unique_ptr<Transfer> MakeTransfer(SteadyTime now) {
    auto transfer = std::make_unique<Transfer>();
    transfer->started = transfer->last_byte = transfer->asked = now;
    transfer->shared = &shared;
    transfer->ticket.owner = transfer.get();
    if (idle.empty()) {
      transfer->easy.reset(curl_easy_init());
    } else {
      transfer->easy = std::move(idle.back());
      idle.pop_back();
    }
    return transfer;
  }

  void Start(std::unique_ptr<HttpCall> call, SteadyTime now) {
    auto transfer = MakeTransfer(now);
    transfer->call = std::move(call);
    auto request = transfer->call->Prepare();
    if (!request) return End(std::move(transfer), Outcome::kNotSent, "not sent");
    Configure(*transfer, *request);
    if (limits.hedge && transfer->call->MayBeHedged()) {
      shared.hedging.OnRequest();
      transfer->again = std::move(request);
    }
    Add(std::move(transfer));
  }

  void Add(std::unique_ptr<Transfer> transfer) {
    curl_multi_add_handle(multi, transfer->easy.get());
    active.push_back(std::move(transfer));
  }

  // ---- second requests --------------------------------------------------------------------------

  // Sends once more what has no answer for unusually long; the first of the two answers counts.
  void HedgeSlow() {
    const SteadyTime now = std::chrono::steady_clock::now();
    const auto threshold = shared.hedging.Threshold(now);
    if (!threshold) return;
    for (std::size_t i = 0; i < active.size() && active.size() < limits.max_connections; ++i) {
      Transfer& slow = *active[i];
      if (!MayBeSentAgain(slow) || now - slow.asked < *threshold) continue;
      const HttpRequest request = *std::exchange(slow.again, std::nullopt);
      if (shared.hedging.Take(now)) StartTwin(slow, request, now);
    }
  }

  static bool MayBeSentAgain(const Transfer& transfer) {
    return transfer.again && !transfer.head_delivered;
  }

  void StartTwin(Transfer& slow, const HttpRequest& request, SteadyTime now) {
    auto twin = MakeTransfer(now);
    twin->asked = slow.asked;
    twin->is_hedge = true;
    twin->twin = &slow;
    slow.twin = twin.get();
    slow.call->OnHedge();
    Configure(*twin, request);
    Add(std::move(twin));
  }

  // Those that have lost. Their connections are of no use: the answer is on its way.
  void DropLosers() {
    std::vector<Transfer*> losers;
    for (const auto& transfer : active) {
      if (transfer->lost) losers.push_back(transfer.get());
    }
    for (Transfer* const loser : losers) Recycle(*Detach(loser));
  }

  void Recycle(Transfer& transfer) {
    curl_easy_setopt(transfer.easy.get(), CURLOPT_ERRORBUFFER, nullptr);
    if (idle.size() < limits.max_connections) idle.push_back(std::move(transfer.easy));
  }

  // ---- bandwidth --------------------------------------------------------------------------------

  // Goes on with those that were paused and whose turn has come.
  void AdmitWaiting() {
    const SteadyTime now = std::chrono::steady_clock::now();
    for (BandwidthLimit::Ticket* const ticket : shared.bandwidth.Admit(now)) {
      auto* const transfer = static_cast<Transfer*>(ticket->owner);
      transfer->call->OnThrottled(now - ticket->since);
      transfer->last_byte = now;
      // It calls back at once with the bytes that were kept; a failure then is told here only.
      const CURLcode code = curl_easy_pause(transfer->easy.get(), CURLPAUSE_CONT);
      if (code == CURLE_OK) continue;
      auto owned = Detach(transfer);
      const Outcome outcome = OutcomeOf(code, *owned);
      End(std::move(owned), outcome, curl_easy_strerror(code));
    }
  }

  // ---- transfers --------------------------------------------------------------------------------

  static void AppendHeaders(Transfer& transfer, const Headers& headers) {
    for (const auto& [name, value] : headers) {
      const std::string line = name + ": " + value;
      curl_slist* grown = curl_slist_append(transfer.headers.get(), line.c_str());
      if (grown != nullptr) {
        (void)transfer.headers.release();
        transfer.headers.reset(grown);
      }
    }
  }

  void Configure(Transfer& transfer, const HttpRequest& request) {
    CURL* easy = transfer.easy.get();
    curl_easy_reset(easy);  // keeps connections, DNS cache and TLS sessions
    AppendHeaders(transfer, request.headers);
    AppendHeaders(transfer, request.credentials);
    curl_easy_setopt(easy, CURLOPT_URL, request.url.c_str());
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, transfer.headers.get());
    curl_easy_setopt(easy, CURLOPT_NOBODY, request.method == Method::kHead ? 1L : 0L);
    curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
    curl_easy_setopt(easy, CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
    if (!ca_file.empty()) curl_easy_setopt(easy, CURLOPT_CAINFO, ca_file.c_str());
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_TCP_NODELAY, 1L);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPIDLE, kKeepAliveSeconds);
    curl_easy_setopt(easy, CURLOPT_BUFFERSIZE,
                     shared.bandwidth.Limits() ? kLimitedReceiveBuffer : kReceiveBuffer);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS,
                     static_cast<long>(limits.connect_timeout.count()));
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer.error.data());
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, &OnHeaderLine);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, &transfer);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, &OnBodyBytes);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, &transfer);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, &transfer);
    if (request.method != Method::kGet && request.method != Method::kHead) {
      ConfigureChange(transfer, request);
    }
  }

  static void ConfigureChange(Transfer& transfer, const HttpRequest& request) {
    CURL* easy = transfer.easy.get();
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, NameOf(request.method));
    transfer.patience = request.patience;
    if (request.method == Method::kDelete) return;
    transfer.body = request.body;
    const bool empty = request.body == nullptr || request.body->empty();
    const curl_off_t size = empty ? 0 : static_cast<curl_off_t>(request.body->size());
    // libcurl reads it from here, once for each time that it has to send it.
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, size);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS,
                     empty ? "" : reinterpret_cast<const char*>(request.body->data()));
    curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, kReceiveBuffer);
    curl_easy_setopt(easy, CURLOPT_XFERINFOFUNCTION, &OnSendProgress);
    curl_easy_setopt(easy, CURLOPT_XFERINFODATA, &transfer);
    curl_easy_setopt(easy, CURLOPT_NOPROGRESS, 0L);
    AppendHeaders(transfer, {{"Expect", ""}, {"Content-Type", "application/octet-stream"}});
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, transfer.headers.get());
  }

  void CollectFinished() {
    int left = 0;
    while (const CURLMsg* message = curl_multi_info_read(multi, &left)) {
      if (message->msg != CURLMSG_DONE) continue;
      void* user = nullptr;
      curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &user);
      const CURLcode code = message->data.result;
      auto transfer = Detach(static_cast<Transfer*>(user));
      // An answer without a body; one that failed in the middle has delivered its head already.
      if (code == CURLE_OK) DeliverHead(*transfer);
      if (LeavesToTwin(*transfer)) {
        Recycle(*transfer);
        continue;
      }
      const Outcome outcome = OutcomeOf(code, *transfer);
      End(std::move(transfer), outcome, curl_easy_strerror(code));
    }
    DropLosers();
  }

  // Stalled transfers are cut; what is over its deadline is given up, wherever it waits.
  void CutOverdue() {
    const SteadyTime now = std::chrono::steady_clock::now();
    std::vector<Transfer*> overdue;
    for (const auto& transfer : active) {
      const bool stalled =
          !transfer->ticket.waiting && transfer->last_byte + StallTimeout(*transfer) <= now;
      if (stalled || CallOf(*transfer).Deadline() <= now) {
        overdue.push_back(transfer.get());
      }
    }
    for (Transfer* cut : overdue) {
      auto transfer = Detach(cut);
      if (LeavesToTwin(*transfer)) {
        Recycle(*transfer);
      } else if (transfer->call->Deadline() <= now) {
        Finish([&] { transfer->call->OnGiveUp({Code::kDeadlineExceeded, "not done in time"}); });
      } else {
        End(std::move(transfer), Outcome::kStalled,
            fmt::format("no byte for {} ms", StallTimeout(*cut).count()));
      }
    }
    const auto late = [&](const std::unique_ptr<HttpCall>& call) {
      if (call->Deadline() > now) return false;
      Finish([&] {
        call->OnGiveUp({Code::kDeadlineExceeded, "no connection became free in time"});
      });
      return true;
    };
    std::erase_if(ready, late);
  }

  // libcurl times the connection itself.
  [[nodiscard]] milliseconds StallTimeout(const Transfer& transfer) const {
    const bool began = transfer.last_byte != transfer.started;
    return std::max(
        transfer.patience,
        began ? limits.stall_timeout : std::max(limits.stall_timeout, limits.connect_timeout * 2));
  }

  std::unique_ptr<Transfer> Detach(Transfer* transfer) {
    curl_multi_remove_handle(multi, transfer->easy.get());
    shared.bandwidth.Leave(transfer->ticket);
    const auto found = std::find_if(active.begin(), active.end(),
                                    [&](const auto& other) { return other.get() == transfer; });
    auto owned = std::move(*found);
    active.erase(found);
    return owned;
  }

  void End(std::unique_ptr<Transfer> transfer, Outcome outcome, std::string_view detail) {
    Attempt attempt;
    attempt.outcome = outcome;
    attempt.detail = transfer->error[0] != '\0' ? transfer->error.data() : std::string(detail);
    attempt.took = std::chrono::steady_clock::now() - transfer->started;
    auto call = std::move(transfer->call);
    Recycle(*transfer);
    transfer.reset();

    const auto delay = call->OnAttemptEnd(attempt);
    if (!delay) return Finish([] {});
    const SteadyTime at = std::chrono::steady_clock::now() + *delay;
    if (at >= call->Deadline()) {
      // Better told now than after a wait that cannot help.
      return Finish([&] { call->OnGiveUp({Code::kDeadlineExceeded, "no time for another try"}); });
    }
    delayed.push_back({at, std::move(call)});
    std::push_heap(delayed.begin(), delayed.end(), Later);
  }

  template <typename F>
  void Finish(F&& tell) {
    tell();
    inbox.With([](Inbox& box) { --box.unfinished; });
  }

  [[nodiscard]] milliseconds NextWait() const {
    const SteadyTime now = std::chrono::steady_clock::now();
    milliseconds wait = kLongestPoll;
    const auto until = [&](SteadyTime at) {
      const auto left =
          at <= now ? milliseconds(0) : duration_cast<milliseconds>(at - now) + milliseconds(1);
      wait = std::min(wait, left);
    };
    if (!delayed.empty()) until(delayed.front().at);
    if (timer) until(*timer);
    if (const auto at = shared.bandwidth.NextAdmission()) until(*at);
    if (const auto threshold = shared.hedging.Threshold(now);
        threshold && active.size() < limits.max_connections) {
      for (const auto& transfer : active) {
        if (MayBeSentAgain(*transfer)) until(transfer->asked + *threshold);
      }
    }
    if (!active.empty()) {
      wait = std::min(wait, std::max(milliseconds(1), limits.stall_timeout / 4));
    }
    return wait;
  }

  void GiveUpAll(const Error& error) {
    TakeInbox();
    while (!active.empty()) {
      auto transfer = Detach(active.front().get());
      if (LeavesToTwin(*transfer)) continue;
      Finish([&] { transfer->call->OnGiveUp(error); });
    }
    for (auto& call : ready) Finish([&] { call->OnGiveUp(error); });
    for (auto& waiting : delayed) Finish([&] { waiting.call->OnGiveUp(error); });
    ready.clear();
    delayed.clear();
  }

  const OriginLimits limits;
  Shared shared;  // the thread's
  const std::string ca_file;
  const platform::UniqueFd epoll;
  const platform::UniqueFd wake;
  CURLM* multi = nullptr;
  platform::Guarded<Inbox> inbox;
  // The rest belongs to the thread.
  std::deque<std::unique_ptr<HttpCall>> ready;
  std::vector<Waiting> delayed;  // heap, soonest first
  std::vector<std::unique_ptr<Transfer>> active;
  std::vector<Easy> idle;
  std::optional<SteadyTime> timer;  // libcurl wants to be called then
  std::jthread thread;
};

const char* NameOf(Method method) {
  switch (method) {
    case Method::kGet:
      return "GET";
    case Method::kHead:
      return "HEAD";
    case Method::kPut:
      return "PUT";
    case Method::kPost:
      return "POST";
    case Method::kDelete:
      return "DELETE";
  }
  return "GET";
}

HttpTransport::HttpTransport(const OriginLimits& limits, std::string ca_file)
    : impl_(std::make_unique<Impl>(limits, std::move(ca_file))) {}
HttpTransport::~HttpTransport() = default;

Status HttpTransport::Submit(std::unique_ptr<HttpCall> call) {
  const std::size_t most = impl_->limits.max_connections + impl_->limits.max_queued_reads;
  const bool taken = impl_->inbox.With([&](Impl::Inbox& box) {
    if (box.unfinished >= most) return false;
    ++box.unfinished;
    box.calls.push_back(std::move(call));
    return true;
  });
  if (!taken) return Fail(Code::kUnavailable, fmt::format("{} requests are waiting already", most));
  impl_->Wake();
  return Ok();
}

}  // namespace sluice::origin
