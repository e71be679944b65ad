// TLS between the pool and real memcached processes.
#include <atomic>
#include <filesystem>
#include <fstream>
#include <functional>
#include <semaphore>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "chunk_pool_contract.h"
#include "memcached_fixture.h"
#include "tls_files.h"

namespace sluice::pool {
namespace {

using std::chrono::milliseconds;
using test::Bytes;
using test::Fill;
using test::Get;
using test::KindOf;
using test::MakeBytes;
using test::TlsAuthority;
using testing::AnyOf;
using testing::HasSubstr;
using Kind = PoolAnswer::Kind;
using OnMiss = ChunkPool::OnMiss;

// Keys take a moment to make.
const TlsAuthority& Ours() {
  static const TlsAuthority kOurs;
  return kOurs;
}
const TlsAuthority& Others() {
  static const TlsAuthority kOthers;
  return kOthers;
}

class MemcachedTlsTest : public MemcachedTest {
 protected:
  // Failures are logged as warnings.
  MemcachedTlsTest() { log_ = platform::Log("test", platform::LogLevel::kWarn); }
  void SetUp() override {
    std::string pattern = ::testing::TempDir() + "tls-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
    Ours().WriteWorker(folder_ / "worker", {"w-0"});
    Ours().WriteClient(folder_ / "client");
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::unique_ptr<MemcachedServer> StartTls(std::vector<std::string> more = {}) {
    auto arguments = test::TlsArguments(folder_ / "worker");
    arguments.insert(arguments.end(), more.begin(), more.end());
    return StartServer(std::move(arguments));
  }
  // A pool that speaks TLS by these files, and is back soon after a failure.
  std::unique_ptr<MemcachedPool> MakeTlsPool(const PoolMember& member,
                                             const std::string& files = "client",
                                             const test::ChangeOptions& change = {}) {
    return MakePool({member}, [&](PoolOptions& options) {
      options.tls_directory = folder_ / files;
      options.first_left_out = options.longest_left_out = milliseconds(100);
      if (change) change(options);
    });
  }
  [[nodiscard]] double Connects(const std::string& result) const {
    return Metric("sluice_pool_connects_total{result=\"" + result + "\"}");
  }
  // No get is answered, and the log says why the worker is left out.
  void ExpectFailure(const std::function<std::unique_ptr<MemcachedPool>()>& make,
                     const testing::Matcher<std::string>& reason) {
    testing::internal::CaptureStderr();
    auto pool = make();
    Bytes into(100);
    for (int i = 0; i < 3; ++i) {
      const auto answer = Get(*pool, "a", into, OnMiss::kLease);
      ASSERT_FALSE(answer);
      EXPECT_EQ(answer.error().code, Code::kUnavailable) << answer.error().message;
    }
    EXPECT_TRUE(Eventually([&] { return Connects("refused") + Connects("failed") >= 2; }))
        << "it is tried again";
    EXPECT_EQ(Connects("ok"), 0);
    pool.reset();
    const std::string log = testing::internal::GetCapturedStderr();
    EXPECT_THAT(log, HasSubstr("pool worker is left out"));
    EXPECT_THAT(log, HasSubstr("\"worker\":\"w-"));
    EXPECT_THAT(log, reason);
  }

  std::filesystem::path folder_;
};

TEST_F(MemcachedTlsTest, KeepsThePortsContractBesideAPassword) {
  std::ofstream(folder_ / "users") << "client:right\n";
  const auto server = StartTls({"-Y", folder_ / "users"});
  ASSERT_TRUE(server);
  const auto pool = MakeTlsPool(server->Member("w-0"), "client", [&](PoolOptions& options) {
    options.lease = std::chrono::seconds(4);
    options.credentials_file = folder_ / "users";
  });
  test::CheckChunkPool(*pool, [] { std::this_thread::sleep_for(milliseconds(5'200)); });
  EXPECT_EQ(Operations("get", "wrong_size"), 1);
}

// memcached before 1.6.39 waits for ever for a request that came in one record with the end of
// another one.
TEST_F(MemcachedTlsTest, LargeValuesGoBothWaysIntactManyAtOnce) {
  constexpr std::size_t kSize = (4U << 20) + 17;
  constexpr std::size_t kValues = 12;
  const auto server = StartTls({"-m", "256"});
  ASSERT_TRUE(server);
  for (const unsigned connections : {1U, 4U}) {
    const auto pool = MakeTlsPool(server->Member("w-0"), "client",
                                  [&](PoolOptions& options) { options.connections = connections; });
    const auto key = [&](std::size_t i) { return fmt::format("{}:{}", connections, i); };
    std::vector<Bytes> values;
    std::vector<PoolVersion> leases;
    Bytes into(kSize);
    for (std::size_t i = 0; i < kValues; ++i) {
      values.push_back(MakeBytes(kSize, i + connections));
      leases.push_back(Get(*pool, key(i), into, OnMiss::kLease).value_or(PoolAnswer{}).lease);
    }
    std::counting_semaphore<2 * kValues> answered(0);
    std::atomic<int> failed = 0;
    for (std::size_t i = 0; i < kValues; ++i) {
      pool->Put(key(i), leases[i], values[i], 7, [&](const Status& status) {
        if (!status) ++failed;
        answered.release();
      });
    }
    for (std::size_t i = 0; i < kValues; ++i) {
      ASSERT_TRUE(answered.try_acquire_for(test::kNoAnswer)) << "no end of a put";
    }
    std::vector<Bytes> buffers(kValues, Bytes(kSize));
    for (std::size_t i = 0; i < kValues; ++i) {
      pool->Get(key(i), buffers[i], OnMiss::kReport, [&](const Result<PoolAnswer>& answer) {
        if (KindOf(answer) != Kind::kHit) ++failed;
        answered.release();
      });
    }
    for (std::size_t i = 0; i < kValues; ++i) {
      ASSERT_TRUE(answered.try_acquire_for(test::kNoAnswer)) << "no end of a get";
    }
    EXPECT_EQ(failed, 0);
    EXPECT_EQ(buffers, values);
  }
  EXPECT_EQ(Connects("failed") + Connects("refused"), 0);
}

TEST_F(MemcachedTlsTest, WorkersAreKnownByTheirNamesBelowADomain) {
  Ours().WriteWorker(folder_ / "worker", {"*.workers.ns.svc"});
  const auto server = StartTls();
  ASSERT_TRUE(server);
  const auto pool = MakeTlsPool(server->Member("w-0"), "client", [](PoolOptions& options) {
    options.tls_domain = "workers.ns.svc";
  });
  Bytes into(100);
  EXPECT_EQ(KindOf(Get(*pool, "a", into, OnMiss::kLease)), Kind::kFill);
  const auto other = MakeTlsPool(server->Member("w-0"), "client", [](PoolOptions& options) {
    options.tls_domain = "workers.other.svc";
  });
  const auto refused = Get(*other, "a", into, OnMiss::kLease);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("does not name w-0.workers.other.svc"));
}

TEST_F(MemcachedTlsTest, AWorkerOfAnotherAuthorityIsRefused) {
  Others().WriteWorker(folder_ / "worker", {"w-0"});
  const auto server = StartTls();
  ASSERT_TRUE(server);
  ExpectFailure([&] { return MakeTlsPool(server->Member("w-0")); },
                HasSubstr("TLS: the worker's certificate: "));
  EXPECT_GE(Connects("refused"), 1);
}

TEST_F(MemcachedTlsTest, AWorkerOfAnotherNameIsRefused) {
  const auto server = StartTls();
  ASSERT_TRUE(server);
  ExpectFailure([&] { return MakeTlsPool(server->Member("w-1")); },
                HasSubstr("TLS: the worker's certificate does not name w-1"));
  EXPECT_GE(Connects("refused"), 1);
}

TEST_F(MemcachedTlsTest, AWorkerRefusesAClientOfAnotherAuthority) {
  Others().WriteClient(folder_ / "client");
  // It trusts the worker, so that the refusal is the worker's.
  std::ofstream(folder_ / "client" / "ca.crt") << Ours().Certificate();
  const auto server = StartTls();
  ASSERT_TRUE(server);
  ExpectFailure([&] { return MakeTlsPool(server->Member("w-0")); },
                HasSubstr("does not accept our certificate"));
  EXPECT_GE(Connects("refused"), 1);
}

TEST_F(MemcachedTlsTest, WithoutFilesNothingIsSent) {
  const auto server = StartTls();
  ASSERT_TRUE(server);
  ExpectFailure([&] { return MakeTlsPool(server->Member("w-0"), "absent"); },
                HasSubstr("absent/ca.crt"));
}

TEST_F(MemcachedTlsTest, ATlsClientAtAPlainWorkerFails) {
  const auto server = StartServer();
  ASSERT_TRUE(server);
  const auto hasty = [](PoolOptions& options) { options.greeting_timeout = milliseconds(500); };
  ExpectFailure([&] { return MakeTlsPool(server->Member("w-0"), "client", hasty); },
                AnyOf(HasSubstr("TLS: "), HasSubstr("TLS handshake: no answer in time")));
}

TEST_F(MemcachedTlsTest, APlainClientAtATlsWorkerFails) {
  const auto server = StartTls();
  ASSERT_TRUE(server);
  ExpectFailure([&] { return MakePool({server->Member("w-0")}); },
                AnyOf(HasSubstr("receive: "), HasSubstr("closed the connection")));
}

TEST_F(MemcachedTlsTest, AWorkerThatDoesNotShakeHandsIsLeftOut) {
  const auto server = StartTls();
  ASSERT_TRUE(server);
  server->Freeze();
  const auto hasty = [](PoolOptions& options) { options.greeting_timeout = milliseconds(300); };
  ExpectFailure([&] { return MakeTlsPool(server->Member("w-0"), "client", hasty); },
                HasSubstr("TLS handshake: no answer in time"));
  server->Thaw();
  const auto pool = MakeTlsPool(server->Member("w-0"));
  Bytes into(100);
  EXPECT_TRUE(Eventually([&] { return Get(*pool, "a", into, OnMiss::kReport).has_value(); }));
}

TEST_F(MemcachedTlsTest, TheNextConnectionUsesRenewedFiles) {
  const auto server = StartTls();
  ASSERT_TRUE(server);
  Others().WriteClient(folder_ / "client");
  const auto pool = MakeTlsPool(server->Member("w-0"));
  Bytes into(100);
  EXPECT_FALSE(Get(*pool, "a", into, OnMiss::kReport));
  Ours().WriteClient(folder_ / "client");
  EXPECT_TRUE(Eventually([&] { return Get(*pool, "a", into, OnMiss::kReport).has_value(); }));
}

TEST_F(MemcachedTlsTest, AWorkerIsToldToLoadItsFilesBeforeItsCertificateEnds) {
  Ours().WriteWorker(folder_ / "worker", {"w-0"}, std::chrono::days(10));
  const auto server = StartTls();
  ASSERT_TRUE(server);
  Ours().WriteWorker(folder_ / "worker", {"w-0", "w-1"});
  Bytes into(100);
  const auto by_new_name = MakeTlsPool(server->Member("w-1"));
  EXPECT_FALSE(Get(*by_new_name, "a", into, OnMiss::kReport)) << "memcached looks by itself";
  const auto pool = MakeTlsPool(server->Member("w-0"));
  EXPECT_EQ(KindOf(Get(*pool, "a", into, OnMiss::kReport)), Kind::kMiss);
  EXPECT_TRUE(
      Eventually([&] { return Get(*by_new_name, "a", into, OnMiss::kReport).has_value(); }));
}

TEST_F(MemcachedTlsTest, FilesOfNoUseCostAWorkerNothingButTheConnection) {
  Ours().WriteWorker(folder_ / "worker", {"w-0"}, std::chrono::days(10));
  const auto server = StartTls();
  ASSERT_TRUE(server);
  std::ofstream(folder_ / "worker" / "tls.crt") << "no certificate";
  const auto pool = MakeTlsPool(server->Member("w-0"));
  Bytes into(100);
  (void)Get(*pool, "a", into, OnMiss::kReport);
  EXPECT_TRUE(Eventually([&] { return Get(*pool, "a", into, OnMiss::kReport).has_value(); }));
}

TEST_F(MemcachedTlsTest, KilledInTheMiddleOfAValueItAnswersEveryCall) {
  const auto server = StartTls({"-m", "256"});
  ASSERT_TRUE(server);
  const auto pool = MakeTlsPool(server->Member("w-0"));
  const Bytes value = MakeBytes(4U << 20, 1);
  ASSERT_TRUE(Fill(*pool, "a", value, 1));
  constexpr std::size_t kGets = 32;
  std::vector<Bytes> buffers(kGets, Bytes(value.size()));
  std::counting_semaphore<kGets> answered(0);
  std::atomic<int> wrong = 0;
  std::atomic<int> lost = 0;
  for (Bytes& buffer : buffers) {
    pool->Get("a", buffer, OnMiss::kReport, [&](const Result<PoolAnswer>& answer) {
      if (answer && (answer->kind != Kind::kHit || buffer != value)) ++wrong;
      if (!answer) ++lost;
      answered.release();
    });
  }
  ASSERT_TRUE(answered.try_acquire_for(test::kNoAnswer));
  server->Kill();
  for (std::size_t i = 1; i < kGets; ++i) {
    ASSERT_TRUE(answered.try_acquire_for(test::kNoAnswer)) << "no callback";
  }
  EXPECT_EQ(wrong, 0);
  EXPECT_GT(lost, 0);
  ASSERT_TRUE(server->Restart());
  Bytes into(100);
  EXPECT_TRUE(Eventually([&] { return Get(*pool, "b", into, OnMiss::kReport).has_value(); }));
}

}  // namespace
}  // namespace sluice::pool
