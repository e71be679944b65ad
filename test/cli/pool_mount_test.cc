// Mounts of a real S3 server that share real cache workers.
#include <algorithm>
#include <atomic>
#include <future>

#include "client_metrics.h"
#include "memcached_server.h"
#include "minio_server.h"
#include "mounted.h"
#include "tls_files.h"

namespace sluice::test {
namespace {

constexpr std::size_t kWorkers = 3;
constexpr std::size_t kClients = 4;

class PoolMountTest : public MountedTest {
 protected:
  void SetUp() override {
    MountedTest::SetUp();
    if (IsSkipped()) return;
    auto server = MinioServer::Start();
    ASSERT_TRUE(server.has_value()) << server.error().message;
    server_ = std::move(*server);
    bytes_ = RandomBytes(64 << 20, 9);
    ASSERT_TRUE(server_->MakeBucket("models").has_value());
    ASSERT_TRUE(server_->Put("models", "weights", bytes_).has_value());
    variables_["AWS_ACCESS_KEY_ID"] = server_->AccessKey();
    variables_["AWS_SECRET_ACCESS_KEY"] = server_->SecretKey();
    for (std::size_t i = 0; i < kWorkers; ++i) {
      auto worker = MemcachedServer::Start({"-m", "256"});
      ASSERT_TRUE(worker.has_value()) << worker.error().message;
      workers_.push_back(std::move(*worker));
    }
    List({0, 1, 2});
  }

  // The workers that clients are to use, in the file that they follow.
  void List(const std::vector<std::size_t>& which) {
    std::vector<PoolMember> members;
    for (const std::size_t i : which) {
      members.push_back(workers_[i]->Member("worker-" + std::to_string(i)));
    }
    WriteBytes(root_ / "next", RenderPoolMembers(members).dump());
    fs::rename(root_ / "next", root_ / "workers.json");
  }

  // Clients without a node cache, so that all that they read again comes from the pool.
  void MountClients(const std::vector<std::string>& more = {}) {
    for (std::size_t i = 0; i < kClients; ++i) {
      fs::create_directory(Path(i));
      std::vector<std::string> words{
          "mount",        "s3://models", Path(i), "--endpoint", server_->Endpoint(),
          "--path-style", "--memory",    "64Mi",  "--pool",     root_ / "workers.json"};
      words.insert(words.end(), more.begin(), more.end());
      const Outcome mounted = Sluice(words);
      ASSERT_EQ(mounted.status, 0) << mounted.output;
    }
  }
  [[nodiscard]] fs::path Path(std::size_t client) const {
    return root_ / ("mnt-" + std::to_string(client));
  }

  // Whether all clients, starting together, read the right bytes.
  [[nodiscard]] bool AllRead() const {
    std::vector<std::future<bool>> reads;
    for (std::size_t i = 0; i < kClients; ++i) {
      reads.push_back(std::async(std::launch::async, [file = Path(i) / "weights", this] {
        DropPages(file);
        return ReadBytes(file) == bytes_;
      }));
    }
    return std::all_of(reads.begin(), reads.end(), [](auto& read) { return read.get(); });
  }

  // Of one metric, all clients and labels together.
  [[nodiscard]] double Sum(const std::string& metric) const {
    double sum = 0;
    for (const auto& mount : fs::directory_iterator(root_ / "run/sluice")) {
      const auto series = cli::FetchMetrics(mount.path() / "metrics.sock");
      EXPECT_TRUE(series.has_value()) << series.error().message;
      for (const auto& [name, value] : *series) {
        if (name == metric || name.starts_with(metric + "{")) sum += value;
      }
    }
    return sum;
  }

  std::unique_ptr<MinioServer> server_;
  std::vector<std::unique_ptr<MemcachedServer>> workers_;
  std::string bytes_;
};

TEST_F(PoolMountTest, ClientsThatStartTogetherReadTheOriginOnce) {
  MountClients();
  EXPECT_TRUE(AllRead());
  const double size = static_cast<double>(bytes_.size());
  EXPECT_LE(Sum("sluice_origin_read_bytes_total"), 1.02 * size);
  EXPECT_GE(Sum("sluice_origin_read_bytes_total"), size);
}

TEST_F(PoolMountTest, TheyDoSoByTlsAndWithChunksThatWorkersCannotRead) {
  const TlsAuthority authority;
  authority.WriteClient(root_ / "client");
  authority.WriteWorker(root_ / "worker", {"*.workers.test"});
  auto arguments = TlsArguments(root_ / "worker");
  arguments.insert(arguments.end(), {"-m", "256"});
  for (auto& worker : workers_) {
    auto secure = MemcachedServer::Start(arguments);
    ASSERT_TRUE(secure.has_value()) << secure.error().message;
    worker = std::move(*secure);
  }
  List({0, 1, 2});
  WriteBytes(root_ / "key", std::string(64, 'a') + "\n");
  MountClients({"--pool-tls", root_ / "client", "--pool-tls-domain", "workers.test", "--pool-key",
                root_ / "key"});
  EXPECT_TRUE(AllRead());
  const double size = static_cast<double>(bytes_.size());
  EXPECT_LE(Sum("sluice_origin_read_bytes_total"), 1.02 * size);
  EXPECT_GE(Sum("sluice_pool_received_bytes_total"), size);
  EXPECT_EQ(Sum("sluice_pooled_corrupt_chunks_total"), 0);
}

TEST_F(PoolMountTest, NoReaderNoticesWorkersThatComeAndGo) {
  MountClients();
  std::atomic<bool> over = false;
  auto read = std::async(std::launch::async, [&] {
    bool right = true;
    do {
      right = AllRead() && right;
    } while (!over);
    return right;
  });
  // Each state lasts for some reads of some clients.
  const auto some_reads = [&] {
    const double before = Sum("sluice_pooled_read_bytes_total");
    Eventually([&] { return Sum("sluice_pooled_read_bytes_total") > before + 64e6; });
  };
  some_reads();
  workers_[0]->Kill();
  some_reads();
  workers_[1]->Freeze();
  some_reads();
  EXPECT_GE(Sum("sluice_pool_breaker_opens_total"), 1);
  List({1, 2});
  some_reads();
  ASSERT_TRUE(workers_[0]->Restart().has_value());
  List({0, 2});
  some_reads();
  workers_[1]->Thaw();
  List({0, 1, 2});
  some_reads();
  over = true;
  EXPECT_TRUE(read.get());
  EXPECT_GT(Sum("sluice_pool_received_bytes_total"), 0);
  workers_.clear();
  EXPECT_TRUE(AllRead()) << "without any worker";
}

}  // namespace
}  // namespace sluice::test
