// Reading from memory and the origin: sharing, delivery, failures, bounds.
#include "sluice/cache/reader.h"

#include <atomic>
#include <map>
#include <mutex>
#include <numeric>

#include "reader_fixture.h"

namespace sluice::cache {
namespace {

using std::chrono::milliseconds;

class ReaderTest : public ReaderFixture {};

TEST_F(ReaderTest, PrefetchAsksOnceAndOnlyWhileThereIsRoom) {
  StartReader();
  origin_->Hold();
  std::vector<std::shared_ptr<File>> files;
  unsigned asked = 0;
  for (int i = 0; i < 100; ++i) {
    files.push_back(Open(origin_->Put("f" + std::to_string(i), MakeContent(kMiB, i))));
    asked += files.back()->Prefetch() == Prefetched::kAsked ? 1 : 0;
  }
  EXPECT_GE(asked, 3U);
  EXPECT_LE(asked, 12U);  // of requests that nobody waits for
  EXPECT_EQ(origin_->Reads().size(), asked);
  origin_->Release();
  ExpectWholeFile(*files[0], MakeContent(kMiB, 0));
  EXPECT_EQ(files[0]->Prefetch(), Prefetched::kThere);
  EXPECT_EQ(origin_->Reads().size(), asked);
  // Others have room once those are there, and need it no more once they are let go.
  EXPECT_TRUE(Eventually([&] { return files[99]->Prefetch() == Prefetched::kAsked; }));
  const auto large = Open(origin_->Put("large", MakeContent(9 * kMiB, 1)));
  EXPECT_EQ(large->Prefetch(), Prefetched::kNoRoom);
}

TEST_F(ReaderTest, WhatWasPrefetchedOutlastsAPauseOfReading) {
  StartReader();
  const auto file = Open(origin_->Put("f", MakeContent(kMiB, 1)));
  ASSERT_EQ(file->Prefetch(), Prefetched::kAsked);
  EXPECT_TRUE(Eventually([&] { return origin_->BytesServed() == kMiB; }));
  // Nobody has read anything yet. Maintenance comes every 100 ms, and would give idle memory back;
  // that it does nothing cannot be seen.
  std::this_thread::sleep_for(std::chrono::milliseconds(350));
  ExpectWholeFile(*file, MakeContent(kMiB, 1));
  EXPECT_EQ(origin_->Reads().size(), 1U);
}

TEST_F(ReaderTest, PrefetchThatNobodyHoldsIsCancelled) {
  StartReader();
  origin_->SetPace(kKiB, std::chrono::milliseconds(2));
  auto file = Open(origin_->Put("f", MakeContent(kMiB, 1)));
  ASSERT_EQ(file->Prefetch(), Prefetched::kAsked);
  file.reset();
  EXPECT_TRUE(Eventually([&] { return origin_->Cancelled() == 1; }));
}

TEST_F(ReaderTest, ReadsTheBytesOfTheOrigin) {
  const Content content = MakeContent(9 * kMiB + 12345, 1);
  const auto object = origin_->Put("a", content);
  StartReader();
  const auto file = Open(object);
  ExpectWholeFile(*file, content);
  ExpectBytes(*file, content, 5 * kMiB + 7, 3 * kMiB);
  ExpectBytes(*file, content, content.size() - 1, 1);
}

TEST_F(ReaderTest, AnswersNothingAtAndBehindTheEnd) {
  const auto object = origin_->Put("a", MakeContent(10, 1));
  const auto empty = origin_->Put("empty", {});
  StartReader();
  const auto file = Open(object);
  EXPECT_EQ(ReadAt(*file, 10, 5)->size(), 0U);
  EXPECT_EQ(ReadAt(*file, UINT64_MAX - 3, 5)->size(), 0U);
  EXPECT_EQ(ReadAt(*file, 7, 5)->size(), 3U);
  EXPECT_EQ(ReadAt(*file, 3, 0)->size(), 0U);
  EXPECT_EQ(ReadAt(*Open(empty), 0, 5)->size(), 0U);
}

TEST_F(ReaderTest, GivesAtMostFourMebibytesAtOnce) {
  const Content content = MakeContent(9 * kMiB, 1);
  StartReader();
  const auto file = Open(origin_->Put("a", content));
  Pending pending;
  file->ReadAsync(100, 8 * kMiB, pending.Callback());
  ASSERT_TRUE(pending.Wait());
  EXPECT_TRUE(pending.Value() == Slice(content, 100, kMaxReadBytes));
}

TEST_F(ReaderTest, ConcurrentReadersShareOneFetch) {
  const Content content = MakeContent(64 * kMiB, 1);
  const auto object = origin_->Put("a", content);
  origin_->Hold();
  StartReader();
  const auto one = Open(object);
  const auto two = Open(object);
  std::vector<Pending> reads(8);
  for (std::size_t i = 0; i < reads.size(); ++i) {
    (i % 2 == 0 ? one : two)->ReadAsync(30 * kMiB, 200 * kKiB, reads[i].Callback());
  }
  origin_->Release();
  for (auto& read : reads) {
    ASSERT_TRUE(read.Wait());
    EXPECT_TRUE(read.Value() == Slice(content, 30 * kMiB, 200 * kKiB));
  }
  const auto fetched = origin_->Reads();
  EXPECT_EQ(std::count_if(fetched.begin(), fetched.end(),
                          [](const auto& read) {
                            return read.first <= 30 * kMiB && read.first + read.second > 30 * kMiB;
                          }),
            1);
}

TEST_F(ReaderTest, AnswersAsSoonAsTheBytesAreThere) {
  const Content content = MakeContent(64 * kMiB, 1);
  const auto object = origin_->Put("a", content);
  origin_->Hold();
  StartReader();
  const auto file = Open(object);
  Pending pending;
  file->ReadAsync(0, 128 * kKiB, pending.Callback());
  const auto read = origin_->TakeHeld([](const auto& r) { return r.offset == 0; });
  ASSERT_TRUE(read.has_value());
  ASSERT_GT(read->length, 128 * kKiB);
  EXPECT_TRUE(origin_->Feed(*read, 0, 100 * kKiB));
  EXPECT_FALSE(pending.Done());
  EXPECT_TRUE(origin_->Feed(*read, 100 * kKiB, 130 * kKiB));
  ASSERT_TRUE(pending.Wait());  // though the fetch is not over
  EXPECT_TRUE(pending.Value() == Slice(content, 0, 128 * kKiB));
  origin_->Feed(*read, 130 * kKiB, read->length);
  read->done(Ok());
  origin_->Release();
}

// A source that notes the pattern of each fetch, by its offset.
class NotingSource final : public ChunkSource {
 public:
  explicit NotingSource(std::shared_ptr<ChunkSource> behind) : behind_(std::move(behind)) {}

