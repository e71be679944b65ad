// The pool against real memcached processes.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <semaphore>
#include <thread>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "sluice/pool/encrypted_pool.h"
#include "sluice/pool/memcached_pool.h"

#include "chunk_pool_contract.h"
#include "memcached_fixture.h"

namespace sluice::pool {
namespace {

using std::chrono::milliseconds;
using test::Bytes;
using test::Fill;
using test::Get;
using test::KindOf;
using test::MakeBytes;
using test::Put;
using test::Renew;
using Kind = PoolAnswer::Kind;
using OnMiss = ChunkPool::OnMiss;

// Stands in for a checksum: enough to tell values apart.
std::uint32_t Sum(std::span<const std::byte> bytes) {
  std::uint64_t sum = 17;
  for (std::size_t at = 0; at + sizeof(std::uint64_t) <= bytes.size();
       at += sizeof(std::uint64_t)) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes.data() + at, sizeof(word));
    sum = (sum ^ word) * 0x100000001b3ULL;
  }
  return static_cast<std::uint32_t>(sum >> 32);
}

// How often the text occurs in what the process may write to.
int CountInMemory(pid_t pid, const std::string& text) {
  int count = 0;
  std::ifstream maps(fmt::format("/proc/{}/maps", pid));
  std::ifstream memory(fmt::format("/proc/{}/mem", pid), std::ios::binary);
  for (std::string line; std::getline(maps, line);) {
    unsigned long begin = 0;
    unsigned long end = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx rw", &begin, &end) != 2) continue;
    if (line.find(" rw") == std::string::npos) continue;
    std::string bytes(end - begin, '\0');
    memory.clear();
    memory.seekg(static_cast<std::streamoff>(begin));
    memory.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    bytes.resize(static_cast<std::size_t>(memory.gcount()));
    for (auto at = bytes.find(text); at != std::string::npos; at = bytes.find(text, at + 1))
      ++count;
  }
  return count;
}