  void FetchAsync(const OriginObject& object, std::uint64_t offset, std::uint64_t length,
                  Pattern pattern, ReadSink sink, ReadDone done) override {
    {
      std::lock_guard lock(mutex_);
      patterns_[offset] = pattern;
    }
    behind_->FetchAsync(object, offset, length, pattern, std::move(sink), std::move(done));
  }
  [[nodiscard]] std::string Identity() const override { return behind_->Identity(); }
  [[nodiscard]] std::map<std::uint64_t, Pattern> Patterns() const {
    std::lock_guard lock(mutex_);
    return patterns_;
  }

 private:
  const std::shared_ptr<ChunkSource> behind_;
  mutable std::mutex mutex_;
  std::map<std::uint64_t, Pattern> patterns_;
};

TEST_F(ReaderTest, TellsTheSourceWhoReadsOn) {
  const Content content = MakeContent(96 * kMiB, 1);
  const auto source = std::make_shared<NotingSource>(source_);
  source_ = source;
  StartReader();
  const auto file = Open(origin_->Put("a", content));
  ExpectBytes(*file, content, 60 * kMiB, 4 * kKiB);
  EXPECT_EQ(source->Patterns(), (std::map<std::uint64_t, Pattern>{{60 * kMiB, Pattern::kRandom}}));
  for (std::uint64_t at = 0; at < 8 * kMiB; at += kMiB) ExpectBytes(*file, content, at, kMiB);
  auto patterns = source->Patterns();
  EXPECT_GT(patterns.size(), 2U) << "read-ahead, too";
  patterns.erase(60 * kMiB);
  for (const auto& [offset, pattern] : patterns) EXPECT_EQ(pattern, Pattern::kSequential) << offset;
}

TEST_F(ReaderTest, WhoJumpsOnInItsStreamWantsNoMoreThanItAsksFor) {
  options_.memory_budget_bytes = 16 * kMiB;  // no room to read ahead as far as it jumps
  const Content content = MakeContent(96 * kMiB, 1);
  const auto source = std::make_shared<NotingSource>(source_);
  source_ = source;
  StartReader();
  const auto file = Open(origin_->Put("a", content));
  ExpectBytes(*file, content, 0, kMiB);
  ExpectBytes(*file, content, 15 * kMiB, 4 * kKiB);
  EXPECT_EQ(source->Patterns().at(0), Pattern::kSequential);
  EXPECT_EQ(source->Patterns().at(15 * kMiB), Pattern::kRandom);
}

TEST_F(ReaderTest, RandomReadFetchesOnlyItsBlocks) {
  StartReader();
  const Content content = MakeContent(64 * kMiB, 1);
  const auto file = Open(origin_->Put("a", content));
  ExpectBytes(*file, content, 40 * kMiB + 5, 4 * kKiB);
  EXPECT_LE(origin_->BytesServed(), kMiB);
}

TEST_F(ReaderTest, KeepsManyRangesInFlightForOneSequentialReader) {
  options_.memory_budget_bytes = 256 * kMiB;
  const Content content = MakeContent(96 * kMiB, 1);
  const auto object = origin_->Put("a", content);
  StartReader();
  const auto file = Open(object);
  for (std::uint64_t at = 0; at < 32 * kMiB; at += kMiB) ExpectBytes(*file, content, at, kMiB);
  origin_->Hold();
  std::atomic<int> done = 0;
  for (std::uint64_t at = 32 * kMiB; at < 34 * kMiB; at += kMiB) {
    file->ReadAsync(at, kMiB, [&](const Result<Bytes>&) { ++done; });
  }
  EXPECT_TRUE(Eventually(
      [&] { return Metric("sluice_fetches_in_flight{kind=\"prefetch\"}") >= 8 || done == 2; }));
  origin_->Release();
  EXPECT_TRUE(Eventually([&] { return done == 2; }));
}

TEST_F(ReaderTest, ManyThreadsReadingManyFilesGetTheRightBytes) {
  options_.memory_budget_bytes = 32 * kMiB;
  std::vector<Content> contents;
  std::vector<OriginObject> objects;
  for (std::uint64_t i = 0; i < 4; ++i) {
    contents.push_back(MakeContent(12 * kMiB + i * 1000, i));
    objects.push_back(origin_->Put("f" + std::to_string(i), contents.back()));
  }
  StartReader();
  std::vector<std::jthread> threads;
  std::atomic<int> wrong = 0;
  for (unsigned t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      std::minstd_rand random(t);
      const auto file = Open(objects[t % 4]);
      const Content& content = contents[t % 4];
      for (int i = 0; i < 60; ++i) {
        const std::uint64_t offset = random() % content.size();
        const std::uint64_t size = random() % (2 * kMiB) + 1;
        const auto got = ReadAt(*file, offset, size);
        if (!got || *got != Slice(content, offset, size)) ++wrong;
      }
    });
  }
  threads.clear();
  EXPECT_EQ(wrong, 0);
}

TEST_F(ReaderTest, OriginThatAnswersAtOnceDoesNotRecurse) {
  origin_->SetInline();
  options_.fetch_bytes = 256 * kKiB;
  const Content content = MakeContent(48 * kMiB, 1);
  StartReader();
  const auto file = Open(origin_->Put("a", content));
  ExpectWholeFile(*file, content, 128 * kKiB);
}

struct FaultCase {
  const char* name;
  Code code;
  std::uint64_t bytes_first;
  bool retried;
};
void PrintTo(const FaultCase& c, std::ostream* out) { *out << c.name; }

class ReaderFaultTest : public ReaderFixture, public ::testing::WithParamInterface<FaultCase> {};

TEST_P(ReaderFaultTest, FailsOrTriesAgain) {
  const FaultCase& c = GetParam();
  const Content content = MakeContent(3 * kMiB, 1);
  std::atomic<int> faults = 2;
  origin_->SetScript([&](const auto&) -> std::optional<FakeOrigin::Fault> {
    if (faults-- <= 0) return std::nullopt;
    return FakeOrigin::Fault{{c.code, "scripted"}, c.bytes_first};
  });
  StartReader();
  const auto file = Open(origin_->Put("a", content));
  const auto got = ReadAt(*file, 0, content.size());
  if (c.retried) {
    ASSERT_TRUE(got.has_value()) << got.error().message;
    EXPECT_TRUE(*got == content);
  } else {
    ASSERT_FALSE(got.has_value());
    EXPECT_EQ(got.error().code, c.code);
    EXPECT_NE(got.error().message.find("read a at"), std::string::npos) << got.error().message;
    EXPECT_EQ(file->Stale(), c.code == Code::kConflict);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Faults, ReaderFaultTest,
    ::testing::Values(FaultCase{"Unavailable", Code::kUnavailable, 0, true},
                      FaultCase{"UnavailableInTheMiddle", Code::kUnavailable, 700 * kKiB, true},
                      FaultCase{"Deadline", Code::kDeadlineExceeded, 1, true},
                      FaultCase{"Permission", Code::kPermissionDenied, 0, false},
                      FaultCase{"NotFound", Code::kNotFound, 0, false},
                      FaultCase{"Conflict", Code::kConflict, 0, false},
                      FaultCase{"ConflictInTheMiddle", Code::kConflict, 300 * kKiB, false}),
    [](const auto& row) { return row.param.name; });

TEST_F(ReaderTest, GivesUpAtTheReadDeadline) {
  options_.read_deadline = milliseconds(300);
  origin_->SetScript([](const auto&) {
    return FakeOrigin::Fault{{Code::kUnavailable, "down"}, 0};
  });
  StartReader();
  const auto file = Open(origin_->Put("a", MakeContent(kMiB, 1)));
  const auto got = ReadAt(*file, 0, 10);
  ASSERT_FALSE(got.has_value());
  EXPECT_TRUE(got.error().code == Code::kUnavailable ||
              got.error().code == Code::kDeadlineExceeded);
}

TEST_F(ReaderTest, OriginThatNeverAnswersEndsInADeadline) {
  options_.read_deadline = milliseconds(200);
  origin_->Hold();
  StartReader();
  const auto file = Open(origin_->Put("a", MakeContent(kMiB, 1)));
  const auto got = ReadAt(*file, 0, 10);
  ASSERT_FALSE(got.has_value());
  EXPECT_EQ(got.error().code, Code::kDeadlineExceeded);
  origin_->Release();
}

TEST_F(ReaderTest, RecoversWhenTheOriginIsBack) {
  std::atomic<bool> down = true;
  origin_->SetScript([&](const auto&) -> std::optional<FakeOrigin::Fault> {
    if (!down) return std::nullopt;
    return FakeOrigin::Fault{{Code::kUnavailable, "down"}, 0};
  });
  const Content content = MakeContent(kMiB, 1);
  StartReader();
  const auto file = Open(origin_->Put("a", content));
  Pending pending;
  file->ReadAsync(0, kMiB, pending.Callback());
  EXPECT_TRUE(Eventually([&] { return Metric("sluice_read_retries_total") >= 2; }));
  EXPECT_FALSE(pending.Done());
  down = false;
  ASSERT_TRUE(pending.Wait());
  EXPECT_TRUE(pending.Value() == content);
}

TEST_F(ReaderTest, ChangedObjectNeverMixesVersions) {
  const Content old_content = MakeContent(32 * kMiB, 1);
  const Content new_content = MakeContent(32 * kMiB, 2);
  const auto old_object = origin_->Put("a", old_content);
  StartReader();
  const auto old_file = Open(old_object);
  ExpectBytes(*old_file, old_content, 0, kMiB);
  const auto new_object = origin_->Put("a", new_content);
  // The open handle fails as soon as it needs a byte that it has not got, and then for good.
  Result<Content> got;
  for (std::uint64_t at = 0; at < old_content.size(); at += kMiB) {
    got = ReadAt(*old_file, at, kMiB);
    if (!got) break;
    ASSERT_TRUE(*got == Slice(old_content, at, kMiB));
  }
  ASSERT_FALSE(got.has_value());
  EXPECT_EQ(got.error().code, Code::kConflict);
  EXPECT_TRUE(old_file->Stale());
  EXPECT_EQ(ReadAt(*old_file, 0, 10).error().code, Code::kConflict);
  const auto new_file = Open(new_object);
  EXPECT_FALSE(new_file->Stale());
  ExpectWholeFile(*new_file, new_content);
}

TEST_F(ReaderTest, CancelsReadAheadWhenTheLastFileIsClosed) {
  origin_->SetPace(16 * kKiB, std::chrono::microseconds(300));
  const Content content = MakeContent(200 * kMiB, 1);
  const auto object = origin_->Put("a", content);
  options_.memory_budget_bytes = 128 * kMiB;
  StartReader();
  {
    const auto file = Open(object);
    for (std::uint64_t at = 0; at < 8 * kMiB; at += kMiB) ExpectBytes(*file, content, at, kMiB);
  }
  EXPECT_TRUE(
      Eventually([&] { return Metric("sluice_fetches_in_flight{kind=\"prefetch\"}") == 0; }));
  EXPECT_GT(origin_->Cancelled(), 0U);
  EXPECT_LT(origin_->BytesServed(), 100 * kMiB);
}

TEST_F(ReaderTest, MemoryStaysWithinItsBudget) {
  options_.memory_budget_bytes = 48 * kMiB;  // 36 MiB of buffers
  const Content content = MakeContent(96 * kMiB, 1);
  StartReader();
  const auto file = Open(origin_->Put("a", content));
  std::uint64_t most = 0;
  for (std::uint64_t at = 0; at < content.size(); at += kMiB) {
    ExpectBytes(*file, content, at, kMiB);
    most = std::max(most, reader_->Stats().memory_bytes);
  }
  EXPECT_LE(most, 36 * kMiB);
  EXPECT_GT(most, 16 * kMiB);
}

TEST_F(ReaderTest, ReadsWaitForMemoryInsteadOfFailing) {
  options_.memory_budget_bytes = 1;  // the least: 16 MiB of buffers
  const Content content = MakeContent(64 * kMiB, 1);
  StartReader();
  const auto file = Open(origin_->Put("a", content));
  // Replies that are held pin all the memory there is…
  std::mutex mutex;
  std::vector<Bytes> held;
  std::atomic<int> answered = 0;
  for (int i = 0; i < 12; ++i) {
    file->ReadAsync(static_cast<std::uint64_t>(i) * 4 * kMiB, 4 * kMiB, [&](Result<Bytes> bytes) {
      ASSERT_TRUE(bytes.has_value());
      std::lock_guard lock(mutex);
      held.push_back(std::move(*bytes));
      ++answered;
    });
  }
  EXPECT_TRUE(Eventually([&] { return answered >= 3; }));
  EXPECT_LT(answered, 12);
  // …and letting them go lets the others through.
  EXPECT_TRUE(Eventually([&] {
    std::lock_guard lock(mutex);
    held.clear();
    return answered == 12;
  }));
}

TEST_F(ReaderTest, DestroyingTheReaderFailsWhatIsUnderWay) {
  origin_->Hold();
  StartReader();
  auto file = Open(origin_->Put("a", MakeContent(8 * kMiB, 1)));
  Pending pending;
  file->ReadAsync(0, kMiB, pending.Callback());
  reader_.reset();
  ASSERT_TRUE(pending.Done());
  ASSERT_TRUE(pending.Failure().has_value());
  EXPECT_EQ(pending.Failure()->code, Code::kUnavailable);
  EXPECT_EQ(pending.Calls(), 1);
  EXPECT_EQ(ReadAt(*file, 0, 1).error().code, Code::kUnavailable);
  origin_->Release();  // a late answer finds nobody
}

// That a thread which has just finished a read answers it, too, is shown in test/reading.
TEST_F(ReaderTest, DestroyingTheReaderWaitsForCallbacksOnOtherThreads) {
  const Content content = MakeContent(kMiB, 1);
  StartReader();
  const auto file = Open(origin_->Put("a", content));
  ExpectBytes(*file, content, 0, kMiB);
  std::atomic<bool> called = false;
  std::atomic<bool> release = false;
  std::atomic<bool> gone = false;
  std::jthread reads([&] {
    file->ReadAsync(0, 1, [&](const Result<Bytes>&) {  // from memory, so on this thread
      called = true;
      EXPECT_TRUE(Eventually([&] { return release.load(); }));
    });
  });
  ASSERT_TRUE(Eventually([&] { return called.load(); }));
  std::jthread ends([&] {
    reader_.reset();
    gone = true;
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  EXPECT_FALSE(gone);
  release = true;
  EXPECT_TRUE(Eventually([&] { return gone.load(); }));
}

TEST_F(ReaderTest, BytesOutliveReaderAndFile) {
  const Content content = MakeContent(kMiB, 1);
  StartReader();
  auto file = Open(origin_->Put("a", content));
  Bytes kept;
  std::atomic<bool> done = false;
  file->ReadAsync(0, kMiB, [&](Result<Bytes> bytes) {
    kept = std::move(*bytes);
    done = true;
  });
  ASSERT_TRUE(Eventually([&] { return done.load(); }));
  file.reset();
  reader_.reset();
  Content copy(kMiB);
  EXPECT_EQ(kept.CopyTo(copy), kMiB);
  EXPECT_TRUE(copy == content);
}

TEST_F(ReaderTest, CountsHitsAndMisses) {
  const Content content = MakeContent(64 * kMiB, 1);
  StartReader();
  const auto file = Open(origin_->Put("a", content));
  ExpectBytes(*file, content, 40 * kMiB, 100 * kKiB);
  EXPECT_EQ(reader_->Stats().miss_bytes, 100 * kKiB);
  ExpectBytes(*file, content, 40 * kMiB + kKiB, 50 * kKiB);
  EXPECT_EQ(reader_->Stats().memory_hit_bytes, 50 * kKiB);
  EXPECT_EQ(Metric("sluice_cache_hit_bytes_total{tier=\"memory\"}"), 50 * kKiB);
}

}  // namespace
}  // namespace sluice::cache