TEST_F(MemcachedTest, KeepsThePortsContract) {
  const auto server = StartServer();
  ASSERT_TRUE(server);
  const auto pool =
      MakePool({server->Member("w-0"), server->Member("w-1")},
               [&](PoolOptions& options) { options.lease = std::chrono::seconds(4); });
  test::CheckChunkPool(*pool, [] { std::this_thread::sleep_for(milliseconds(5'200)); });
  EXPECT_EQ(Operations("get", "wrong_size"), 1);
  EXPECT_EQ(Operations("put", "not_stored"), 4);
}

TEST_F(MemcachedTest, ALeaseLastsWhileItIsRenewedAndNoLonger) {
  const auto server = StartServer();
  ASSERT_TRUE(server);
  constexpr std::chrono::seconds kLease{6};
  const auto lasting = [&](PoolOptions& options) { options.lease = kLease; };
  const auto filling = MakePool({server->Member("w-0")}, lasting);
  const auto other = MakePool({server->Member("w-0")}, lasting);
  Bytes into(100);
  const auto fill = Get(*filling, "a", into, OnMiss::kLease);
  ASSERT_EQ(KindOf(fill), Kind::kFill);
  PoolVersion lease = fill->lease;
  auto last = Steady::now();
  for (const auto begin = last; last - begin < kLease * 3 / 2;) {
    std::this_thread::sleep_for(milliseconds(400));
    const auto renewed = Renew(*filling, "a", lease);
    ASSERT_TRUE(renewed) << renewed.error().message;
    last = Steady::now();
    lease = *renewed;
    ASSERT_EQ(KindOf(Get(*other, "a", into, OnMiss::kLease)), Kind::kWait);
  }
  // As if its client had died.
  ASSERT_TRUE(
      Eventually([&] { return KindOf(Get(*other, "a", into, OnMiss::kLease)) == Kind::kFill; }));
  EXPECT_GT(Steady::now() - last, kLease * 2 / 3);
  EXPECT_LT(Steady::now() - last, kLease * 3 / 2);
  EXPECT_EQ(test::CodeOf(Renew(*filling, "a", lease)), Code::kNotFound);
}

TEST_F(MemcachedTest, LargeValuesComeBackIntactFromManyAtOnce) {
  constexpr std::size_t kSize = 4U << 20;
  constexpr std::size_t kValues = 100;
  constexpr std::size_t kAtOnce = 16;
  const auto server = StartServer({"-m", "1024"});
  ASSERT_TRUE(server);
  const auto pool = MakePool({server->Member("w-0")});
  std::vector<std::uint32_t> sums(kValues);
  for (std::size_t i = 0; i < kValues; ++i) {
    const Bytes value = MakeBytes(kSize, i);
    sums[i] = Sum(value);
    ASSERT_TRUE(Fill(*pool, fmt::format("v:{:x}", i), value, sums[i])) << i;
  }
  std::counting_semaphore<kAtOnce> free(kAtOnce);
  std::vector<Bytes> buffers(kValues);
  std::atomic<int> wrong = 0;
  for (std::size_t i = 0; i < kValues; ++i) {
    free.acquire();
    buffers[i].resize(kSize);
    pool->Get(fmt::format("v:{:x}", i), buffers[i], OnMiss::kReport,
              [&, i](const Result<PoolAnswer>& answer) {
                const bool hit = KindOf(answer) == Kind::kHit && answer->checksum == sums[i];
                if (!hit || Sum(buffers[i]) != sums[i]) ++wrong;
                Bytes().swap(buffers[i]);
                free.release();
              });
  }
  for (std::size_t i = 0; i < kAtOnce; ++i) free.acquire();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(Metric("sluice_pool_received_bytes_total"), kValues * kSize);
  const double connections = Metric("sluice_pool_connects_total{result=\"ok\"}");
  EXPECT_GT(connections, 1) << "further ones when all are busy";
  EXPECT_LE(connections, 4);
}

TEST_F(MemcachedTest, TooLargeAValueIsASuccessThatIsCounted) {
  const auto server = StartServer();
  ASSERT_TRUE(server);
  const auto pool =
      MakePool({server->Member("w-0")}, [](PoolOptions& options) { options.connections = 1; });
  const Bytes value = MakeBytes(8U << 20, 1);
  EXPECT_TRUE(Fill(*pool, "a", value, 1));
  EXPECT_EQ(Operations("put", "too_large"), 1);
  Bytes into(10);
  EXPECT_EQ(KindOf(Get(*pool, "b", into, OnMiss::kReport)), Kind::kMiss);
  EXPECT_EQ(KindOf(Get(*pool, "a", into, OnMiss::kLease)), Kind::kFill) << "the lease is left";
  EXPECT_EQ(Metric("sluice_pool_connects_total{result=\"ok\"}"), 1) << "the connection was lost";
}

TEST_F(MemcachedTest, EvictsWithoutAnErrorWhenThereIsNoRoom) {
  const auto server = StartServer({"-m", "64"});
  ASSERT_TRUE(server);
  const auto pool = MakePool({server->Member("w-0")});
  const Bytes value = MakeBytes(4U << 20, 1);
  for (int i = 0; i < 40; ++i) EXPECT_TRUE(Fill(*pool, fmt::format("v:{}", i), value, 1)) << i;
  EXPECT_GE(Operations("put", "stored"), 30);
  EXPECT_EQ(
      Operations("put", "stored") + Operations("put", "no_room") + Operations("put", "not_stored"),
      40);
  EXPECT_EQ(Metric("sluice_pool_connects_total{result=\"ok\"}"), 1);
}

TEST_F(MemcachedTest, EveryCallIsAnsweredWhenAWorkerIsKilledAndItComesBack) {
  const auto server = StartServer();
  ASSERT_TRUE(server);
  const auto pool = MakePool({server->Member("w-0")},
                             [&](PoolOptions& options) { options.max_pending = 10'000; });
  const Bytes value = MakeBytes(64U << 10, 1);
  for (int i = 0; i < 50; ++i) ASSERT_TRUE(Fill(*pool, fmt::format("v:{}", i), value, 1));

  constexpr int kThreads = 4;
  constexpr int kEach = 1'500;
  constexpr int kAtOnce = 64;
  std::atomic<int> hits = 0;
  std::atomic<int> unavailable = 0;
  std::atomic<int> others = 0;
  std::atomic<int> callbacks = 0;
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&] {
        std::vector<Bytes> buffers(kAtOnce, Bytes(value.size()));
        std::counting_semaphore<kAtOnce> free(kAtOnce);
        for (int i = 0; i < kEach; ++i) {
          free.acquire();
          pool->Get(fmt::format("v:{}", i % 50), buffers[static_cast<std::size_t>(i) % kAtOnce],
                    OnMiss::kReport, [&](const Result<PoolAnswer>& answer) {
                      ++callbacks;
                      if (answer && answer->kind == Kind::kHit) {
                        ++hits;
                      } else if (!answer && answer.error().code == Code::kUnavailable) {
                        ++unavailable;
                      } else {
                        ++others;
                      }
                      free.release();
                    });
        }
        for (int i = 0; i < kAtOnce; ++i) free.acquire();
      });
    }
    while (hits < 500) std::this_thread::yield();
    server->Kill();
  }
  EXPECT_EQ(callbacks, kThreads * kEach);
  EXPECT_EQ(others, 0);
  EXPECT_GT(unavailable, 0);
  EXPECT_TRUE(Eventually([&] {
    return Metric("sluice_pool_breaker_opens_total{worker=\"w-0\"}") >= 1 &&
           Metric("sluice_pool_worker_up{worker=\"w-0\"}") == 0;
  }));

  ASSERT_TRUE(server->Restart());
  EXPECT_TRUE(Up("w-0")) << "no operation is needed to find it again";
  Bytes into(value.size());
  EXPECT_EQ(KindOf(Get(*pool, "v:0", into, OnMiss::kLease)), Kind::kFill);
}

TEST_F(MemcachedTest, AFrozenWorkerCostsADeadlineAndNeverWritesLate) {
  const auto server = StartServer();
  ASSERT_TRUE(server);
  const auto pool = MakePool({server->Member("w-0")}, [&](PoolOptions& options) {
    options.greeting_timeout = milliseconds(1'000);
    options.operation_timeout = milliseconds(1'500);
  });
  const Bytes value = MakeBytes(1U << 20, 1);
  ASSERT_TRUE(Fill(*pool, "a", value, 1));
  server->Freeze();
  const Bytes before = MakeBytes(value.size(), 2);
  std::vector<Bytes> buffers(4, before);
  std::counting_semaphore<4> answered(0);
  std::atomic<int> wrong = 0;
  const auto start = Steady::now();
  for (Bytes& buffer : buffers) {
    pool->Get("a", buffer, OnMiss::kReport, [&](const Result<PoolAnswer>& answer) {
      if (answer || (answer.error().code != Code::kDeadlineExceeded &&
                     answer.error().code != Code::kUnavailable)) {
        ++wrong;
      }
      answered.release();
    });
  }
  for (std::size_t i = 0; i < buffers.size(); ++i) {
    ASSERT_TRUE(answered.try_acquire_for(test::kNoAnswer)) << "no callback";
  }
  EXPECT_LT(Steady::now() - start, std::chrono::seconds(15));
  EXPECT_GE(Steady::now() - start, milliseconds(1'500));
  EXPECT_EQ(wrong, 0);
  EXPECT_GE(Operations("get", "deadline"), 1);
  // Left out by now, or after one more connection that gets no greeting.
  Bytes into(value.size());
  EXPECT_TRUE(
      Eventually([&] { return Metric("sluice_pool_breaker_opens_total{worker=\"w-0\"}") >= 1; }));
  server->Thaw();
  EXPECT_TRUE(Up("w-0"));
  EXPECT_EQ(KindOf(Get(*pool, "a", into, OnMiss::kReport)), Kind::kHit);
  EXPECT_EQ(into, value);
  for (const Bytes& buffer : buffers) EXPECT_EQ(buffer, before) << "written after the callback";
}

TEST_F(MemcachedTest, TheNextWorkerStandsInForOneThatIsLeftOut) {
  const auto first = StartServer();
  const auto second = StartServer();
  ASSERT_TRUE(first && second);
  const auto pool =
      MakePool({first->Member("w-0"), second->Member("w-1")}, [&](PoolOptions& options) {
        options.first_left_out = kPatience;
        options.longest_left_out = kPatience;
      });
  const Bytes value = MakeBytes(1'000, 1);
  Bytes into(value.size());
  for (int i = 0; i < 40; ++i) ASSERT_TRUE(Fill(*pool, fmt::format("v:{}", i), value, 1));
  first->Kill();
  ASSERT_TRUE(Eventually([&] {
    (void)Get(*pool, "v:0", into, OnMiss::kReport);
    return Metric("sluice_pool_worker_up{worker=\"w-0\"}") == 0 &&
           Metric("sluice_pool_breaker_opens_total{worker=\"w-0\"}") == 1;
  }));
  int hits = 0;
  int fills = 0;
  for (int i = 0; i < 40; ++i) {
    const auto answer = Get(*pool, fmt::format("v:{}", i), into, OnMiss::kLease);
    ASSERT_TRUE(answer) << answer.error().message;
    if (answer->kind == Kind::kHit) ++hits;
    if (answer->kind == Kind::kFill) ++fills;
  }
  EXPECT_EQ(hits + fills, 40);
  EXPECT_GT(hits, 5);
  EXPECT_GT(fills, 5) << "keys of the worker that is gone, at the other";
  second->Kill();
  ASSERT_TRUE(Eventually([&] {
    (void)Get(*pool, "v:0", into, OnMiss::kReport);
    return Metric("sluice_pool_breaker_opens_total{worker=\"w-1\"}") == 1;
  }));
  const auto start = Steady::now();
  EXPECT_EQ(Get(*pool, "v:0", into, OnMiss::kReport).error().code, Code::kUnavailable);
  EXPECT_LT(Steady::now() - start, PoolOptions{}.operation_timeout) << "with nobody left";
}

TEST_F(MemcachedTest, RefusesMoreThanItsQueueHolds) {
  const auto server = StartServer();
  ASSERT_TRUE(server);
  Bytes into(100);
  std::atomic<int> refused = 0;
  std::atomic<int> answered = 0;
  {
    const auto pool =
        MakePool({server->Member("w-0")}, [&](PoolOptions& options) { options.max_pending = 8; });
    ASSERT_EQ(KindOf(Get(*pool, "a", into, OnMiss::kReport)), Kind::kMiss);
    server->Freeze();
    for (int i = 0; i < 20; ++i) {
      pool->Get("a", into, OnMiss::kReport, [&](const Result<PoolAnswer>& answer) {
        if (!answer && answer.error().message.find("8 operations") != std::string::npos) ++refused;
        ++answered;
      });
    }
    EXPECT_EQ(refused, 12);
    EXPECT_EQ(answered, 12) << "the refused at once, the others not yet";
    EXPECT_EQ(Operations("get", "refused"), 12);
  }
  EXPECT_EQ(answered, 20) << "what was under way is answered when the pool ends";
}

TEST_F(MemcachedTest, WorkersJoinAndLeaveWithoutARestart) {
  const auto first = StartServer();
  const auto second = StartServer();
  ASSERT_TRUE(first && second);
  const auto pool =
      MakePool({}, [](PoolOptions& options) { options.grace = std::chrono::seconds(0); });
  Bytes into(1'000);
  EXPECT_EQ(Get(*pool, "a", into, OnMiss::kReport).error().code, Code::kUnavailable);
  pool->SetMembers({first->Member("w-0")});
  const Bytes value = MakeBytes(1'000, 1);
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(Fill(*pool, fmt::format("v:{}", i), value, 1));
  EXPECT_TRUE(Up("w-0"));

  pool->SetMembers({first->Member("w-0"), second->Member("w-1")});
  int moved = 0;
  for (int i = 0; i < 100; ++i) {
    const auto answer = Get(*pool, fmt::format("v:{}", i), into, OnMiss::kReport);
    ASSERT_TRUE(answer);
    if (answer->kind == Kind::kMiss) ++moved;
  }
  EXPECT_GT(moved, 20);
  EXPECT_LT(moved, 80);
  EXPECT_EQ(Metric("sluice_pool_workers"), 2);

  // The same worker at another address, as after its pod was replaced.
  pool->SetMembers({second->Member("w-0")});
  EXPECT_EQ(KindOf(Get(*pool, "v:0", into, OnMiss::kLease)), Kind::kFill);
  EXPECT_TRUE(Up("w-0"));
  EXPECT_EQ(metrics_.Render().find("worker=\"w-1\""), std::string::npos);
  pool->SetMembers({});
  EXPECT_EQ(Get(*pool, "a", into, OnMiss::kReport).error().code, Code::kUnavailable);
}

TEST_F(MemcachedTest, AWorkerThatJoinsGetsItsShareFromTheOneThatHadIt) {
  const auto first = StartServer();
  const auto second = StartServer();
  const auto third = StartServer();
  ASSERT_TRUE(first && second && third);
  const auto pool = MakePool({first->Member("w-0")});
  const auto key = [](int i) { return fmt::format("v:{}", i); };
  const Bytes value = MakeBytes(1'000, 1);
  constexpr int kKeys = 60;
  for (int i = 0; i < kKeys; ++i) ASSERT_TRUE(Fill(*pool, key(i), value, 7));
  // One after the other.
  pool->SetMembers({first->Member("w-0"), second->Member("w-1")});
  pool->SetMembers({first->Member("w-0"), second->Member("w-1"), third->Member("w-2")});
  int moved = 0;
  for (int i = 0; i < kKeys; ++i) {
    Bytes into(value.size());
    const auto small = Get(*pool, key(i), into, OnMiss::kReport);
    ASSERT_EQ(KindOf(small), Kind::kHit) << i;
    EXPECT_EQ(small->lease.number, 0U);
    const auto answer = Get(*pool, key(i), into, OnMiss::kLease);
    ASSERT_EQ(KindOf(answer), Kind::kHit) << i;
    EXPECT_EQ(into, value);
    EXPECT_EQ(answer->checksum, 7U);
    if (answer->lease.number == 0) continue;
    ++moved;
    EXPECT_EQ(KindOf(Get(*pool, key(i), into, OnMiss::kLease)), Kind::kWait) << "for the copy";
    EXPECT_TRUE(Put(*pool, key(i), answer->lease, value, 7));
    EXPECT_EQ(Get(*pool, key(i), into, OnMiss::kLease)->lease.number, 0U);
  }
  EXPECT_GT(moved, 20);
  EXPECT_LT(moved, 55);
  // What nobody has is filled as ever.
  Bytes into(value.size());
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(Fill(*pool, fmt::format("new:{}", i), value, 7)) << i;
}

TEST_F(MemcachedTest, WhatAStandInGotIsFoundWhenTheWorkerIsBack) {
  const auto first = StartServer();
  const auto second = StartServer();
  const auto replaced = StartServer();
  ASSERT_TRUE(first && second && replaced);
  const auto pool = MakePool({first->Member("w-0")});
  const Bytes value = MakeBytes(1'000, 1);
  pool->SetMembers({first->Member("w-0"), second->Member("w-1")});
  pool->SetMembers({first->Member("w-0")});
  for (int i = 0; i < 40; ++i) ASSERT_TRUE(Fill(*pool, fmt::format("v:{}", i), value, 7));
  pool->SetMembers({first->Member("w-0"), replaced->Member("w-1")});
  Bytes into(value.size());
  for (int i = 0; i < 40; ++i) {
    EXPECT_EQ(KindOf(Get(*pool, fmt::format("v:{}", i), into, OnMiss::kLease)), Kind::kHit) << i;
  }
}

TEST_F(MemcachedTest, AValueGoesToTheWorkerThatGaveTheLease) {
  const auto first = StartServer();
  const auto second = StartServer();
  ASSERT_TRUE(first && second);
  const auto pool = MakePool({first->Member("w-0")});
  const Bytes value = MakeBytes(1'000, 1);
  Bytes into(value.size());
  std::vector<PoolVersion> leases;
  for (int i = 0; i < 20; ++i) {
    const auto answer = Get(*pool, fmt::format("v:{}", i), into, OnMiss::kLease);
    ASSERT_EQ(KindOf(answer), Kind::kFill);
    leases.push_back(answer->lease);
  }
  pool->SetMembers({first->Member("w-0"), second->Member("w-1")});
  for (int i = 0; i < 10; ++i) {
    EXPECT_TRUE(Put(*pool, fmt::format("v:{}", i), leases[static_cast<std::size_t>(i)], value, 7));
    EXPECT_EQ(*first->Ask(fmt::format("mg v:{} s", i)), "HD s1000") << i;
  }
  // And where it has gone, to the one whose the key is by now.
  pool->SetMembers({second->Member("w-1")});
  for (int i = 10; i < 20; ++i) {
    EXPECT_TRUE(Put(*pool, fmt::format("v:{}", i), leases[static_cast<std::size_t>(i)], value, 7));
    EXPECT_EQ(*second->Ask(fmt::format("mg v:{} s", i)), "HD s1000") << i;
  }
  EXPECT_EQ(Operations("put", "stored_late"), 10);
}

TEST_F(MemcachedTest, AWorkerThatLeavesEndsWhatItHas) {
  const auto server = StartServer({"-m", "256"});
  ASSERT_TRUE(server);
  const auto pool = MakePool({server->Member("w-0")});
  const Bytes value = MakeBytes(4U << 20, 1);
  ASSERT_TRUE(Fill(*pool, "a", value, 1));
  constexpr std::size_t kGets = 24;
  std::vector<Bytes> buffers(kGets, Bytes(value.size()));
  std::counting_semaphore<kGets> answered(0);
  std::atomic<int> hits = 0;
  for (Bytes& buffer : buffers) {
    pool->Get("a", buffer, OnMiss::kReport, [&](const Result<PoolAnswer>& answer) {
      if (KindOf(answer) == Kind::kHit) ++hits;
      answered.release();
    });
  }
  pool->SetMembers({});
  for (std::size_t i = 0; i < kGets; ++i) {
    ASSERT_TRUE(answered.try_acquire_for(test::kNoAnswer)) << "no callback";
  }
  EXPECT_EQ(hits, kGets);
  for (const Bytes& buffer : buffers) EXPECT_EQ(buffer, value);
}

TEST_F(MemcachedTest, FindsAWorkerByName) {
  const auto server = StartServer();
  ASSERT_TRUE(server);
  const auto pool = MakePool({{"w-0", fmt::format("localhost:{}", server->Port())}});
  Bytes into(10);
  EXPECT_EQ(KindOf(Get(*pool, "a", into, OnMiss::kLease)), Kind::kFill);
}

TEST_F(MemcachedTest, AnUnknownNameIsUnavailable) {
  const auto pool = MakePool({{"w-0", "no-such-host.invalid:11211"}}, [](PoolOptions& options) {
    options.greeting_timeout = milliseconds(300);
  });
  Bytes into(10);
  const auto answer = Get(*pool, "a", into, OnMiss::kReport);
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, Code::kUnavailable);
}

TEST_F(MemcachedTest, KeepsChunksThatItCannotRead) {
  const auto server = StartServer();
  ASSERT_TRUE(server);
  const std::string key_file = ::testing::TempDir() + fmt::format("pool-key-{}", ::getpid());
  std::ofstream(key_file) << std::string(64, 'a');
  const std::shared_ptr<ChunkPool> workers = MakePool({server->Member("w-0")});
  const auto pool = EncryptedPoolOf(workers, key_file, metrics_, log_);
  const std::string text = "plain text that nobody is to see";
  Bytes value(text.size());
  std::memcpy(value.data(), text.data(), text.size());
  Bytes into(value.size() + pool->Room());
  const auto fill = Get(*pool, "a", into, OnMiss::kLease);
  ASSERT_EQ(KindOf(fill), Kind::kFill);
  ASSERT_TRUE(Put(*pool, "a", fill->lease, value, 7));
  const auto hit = Get(*pool, "a", into, OnMiss::kLease);
  ASSERT_EQ(KindOf(hit), Kind::kHit);
  EXPECT_FALSE(hit->forged);
  EXPECT_EQ(hit->checksum, 7U);
  EXPECT_TRUE(std::equal(value.begin(), value.end(), into.begin()));

  // As the worker has it: under another name, and none of the text.
  Bytes plain(value.size());
  EXPECT_EQ(KindOf(Get(*workers, "a", plain, OnMiss::kReport)), Kind::kMiss);
  EXPECT_EQ(CountInMemory(server->Pid(), text), 0);
  ASSERT_TRUE(Fill(*workers, "b", value, 7));
  EXPECT_GT(CountInMemory(server->Pid(), text), 0) << "the count finds what is there";
  std::filesystem::remove(key_file);
}

class MemcachedAuthTest : public MemcachedTest {
 protected:
  void SetUp() override {
    folder_ = ::testing::TempDir() + "auth-XXXXXX";
    ASSERT_NE(::mkdtemp(folder_.data()), nullptr);
    Write("server", "client:right\n");
    server_ = StartServer({"-Y", folder_ + "/server"});
    ASSERT_TRUE(server_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  void Write(const std::string& name, const std::string& text) const {
    std::ofstream(folder_ + "/" + name) << text;
  }

  std::string folder_;
  std::unique_ptr<MemcachedServer> server_;
};

TEST_F(MemcachedAuthTest, RightCredentialsAreAccepted) {
  Write("mine", "client:right\n");
  const auto pool = MakePool({server_->Member("w-0")}, [&](PoolOptions& options) {
    options.credentials_file = folder_ + "/mine";
  });
  const Bytes value = MakeBytes(100, 1);
  EXPECT_TRUE(Fill(*pool, "a", value, 5));
  Bytes into(100);
  EXPECT_EQ(KindOf(Get(*pool, "a", into, OnMiss::kReport)), Kind::kHit);
  EXPECT_EQ(into, value);
}

TEST_F(MemcachedAuthTest, WrongOrMissingOnesLeaveTheWorkerOutUntilTheFileIsRight) {
  Write("mine", "client:wrong\n");
  Bytes into(100);
  for (const std::string& file : {std::string(), folder_ + "/absent", folder_ + "/mine"}) {
    const auto pool = MakePool({server_->Member("w-0")},
                               [&](PoolOptions& options) { options.credentials_file = file; });
    const auto answer = Get(*pool, "a", into, OnMiss::kReport);
    ASSERT_FALSE(answer) << file;
    EXPECT_EQ(answer.error().code, Code::kUnavailable) << file;
    EXPECT_EQ(answer.error().message.find("wrong"), std::string::npos) << "the password";
  }
  const auto pool = MakePool({server_->Member("w-0")}, [&](PoolOptions& options) {
    options.first_left_out = milliseconds(100);
    options.longest_left_out = milliseconds(100);
    options.credentials_file = folder_ + "/mine";
  });
  EXPECT_FALSE(Get(*pool, "a", into, OnMiss::kReport));
  Write("mine", "client:right\n");
  EXPECT_TRUE(
      Eventually([&] { return KindOf(Get(*pool, "a", into, OnMiss::kLease)) == Kind::kFill; }));
}

TEST_F(MemcachedAuthTest, AWorkerThatDoesNotAskIsNotTold) {
  Write("mine", "client:right\n");
  const auto open_server = StartServer();
  ASSERT_TRUE(open_server);
  const auto pool = MakePool({open_server->Member("w-0")}, [&](PoolOptions& options) {
    options.credentials_file = folder_ + "/mine";
  });
  Bytes into(100);
  EXPECT_EQ(KindOf(Get(*pool, "a", into, OnMiss::kReport)), Kind::kMiss);
  EXPECT_EQ(*open_server->Ask("mg auth v"), "EN") << "the credentials became a value";
}

}  // namespace
}  // namespace sluice::pool
