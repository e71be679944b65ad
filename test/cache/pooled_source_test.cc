#include "sluice/cache/pooled_source.h"

#include <atomic>
#include <latch>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sluice/cache/reader.h"

#include "pooled_fixture.h"

namespace sluice::cache {
namespace {

using std::chrono::milliseconds;
using ::testing::ElementsAre;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

const auto kAny = [](const FakeOrigin::Read&) { return true; };

class PooledSourceTest : public PooledFixture {};

TEST_F(PooledSourceTest, FillsThePoolForAllOtherClients) {
  const OriginObject object = Put(3 * kOneMiB + 5);
  auto first = Client();
  auto second = Client();
  ExpectFetch(*first, object, 0, object.size);
  ExpectFetch(*second, object, 0, object.size);
  EXPECT_EQ(origin_->BytesServed(), object.size);
  for (std::uint64_t chunk = 0; chunk < 4; ++chunk) EXPECT_TRUE(SoonStored(object, chunk)) << chunk;
  EXPECT_EQ(Metric("sluice_pooled_fills_total"), 4);
  const auto size = static_cast<double>(object.size);
  EXPECT_EQ(Metric("sluice_pooled_read_bytes_total{from=\"fill\"}"), size);
  EXPECT_EQ(Metric("sluice_pooled_read_bytes_total{from=\"pool\"}"), size);
}

TEST_F(PooledSourceTest, HasTheIdentityOfTheOrigin) {
  EXPECT_EQ(Client()->Identity(), origin_->Identity());
}

TEST_F(PooledSourceTest, RefusesWhatLiesBeyondTheObject) {
  const OriginObject object = Put(100);
  auto source = Client();
  for (const auto& [offset, length] :
       std::vector<std::pair<std::uint64_t, std::uint64_t>>{{0, 101}, {101, 1}, {5, UINT64_MAX}}) {
    Fetched fetched;
    fetched.Start(*source, object, offset, length);
    fetched.ExpectError(Code::kInvalidArgument);
  }
  ExpectFetch(*source, object, 100, 0);
  EXPECT_TRUE(pool_->Calls().empty());
}

TEST_F(PooledSourceTest, GivesBytesOfAMissAsTheyArrive) {
  const OriginObject object = Put(2 * kOneMiB);
  auto source = Client();
  origin_->Hold();
  Fetched fetched;
  fetched.Start(*source, object, 0, kOneMiB);
  const auto read = origin_->TakeHeld(kAny);
  ASSERT_TRUE(read.has_value());
  EXPECT_TRUE(origin_->Feed(*read, 0, 1000));
  EXPECT_TRUE(fetched.WaitForBytes(1000));
  EXPECT_FALSE(Stored(object, 0));
  EXPECT_TRUE(origin_->Feed(*read, 1000, kOneMiB));
  read->done(Ok());
  fetched.ExpectBytes(content_, 0, kOneMiB);
  EXPECT_TRUE(SoonStored(object, 0));
}

TEST_F(PooledSourceTest, ARandomReadFetchesOnlyItsBytes) {
  const OriginObject object = PutLarge();
  auto source = Client();
  ExpectFetch(*source, object, 13 * kOneMiB + 7, 100 * kOneKiB);
  EXPECT_THAT(origin_->Reads(), ElementsAre(Pair(13 * kOneMiB + 7, 100 * kOneKiB)));
  EXPECT_EQ(pool_->Count(Call::Kind::kPut), 0U);
  EXPECT_EQ(Metric("sluice_pooled_read_bytes_total{from=\"origin\"}"), 100 * kOneKiB);
  EXPECT_EQ(Metric("sluice_pooled_buffer_bytes"), 0);
  // Nor does it wait for somebody who fills the chunk.
  Lease(object, 4);
  ExpectFetch(*source, object, 17 * kOneMiB, 256 * kOneKiB);
  EXPECT_EQ(origin_->BytesServed(), 356 * kOneKiB);
}

TEST_F(PooledSourceTest, ARandomReadTakesWhatThePoolHas) {
  const OriginObject object = PutLarge();
  Store(object, 3);
  auto source = Client();
  ExpectFetch(*source, object, 13 * kOneMiB, 256 * kOneKiB);
  ExpectFetch(*source, object, 14 * kOneMiB, 256 * kOneKiB);
  EXPECT_EQ(origin_->BytesServed(), 0U);
  EXPECT_EQ(pool_->Count(Call::Kind::kGet), 1U) << "the chunk was in memory";
}

TEST_F(PooledSourceTest, RandomReadsFillThePoolInPieces) {
  const auto object = PutLarge();
  const std::uint64_t at = 9 * kOneMiB + 256 * kOneKiB;
  const auto first = Client();
  ExpectFetch(*first, object, at, 256 * kOneKiB);
  EXPECT_EQ(origin_->BytesServed(), 256 * kOneKiB);
  EXPECT_TRUE(Soon([&] { return pool_->ValueOf(Piece(object, at / kPieceBytes)).has_value(); }));
  const auto second = Client();
  ExpectFetch(*second, object, at, 256 * kOneKiB);
  EXPECT_EQ(origin_->BytesServed(), 256 * kOneKiB);
  EXPECT_FALSE(pool_->ValueOf(Key(object, 2)));
}

TEST_F(PooledSourceTest, ARandomReadOfTwoPiecesFindsTheOneThatIsThere) {
  const auto object = PutLarge();
  const auto first = Client();
  ExpectFetch(*first, object, kPieceBytes, kPieceBytes);
  EXPECT_TRUE(Soon([&] { return pool_->ValueOf(Piece(object, 1)).has_value(); }));
  const auto second = Client();
  // Less than half of the second piece is wanted: that is read, and not kept.
  ExpectFetch(*second, object, kPieceBytes, kPieceBytes + 1000);
  EXPECT_EQ(origin_->BytesServed(), kPieceBytes + 1000);
  EXPECT_FALSE(pool_->ValueOf(Piece(object, 2)));
}

TEST_F(PooledSourceTest, ARandomReadOfManyPiecesIsOneReadOfTheOrigin) {
  const auto object = PutLarge();
  ExpectFetch(*Client(), object, kPieceBytes, 5 * kPieceBytes);
  EXPECT_THAT(origin_->Reads(), ElementsAre(Pair(kPieceBytes, 5 * kPieceBytes)));
  EXPECT_EQ(pool_->Count(Call::Kind::kPut), 0U);
}

TEST_F(PooledSourceTest, APieceAtTheEndOfAnObjectIsAsLongAsWhatIsLeft) {
  const OriginObject object = Put(5 * kOneMiB + 1000);
  const auto client = Client();  // one that ends stores nothing any more
  ExpectFetch(*client, object, 5 * kOneMiB - kPieceBytes, kPieceBytes + 1000);
  const std::uint64_t before = origin_->BytesServed();
  // The last chunk is 1000 bytes; the piece before it is of the chunk before.
  EXPECT_TRUE(Soon([&] { return pool_->ValueOf(Piece(object, 19)).has_value(); }));
  ExpectFetch(*Client(), object, 5 * kOneMiB - kPieceBytes, kPieceBytes + 1000);
  EXPECT_EQ(origin_->BytesServed(), before);
}

TEST_F(PooledSourceTest, TheLeaseOfAPieceThatTheOriginDoesNotGiveIsGivenUp) {
  const auto object = PutLarge();
  origin_->SetScript([](const FakeOrigin::Read&) {
    return FakeOrigin::Fault{{Code::kPermissionDenied, "no"}, 0};
  });
  Fetched fetched;
  const auto source = Client();
  fetched.Start(*source, object, kPieceBytes, kPieceBytes);
  fetched.ExpectError(Code::kPermissionDenied);
  EXPECT_TRUE(Soon([&] { return pool_->Count(Call::Kind::kDrop) == 1; }));
}

TEST_F(PooledSourceTest, APieceThatFailsItsCheckIsReadAgain) {
  const auto object = PutLarge();
  Content wrong(kPieceBytes);
  pool_->Store(Piece(object, 1), wrong, 7);
  const auto client = Client();  // one that ends stores nothing any more
  ExpectFetch(*client, object, kPieceBytes, kPieceBytes);
  EXPECT_EQ(origin_->BytesServed(), kPieceBytes);
  EXPECT_TRUE(Soon([&] {
    const auto value = pool_->ValueOf(Piece(object, 1));
    return value && *value != wrong;
  }));
}

TEST_F(PooledSourceTest, NoPieceWaitsForAnotherClient) {
  const auto object = PutLarge();
  std::vector<std::byte> into(kPieceBytes);
  for (const std::uint64_t piece : {1, 2}) {
    pool_->Get(Piece(object, piece), into, ChunkPool::OnMiss::kLease, [](const auto&) {});
  }
  ExpectFetch(*Client(), object, kPieceBytes, 2 * kPieceBytes);
  EXPECT_EQ(origin_->BytesServed(), 2 * kPieceBytes);
}

TEST_F(PooledSourceTest, ASequentialReadBringsItsChunk) {
  const OriginObject object = PutLarge();
  auto source = Client();
  ExpectFetch(*source, object, 5 * kOneMiB, kPieceBytes, Pattern::kSequential);
  ExpectFetch(*source, object, 4 * kOneMiB, kOneMiB);
  ExpectFetch(*source, object, 5 * kOneMiB + kPieceBytes, 3 * kOneMiB - kPieceBytes);
  EXPECT_THAT(origin_->Reads(), ElementsAre(Pair(4 * kOneMiB, 4 * kOneMiB)));
  EXPECT_TRUE(SoonStored(object, 1));
  EXPECT_TRUE(Soon([&] { return Metric("sluice_pooled_buffer_bytes") == 0; }))
      << "all of the chunk was read, so it need not stay";
}

TEST_F(PooledSourceTest, ForgetsWhatNobodyReads) {
  options_.keep = milliseconds(1);
  const OriginObject object = Put(2 * kOneMiB);
  auto source = Client();
  ExpectFetch(*source, object, 0, 600 * kOneKiB);
  EXPECT_TRUE(SoonStored(object, 0));
  EXPECT_TRUE(Soon([&] { return Metric("sluice_pooled_buffer_bytes") == 0; }));
  ExpectFetch(*source, object, 600 * kOneKiB, 200 * kOneKiB);
  EXPECT_EQ(pool_->Count(Call::Kind::kGet), 2U);
  EXPECT_EQ(origin_->BytesServed(), kOneMiB);
}

TEST_F(PooledSourceTest, DropsAndReadsAgainWhatFailsItsCheck) {
  const OriginObject object = Put(2 * kOneMiB);
  Store(object, 0);
  Store(object, 1);
  ASSERT_TRUE(pool_->Spoil(Key(object, 0)));
  auto source = Client();
  ExpectFetch(*source, object, 0, object.size);
  EXPECT_THAT(origin_->Reads(), ElementsAre(Pair(0U, kOneMiB)));
  EXPECT_EQ(Metric("sluice_pooled_corrupt_chunks_total"), 1);
  EXPECT_TRUE(SoonStored(object, 0)) << "filled anew";
}

TEST_F(PooledSourceTest, DropsNothingThatAnotherClientPutThereMeanwhile) {
  const OriginObject object = Put(kOneMiB);
  Store(object, 0);
  ASSERT_TRUE(pool_->Spoil(Key(object, 0)));
  pool_->SetScript([&](const Call& call) -> std::optional<Error> {
    if (call.kind == Call::Kind::kDrop) Store(object, 0);
    return std::nullopt;
  });
  auto source = Client();
  ExpectFetch(*source, object, 0, object.size);
  EXPECT_EQ(pool_->Count(Call::Kind::kDrop), 1U);
  EXPECT_TRUE(Stored(object, 0));
  EXPECT_EQ(origin_->BytesServed(), 0U);
}

TEST_F(PooledSourceTest, ARandomReadDropsWhatFailsItsCheck) {
  const OriginObject object = Put(2 * kOneMiB);
  Store(object, 0);
  ASSERT_TRUE(pool_->Spoil(Key(object, 0)));
  auto source = Client();
  ExpectFetch(*source, object, 5000, 100);
  EXPECT_THAT(origin_->Reads(), ElementsAre(Pair(5000U, 100U)));
  EXPECT_EQ(Metric("sluice_pooled_corrupt_chunks_total"), 1);
  EXPECT_FALSE(pool_->ValueOf(Key(object, 0)).has_value());
}

TEST_F(PooledSourceTest, PassesAPoolByThatAlwaysGivesWrongBytes) {
  const OriginObject object = Put(kOneMiB);
  auto source = Client();
  const auto spoilt = [&](const Call& call) -> std::optional<Error> {
    if (call.kind == Call::Kind::kGet) pool_->Store(call.key, Content(object.size), 1);
    return std::nullopt;
  };
  pool_->SetScript(spoilt);
  ExpectFetch(*source, object, 0, object.size);
  EXPECT_EQ(Metric("sluice_pooled_corrupt_chunks_total"), 2);
  EXPECT_EQ(origin_->BytesServed(), object.size);
}

TEST_F(PooledSourceTest, FillsWhatHadAnotherSize) {
  const OriginObject object = Put(kOneMiB);
  pool_->Store(Key(object, 0), Content(7), 1);
  auto source = Client();
  ExpectFetch(*source, object, 0, object.size);
  EXPECT_TRUE(SoonStored(object, 0));
}

TEST_F(PooledSourceTest, ReadsEveryChunkOnceForManyClients) {
  const OriginObject object = Put(12 * kOneMiB + 77);
  origin_->SetPace(64 * kOneKiB, std::chrono::microseconds(200));
  std::vector<std::shared_ptr<ChunkSource>> clients;
  for (int i = 0; i < 8; ++i) clients.push_back(Client());
  std::vector<std::pair<std::uint64_t, Fetched>> fetches;
  for (std::uint64_t at = 0; at < object.size; at += 2 * kOneMiB) {
    for (const auto& client : clients) {
      for (const std::uint64_t offset : {at, at + 512 * kOneKiB}) {
        if (offset >= object.size) continue;
        Fetched fetched;
        fetched.Start(*client, object, offset, std::min(kOneMiB * 3 / 2, object.size - offset));
        fetches.emplace_back(offset, fetched);
      }
    }
  }
  for (const auto& [offset, fetched] : fetches) {
    fetched.ExpectBytes(content_, offset, std::min(kOneMiB * 3 / 2, object.size - offset));
  }
  EXPECT_EQ(origin_->BytesServed(), object.size);
  EXPECT_TRUE(Soon([&] { return Metric("sluice_pooled_fills_total") == 13; }));
  EXPECT_GT(Metric("sluice_pooled_waits_total{end=\"filled\"}"), 0);
  EXPECT_EQ(Metric("sluice_pooled_waits_total{end=\"given_up\"}"), 0);
}

// As under pressure of memory, when read-ahead asks for little at a time.
TEST_F(PooledSourceTest, SmallPartsOfSequentialReadersWaitForWhoFillsTheChunk) {
  const OriginObject object = PutLarge();
  origin_->SetPace(64 * kOneKiB, std::chrono::microseconds(500));
  std::vector<std::shared_ptr<ChunkSource>> clients;
  std::vector<std::pair<std::uint64_t, Fetched>> fetches;
  for (int i = 0; i < 4; ++i) {
    clients.push_back(Client());
    for (std::uint64_t at = 0; at < object.size; at += kPieceBytes * 3) {
      Fetched fetched;
      const std::uint64_t size = std::min(kPieceBytes, object.size - at);
      fetched.Start(*clients.back(), object, at, size, Pattern::kSequential);
      fetches.emplace_back(at, fetched);
    }
  }
  for (const auto& [offset, fetched] : fetches) {
    fetched.ExpectBytes(content_, offset, std::min(kPieceBytes, object.size - offset));
  }
  EXPECT_EQ(origin_->BytesServed(), object.size);
}

TEST_F(PooledSourceTest, TakesOverFromAClientThatDied) {
  const OriginObject object = Put(kOneMiB);
  Lease(object, 0);
  auto source = Client();
  Fetched fetched;
  fetched.Start(*source, object, 0, object.size);
  EXPECT_TRUE(Soon([&] { return pool_->Count(Call::Kind::kGet) >= 4; })) << "asks again";
  EXPECT_TRUE(origin_->Reads().empty());
  clock_.Advance(std::chrono::seconds(11));
  fetched.ExpectBytes(content_, 0, object.size);
  EXPECT_TRUE(SoonStored(object, 0));
  EXPECT_EQ(Metric("sluice_pooled_waits_total{end=\"takeover\"}"), 1);
}

TEST_F(PooledSourceTest, WaitsForAnotherClientOnlySoLong) {
  options_.most_wait = milliseconds(40);
  const OriginObject object = Put(kOneMiB);
  Lease(object, 0);
  auto source = Client();
  const auto begin = std::chrono::steady_clock::now();
  ExpectFetch(*source, object, 100, 700 * kOneKiB);
  EXPECT_GE(std::chrono::steady_clock::now() - begin, options_.most_wait);
  EXPECT_THAT(origin_->Reads(), ElementsAre(Pair(100U, 700 * kOneKiB)));
  EXPECT_EQ(pool_->Count(Call::Kind::kPut), 0U);
  EXPECT_EQ(Metric("sluice_pooled_waits_total{end=\"given_up\"}"), 1);
}

TEST_F(PooledSourceTest, ReadsAsIfThereWereNoPoolWhenItIsDown) {
  const OriginObject object = Put(4 * kOneMiB);
  pool_->SetDown(true);
  auto source = Client();
  ExpectFetch(*source, object, 0, object.size);
  ExpectFetch(*source, object, 1000, 700 * kOneKiB);
  EXPECT_THAT(origin_->Reads(), ElementsAre(Pair(0U, object.size), Pair(1000U, 700 * kOneKiB)))
      << "in one request each";
  EXPECT_EQ(Metric("sluice_pooled_errors_total{call=\"get\"}"), 5);
  pool_->SetDown(false);
  ExpectFetch(*source, object, 0, object.size);
  EXPECT_TRUE(SoonStored(object, 3));
}

TEST_F(PooledSourceTest, OneChunkWithoutItsWorkerCostsOnlyThatChunk) {
  const OriginObject object = Put(4 * kOneMiB);
  for (std::uint64_t chunk = 0; chunk < 4; ++chunk) Store(object, chunk);
  pool_->SetScript([key = Key(object, 1)](const Call& call) -> std::optional<Error> {
    if (call.key != key) return std::nullopt;
    return Error{Code::kUnavailable, "the worker is gone"};
  });
  auto source = Client();
  ExpectFetch(*source, object, 0, object.size);
  EXPECT_THAT(origin_->Reads(), ElementsAre(Pair(kOneMiB, kOneMiB)));
}

TEST_F(PooledSourceTest, ReadsOnWhenThePoolTakesNothing) {
  const OriginObject object = Put(kOneMiB);
  pool_->SetScript([](const Call& call) -> std::optional<Error> {
    if (call.kind != Call::Kind::kPut) return std::nullopt;
    return Error{Code::kDeadlineExceeded, "the worker is slow"};
  });
  auto source = Client();
  ExpectFetch(*source, object, 0, object.size);
  EXPECT_TRUE(Soon([&] { return Metric("sluice_pooled_errors_total{call=\"put\"}") == 1; }));
  EXPECT_TRUE(Soon([&] { return pool_->Count(Call::Kind::kDrop) == 1; })) << "others may fill it";
}

TEST_F(PooledSourceTest, DeliversChunksInOrderHoweverTheyArrive) {
  const OriginObject object = Put(3 * kOneMiB);
  auto source = Client();
  origin_->Hold();
  Fetched fetched;
  fetched.Start(*source, object, 0, object.size);
  for (const std::uint64_t chunk : {2U, 1U, 0U}) {
    EXPECT_EQ(fetched.Size(), 0U);
    const auto read =
        origin_->TakeHeld([&](const auto& held) { return held.offset == chunk * kOneMiB; });
    ASSERT_TRUE(read.has_value()) << "chunks are asked for ahead";
    EXPECT_TRUE(origin_->Feed(*read, 0, kOneMiB));
    read->done(Ok());
  }
  fetched.ExpectBytes(content_, 0, object.size);
}

TEST_F(PooledSourceTest, SharesOneReadOfTheOrigin) {
  const OriginObject object = Put(2 * kOneMiB);
  auto source = Client();
  origin_->Hold();
  Fetched whole;
  whole.Start(*source, object, 0, kOneMiB);
  const auto read = origin_->TakeHeld(kAny);
  ASSERT_TRUE(read.has_value());
  EXPECT_TRUE(origin_->Feed(*read, 0, kOneMiB / 2));
  Fetched late;
  late.Start(*source, object, 100, 1000);
  late.ExpectBytes(content_, 100, 1000);
  Fetched behind;
  behind.Start(*source, object, kOneMiB - 10, 10);
  EXPECT_FALSE(behind.Done());
  EXPECT_TRUE(origin_->Feed(*read, kOneMiB / 2, kOneMiB));
  behind.ExpectBytes(content_, kOneMiB - 10, 10);
  read->done(Ok());
  whole.ExpectBytes(content_, 0, kOneMiB);
  EXPECT_EQ(origin_->Reads().size(), 1U);
}

TEST_F(PooledSourceTest, WhoWantsTheWholeChunkMakesARandomReadFillIt) {
  const OriginObject object = Put(2 * kOneMiB);
  auto source = Client();
  pool_->Hold();
  Fetched random;
  random.Start(*source, object, 5000, 100);
  Fetched whole;
  whole.Start(*source, object, 0, kOneMiB);
  pool_->Release();
  random.ExpectBytes(content_, 5000, 100);
  whole.ExpectBytes(content_, 0, kOneMiB);
  EXPECT_THAT(origin_->Reads(), ElementsAre(Pair(0U, kOneMiB)));
}

TEST_F(PooledSourceTest, WhoGivesUpLeavesTheOthersTheirBytes) {
  const OriginObject object = Put(2 * kOneMiB);
  auto source = Client();
  origin_->Hold();
  Fetched gives_up(1000);
  Fetched stays;
  gives_up.Start(*source, object, 0, object.size);
  stays.Start(*source, object, 0, object.size);
  const auto read = origin_->TakeHeld([](const auto& held) { return held.offset == 0; });
  ASSERT_TRUE(read.has_value());
  EXPECT_TRUE(origin_->Feed(*read, 0, 1000));
  gives_up.ExpectError(Code::kUnavailable);
  EXPECT_TRUE(origin_->Feed(*read, 1000, kOneMiB));
  read->done(Ok());
  origin_->Release();
  stays.ExpectBytes(content_, 0, object.size);
  EXPECT_EQ(gives_up.Size(), 1000U);
}

TEST_F(PooledSourceTest, CancelsTheReadThatNobodyWaitsForAnyMore) {
  const OriginObject object = Put(2 * kOneMiB);
  auto source = Client();
  origin_->Hold();
  Fetched gives_up(1000);
  gives_up.Start(*source, object, 0, object.size);
  const auto first = origin_->TakeHeld([](const auto& held) { return held.offset == 0; });
  const auto second = origin_->TakeHeld([](const auto& held) { return held.offset > 0; });
  ASSERT_TRUE(first.has_value() && second.has_value());
  origin_->Feed(*first, 0, 1000);
  gives_up.ExpectError(Code::kUnavailable);
  EXPECT_FALSE(origin_->Feed(*first, 1000, 2000));
  EXPECT_FALSE(origin_->Feed(*second, 0, 1000)) << "the chunk that was asked for ahead";
  first->done(Fail(Code::kUnavailable, "cancelled"));
  second->done(Fail(Code::kUnavailable, "cancelled"));
  EXPECT_TRUE(Soon([&] { return pool_->Count(Call::Kind::kDrop) == 2; })) << "others may fill them";
  EXPECT_EQ(Metric("sluice_pooled_buffer_bytes"), 0);
  origin_->Release();
  ExpectFetch(*source, object, 0, object.size);
  EXPECT_TRUE(SoonStored(object, 1));
}

TEST_F(PooledSourceTest, FinishesTheReadThatIsHalfDone) {
  const OriginObject object = Put(kOneMiB);
  auto source = Client();
  origin_->Hold();
  Fetched gives_up(kOneMiB / 2);
  gives_up.Start(*source, object, 0, object.size);
  const auto read = origin_->TakeHeld(kAny);
  ASSERT_TRUE(read.has_value());
  origin_->Feed(*read, 0, kOneMiB / 2);
  gives_up.ExpectError(Code::kUnavailable);
  EXPECT_TRUE(origin_->Feed(*read, kOneMiB / 2, kOneMiB));
  read->done(Ok());
  EXPECT_TRUE(SoonStored(object, 0));
}

TEST_F(PooledSourceTest, CancelsADirectRead) {
  const OriginObject object = Put(2 * kOneMiB);
  pool_->SetDown(true);
  auto source = Client();
  Fetched gives_up(64 * kOneKiB);
  gives_up.Start(*source, object, 0, object.size);
  gives_up.ExpectError(Code::kUnavailable);
  EXPECT_TRUE(Soon([&] { return origin_->Cancelled() == 1; }));
}

TEST_F(PooledSourceTest, GivesUpItsLeaseWhenTheOriginFails) {
  const OriginObject object = Put(2 * kOneMiB);
  for (const Code code : {Code::kUnavailable, Code::kConflict, Code::kPermissionDenied}) {
    const std::size_t drops = pool_->Count(Call::Kind::kDrop);
    origin_->SetScript([&](const auto&) { return FakeOrigin::Fault{{code, "no"}, 1000}; });
    auto source = Client();
    Fetched fetched;
    fetched.Start(*source, object, 0, kOneMiB);
    fetched.ExpectError(code);
    EXPECT_EQ(fetched.Size(), 1000U) << "what came before the failure";
    EXPECT_TRUE(Soon([&] { return pool_->Count(Call::Kind::kDrop) == drops + 1; }));
    origin_->SetScript(nullptr);
    ExpectFetch(*source, object, 0, kOneMiB);
    ASSERT_TRUE(Soon([&] { return Stored(object, 0); }));  // or its put comes after this:
    pool_->Evict(Key(object, 0));
  }
}

TEST_F(PooledSourceTest, PassesOnTheErrorOfADirectRead) {
  const OriginObject object = Put(2 * kOneMiB);
  auto source = Client();
  origin_->Delete(object.path);
  Fetched fetched;
  fetched.Start(*source, object, 5000, 100);
  fetched.ExpectError(Code::kNotFound);
}

TEST_F(PooledSourceTest, NeverDeliversOrStoresWhatAnOriginGivesTooMuchOrTooLittleOf) {
  const OriginObject object = Put(2 * kOneMiB);
  auto source = Client();
  for (const std::uint64_t given : {kOneMiB - 1, kOneMiB + 1}) {
    for (const bool direct : {false, true}) {
      pool_->SetDown(direct);
      origin_->Hold();
      Fetched fetched;
      fetched.Start(*source, object, 0, kOneMiB);
      const auto read = origin_->TakeHeld(kAny);
      ASSERT_TRUE(read.has_value());
      origin_->Feed(*read, 0, given);
      read->done(Ok());
      fetched.ExpectError(Code::kInternal);
      EXPECT_LE(fetched.Size(), kOneMiB);
      origin_->Release();
    }
  }
  EXPECT_FALSE(Stored(object, 0));
}

TEST_F(PooledSourceTest, KeepsToItsMemory) {
  options_.memory_bytes = 8 * kOneMiB;
  const OriginObject object = Put(16 * kOneMiB);
  auto source = Client();
  origin_->Hold();
  std::vector<Fetched> fetches(16);
  for (std::uint64_t i = 0; i < 16; ++i) fetches[i].Start(*source, object, i * kOneMiB, kOneMiB);
  EXPECT_EQ(origin_->Reads().size(), 4U) << "half of it is for small parts";
  EXPECT_EQ(Metric("sluice_pooled_buffer_bytes"), 4.0 * kOneMiB);
  // They wait for each other in turn.
  for (std::uint64_t i = 0; i < 16; ++i) {
    const auto read = origin_->TakeHeld(kAny);
    ASSERT_TRUE(read.has_value());
    EXPECT_EQ(read->offset, i * kOneMiB);
    origin_->Feed(*read, 0, kOneMiB);
    read->done(Ok());
    fetches[i].ExpectBytes(content_, i * kOneMiB, kOneMiB);
    EXPECT_LE(Metric("sluice_pooled_buffer_bytes"), 4.0 * kOneMiB);
  }
  EXPECT_EQ(Metric("sluice_pooled_buffer_bytes"), 0);
}

TEST_F(PooledSourceTest, WhatWaitsForAnotherClientTakesNoMemory) {
  options_.memory_bytes = 8 * kOneMiB;
  const OriginObject object = Put(16 * kOneMiB);
  for (std::uint64_t chunk = 0; chunk < 4; ++chunk) Lease(object, chunk);
  auto source = Client();
  std::vector<Fetched> fetches(4);
  for (std::uint64_t i = 0; i < 4; ++i) fetches[i].Start(*source, object, i * kOneMiB, kOneMiB);
  ExpectFetch(*source, object, 8 * kOneMiB, kOneMiB);
  EXPECT_TRUE(Soon([&] { return Metric("sluice_pooled_buffer_bytes") == 0; }));
  for (std::uint64_t i = 0; i < 4; ++i) {
    EXPECT_FALSE(fetches[i].Done());
    Store(object, i);
    fetches[i].ExpectBytes(content_, i * kOneMiB, kOneMiB);
  }
  EXPECT_EQ(origin_->BytesServed(), kOneMiB);
}

TEST_F(PooledSourceTest, ASmallReadDoesNotWaitForAnotherClient) {
  const OriginObject object = Put(2 * kOneMiB);
  Lease(object, 0);
  auto source = Client();
  pool_->Hold();
  Fetched whole;
  whole.Start(*source, object, 0, kOneMiB);
  Fetched before;
  before.Start(*source, object, 5000, 100);
  EXPECT_EQ(pool_->Held(), 1U);
  pool_->Release();
  before.ExpectBytes(content_, 5000, 100);
  ASSERT_TRUE(Soon([&] { return pool_->Count(Call::Kind::kGet) > 3; })) << "it is waited for";
  ExpectFetch(*source, object, 7000, 100);
  EXPECT_FALSE(whole.Done());
  Store(object, 0);
  whole.ExpectBytes(content_, 0, kOneMiB);
  EXPECT_EQ(origin_->BytesServed(), 200U);
}

TEST_F(PooledSourceTest, CopiesToItsNewPlaceWhatWasElsewhere) {
  const OriginObject object = Put(2 * kOneMiB);
  const Content value = Chunk(object, 0);
  pool_->StoreAtFormerPlace(Key(object, 0), value, Crc32c(value));
  auto source = Client();
  ExpectFetch(*source, object, 5000, 100);
  EXPECT_FALSE(Stored(object, 0)) << "who wants a small part copies nothing";
  auto other = Client();
  ExpectFetch(*other, object, 0, kOneMiB);
  EXPECT_TRUE(SoonStored(object, 0));
  EXPECT_EQ(origin_->BytesServed(), 0U);
  EXPECT_EQ(Metric("sluice_pooled_moved_total"), 1);
}

TEST_F(PooledSourceTest, CopiesNothingThatFailsItsCheck) {
  const OriginObject object = Put(kOneMiB);
  pool_->StoreAtFormerPlace(Key(object, 0), Content(kOneMiB), 1);
  auto source = Client();
  ExpectFetch(*source, object, 0, kOneMiB);
  EXPECT_TRUE(SoonStored(object, 0)) << "filled from the origin";
  EXPECT_EQ(origin_->BytesServed(), kOneMiB);
  EXPECT_EQ(Metric("sluice_pooled_moved_total"), 0);
}

TEST_F(PooledSourceTest, ASmallReadDoesNotWaitForLargeOnes) {
  options_.memory_bytes = 8 * kOneMiB;
  const OriginObject object = Put(16 * kOneMiB);
  auto source = Client();
  origin_->Hold();
  std::vector<Fetched> fetches(8);
  for (std::uint64_t i = 0; i < 8; ++i) fetches[i].Start(*source, object, i * kOneMiB, kOneMiB);
  Fetched small;
  small.Start(*source, object, 12 * kOneMiB + 5, 10);
  const auto read = origin_->TakeHeld([](const auto& held) { return held.length == 10; });
  ASSERT_TRUE(read.has_value());
  origin_->Feed(*read, 0, 10);
  read->done(Ok());
  small.ExpectBytes(content_, 12 * kOneMiB + 5, 10);
  origin_->Release();
  for (std::uint64_t i = 0; i < 8; ++i) fetches[i].ExpectBytes(content_, i * kOneMiB, kOneMiB);
}

TEST_F(PooledSourceTest, MakesRoomByForgettingChunksThatAreReadInPart) {
  options_.memory_bytes = 8 * kOneMiB;
  const OriginObject object = Put(16 * kOneMiB);
  auto source = Client();
  for (std::uint64_t i = 0; i < 16; ++i) {
    ExpectFetch(*source, object, i * kOneMiB, 600 * kOneKiB);
    EXPECT_LE(Metric("sluice_pooled_buffer_bytes"), 8.0 * kOneMiB);
  }
  EXPECT_TRUE(Soon([&] { return Metric("sluice_pooled_buffer_bytes") == 8.0 * kOneMiB; }));
}

// Else fetches over several chunks could wait for each other for ever.
TEST_F(PooledSourceTest, AChunkThatCameBeforeItsTurnMakesRoom) {
  options_.memory_bytes = 8 * kOneMiB;
  const OriginObject object = Put(9 * kOneMiB);
  Lease(object, 0);
  Lease(object, 4);
  auto source = Client();
  Fetched first;
  Fetched second;
  first.Start(*source, object, 0, 4 * kOneMiB);
  second.Start(*source, object, 4 * kOneMiB, 4 * kOneMiB);
  for (const std::uint64_t chunk : {1U, 2U, 3U, 5U, 6U, 7U}) {
    EXPECT_TRUE(SoonStored(object, chunk)) << chunk;
  }
  EXPECT_TRUE(Soon([&] { return Metric("sluice_pooled_buffer_bytes") == 6.0 * kOneMiB; }));
  ExpectFetch(*source, object, 8 * kOneMiB, kOneMiB);
  EXPECT_FALSE(first.Done() || second.Done());
  clock_.Advance(std::chrono::seconds(11));
  first.ExpectBytes(content_, 0, 4 * kOneMiB);
  second.ExpectBytes(content_, 4 * kOneMiB, 4 * kOneMiB);
  EXPECT_EQ(origin_->BytesServed(), object.size) << "what made room came out of the pool";
}

TEST_F(PooledSourceTest, EndsWithAllThatIsUnderWay) {
  const OriginObject object = Put(16 * kOneMiB);
  Lease(object, 2);
  auto source = Client();
  origin_->Hold();
  std::vector<Fetched> fetches(4);
  fetches[0].Start(*source, object, 0, kOneMiB);            // filling
  fetches[1].Start(*source, object, kOneMiB + 10, 10);      // directly
  fetches[2].Start(*source, object, 2 * kOneMiB, kOneMiB);  // waiting for another client
  pool_->Hold();
  fetches[3].Start(*source, object, 3 * kOneMiB, kOneMiB);  // asking
  const auto fill = origin_->TakeHeld([](const auto& held) { return held.offset == 0; });
  ASSERT_TRUE(fill.has_value());
  origin_->Feed(*fill, 0, 1000);
  source.reset();
  for (const Fetched& fetched : fetches) {
    EXPECT_TRUE(fetched.Done());
    fetched.ExpectError(Code::kUnavailable);
  }
  EXPECT_EQ(pool_->Calls().back(), (Call{Call::Kind::kDrop, Key(object, 0)}))
      << "others need not wait for the lease to end";
  EXPECT_FALSE(fill->sink(Content(10)));
  fill->done(Ok());
  pool_->Release();
  origin_->Release();
}

// A client that is about to fill, or just does.
class PooledLeaseTest : public PooledFixture {
 protected:
  // The client asks for the whole object, and the origin waits for the test.
  void StartFilling(const OriginObject& object) {
    origin_->Hold();
    source_ = Client();
    fetched_.Start(*source_, object, 0, object.size);
    read_ = origin_->TakeHeld(kAny);
    ASSERT_TRUE(read_.has_value());
  }
  // Ends the client, with `meanwhile` once it is doing so.
  void EndWhile(const std::function<void()>& meanwhile) {
    std::jthread end([&] {
      source_.reset();
      ended_ = true;
    });
    fetched_.ExpectError(Code::kUnavailable);
    meanwhile();
  }

  Fetched fetched_;
  std::shared_ptr<ChunkSource> source_;
  std::optional<FakeOrigin::Read> read_;
  std::atomic<bool> ended_ = false;
};

TEST_F(PooledLeaseTest, IsKeptWhileBytesCome) {
  options_.renew_every = milliseconds(0);
  const OriginObject object = Put(kOneMiB);
  StartFilling(object);
  for (std::uint64_t at = 0; at < kOneMiB; at += kOneMiB / 4) {
    clock_.Advance(std::chrono::seconds(6));
    EXPECT_TRUE(origin_->Feed(*read_, at, at + kOneMiB / 4));
    EXPECT_EQ(AskForLease(object, 0), PoolAnswer::Kind::kWait) << at;
  }
  read_->done(Ok());
  fetched_.ExpectBytes(content_, 0, object.size);
  EXPECT_TRUE(SoonStored(object, 0));
  EXPECT_EQ(Metric("sluice_pooled_lost_leases_total"), 0);
}

TEST_F(PooledLeaseTest, IsNotKeptByAnOriginThatIsSilent) {
  options_.renew_every = milliseconds(0);
  const OriginObject object = Put(kOneMiB);
  StartFilling(object);
  EXPECT_TRUE(origin_->Feed(*read_, 0, 1000));
  clock_.Advance(std::chrono::seconds(11));
  EXPECT_EQ(AskForLease(object, 0), PoolAnswer::Kind::kFill);
  // Nor taken back from the client that has it now.
  EXPECT_TRUE(origin_->Feed(*read_, 1000, 2000));
  EXPECT_TRUE(origin_->Feed(*read_, 2000, kOneMiB / 2));
  EXPECT_TRUE(origin_->Feed(*read_, kOneMiB / 2, kOneMiB));
  read_->done(Ok());
  fetched_.ExpectBytes(content_, 0, object.size);
  EXPECT_TRUE(Soon([&] { return pool_->Count(Call::Kind::kPut) == 1; }));
  EXPECT_FALSE(Stored(object, 0));
  EXPECT_EQ(AskForLease(object, 0), PoolAnswer::Kind::kWait);
  EXPECT_EQ(Metric("sluice_pooled_lost_leases_total"), 1);
  EXPECT_EQ(pool_->Count(Call::Kind::kRenew), 2U) << "a lost one is not asked for again";
}

TEST_F(PooledLeaseTest, WhatOutlivedItIsStoredWhereNobodyElseBegan) {
  options_.renew_every = std::chrono::minutes(1);
  const OriginObject object = Put(kOneMiB);
  StartFilling(object);
  clock_.Advance(std::chrono::seconds(11));
  EXPECT_TRUE(origin_->Feed(*read_, 0, kOneMiB));
  read_->done(Ok());
  EXPECT_TRUE(SoonStored(object, 0));
}

TEST_F(PooledLeaseTest, TheValueIsPutUnderItsLastNumber) {
  options_.renew_every = milliseconds(0);
  const OriginObject object = Put(kOneMiB);
  StartFilling(object);
  pool_->Hold();
  EXPECT_TRUE(origin_->Feed(*read_, 0, 1000));
  EXPECT_TRUE(origin_->Feed(*read_, 1000, kOneMiB));
  read_->done(Ok());
  fetched_.ExpectBytes(content_, 0, object.size);
  EXPECT_EQ(pool_->Held(), 1U) << "the renewal";
  pool_->Release();
  EXPECT_TRUE(SoonStored(object, 0));
}

TEST_F(PooledLeaseTest, IsGivenUpAtTheEndOfAClientThatFills) {
  const OriginObject object = Put(kOneMiB);
  StartFilling(object);
  EndWhile([] {});
  EXPECT_EQ(AskForLease(object, 0), PoolAnswer::Kind::kFill);
}

TEST_F(PooledLeaseTest, IsGivenUpAtTheEndOfAClientThatRenewsIt) {
  options_.renew_every = milliseconds(0);
  const OriginObject object = Put(kOneMiB);
  StartFilling(object);
  // Renewed just before the number known so far is dropped.
  pool_->Hold();
  pool_->SetScript([this](const Call& call) -> std::optional<Error> {
    if (call.kind == Call::Kind::kDrop) pool_->ReleaseOne();
    return std::nullopt;
  });
  EXPECT_TRUE(origin_->Feed(*read_, 0, 1000));
  EXPECT_EQ(pool_->Held(), 1U);
  EndWhile([] {});
  pool_->Release();
  EXPECT_EQ(AskForLease(object, 0), PoolAnswer::Kind::kFill);
}

TEST_F(PooledLeaseTest, IsGivenUpAtTheEndOfAClientThatJustAskedForIt) {
  const OriginObject object = Put(kOneMiB);
  pool_->Hold();
  source_ = Client();
  fetched_.Start(*source_, object, 0, object.size);
  ASSERT_TRUE(Soon([&] { return pool_->Held() == 1; }));
  EndWhile([&] { pool_->Release(); });
  EXPECT_EQ(AskForLease(object, 0), PoolAnswer::Kind::kFill);
}

TEST_F(PooledLeaseTest, TheEndOfAClientWaitsForItsPuts) {
  const OriginObject object = Put(2 * kOneMiB);
  StartFilling(object);
  pool_->Hold();
  EXPECT_TRUE(origin_->Feed(*read_, 0, kOneMiB));
  read_->done(Ok());
  ASSERT_TRUE(Soon([&] { return pool_->Held() == 1; }));
  EndWhile([&] {
    std::this_thread::sleep_for(milliseconds(100));
    EXPECT_FALSE(ended_);
    pool_->Release();
  });
  EXPECT_TRUE(Stored(object, 0));
}

TEST_F(PooledLeaseTest, NothingIsAskedAfterTheEndOfAClient) {
  const OriginObject object = Put(kOneMiB);
  Store(object, 0);
  ASSERT_TRUE(pool_->Spoil(Key(object, 0)));
  std::latch dropping(1);
  std::latch release(1);
  pool_->SetScript([&](const Call& call) -> std::optional<Error> {
    if (call.kind != Call::Kind::kDrop) return std::nullopt;
    dropping.count_down();
    release.wait();
    return std::nullopt;
  });
  pool_->Hold();
  source_ = Client();
  fetched_.Start(*source_, object, 0, object.size);
  ASSERT_TRUE(Soon([&] { return pool_->Held() == 1; }));
  // It drops what is wrong, and is going to ask again.
  std::jthread answering([&] { pool_->Release(); });
  dropping.wait();
  EndWhile([&] {
    std::this_thread::sleep_for(milliseconds(1'500));
    EXPECT_FALSE(ended_);
    release.count_down();
  });
  EXPECT_EQ(pool_->Count(Call::Kind::kGet), 1U);
}

TEST_F(PooledLeaseTest, TheEndOfAClientWaitsOnlySoLong) {
  options_.most_wait_at_end = std::chrono::seconds(1);
  const OriginObject object = Put(kOneMiB);
  pool_->Hold();
  source_ = Client();
  fetched_.Start(*source_, object, 0, object.size);
  const auto begin = std::chrono::steady_clock::now();
  EndWhile([] {});
  EXPECT_GE(std::chrono::steady_clock::now() - begin, milliseconds(900));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(8));
}

TEST_F(PooledSourceTest, LetsGoOfPoolAndOrigin) {
  const OriginObject object = Put(kOneMiB);
  auto source = Client();
  origin_->Hold();
  Fetched fetched;
  fetched.Start(*source, object, 0, kOneMiB);
  ASSERT_TRUE(Soon([&] { return !origin_->Reads().empty(); }));
  const std::weak_ptr<FakeOrigin> origin = origin_;
  const std::weak_ptr<FakeChunkPool> pool = pool_;
  origin_.reset();
  pool_.reset();
  EXPECT_FALSE(origin.expired());
  source.reset();
  EXPECT_TRUE(origin.expired());
  EXPECT_TRUE(pool.expired());
  fetched.ExpectError(Code::kUnavailable);
}

// Readers of so many nodes that read the whole object, beginning together.
class ReadersTest : public PooledFixture {
 protected:
  void ReadTogether(const OriginObject& object, unsigned readers) {
    origin_->SetPace(256 * kOneKiB, std::chrono::microseconds(200));
    std::vector<std::jthread> threads;
    for (unsigned i = 0; i < readers; ++i) {
      threads.emplace_back([&, source = Client()] { ReadAll(source, object); });
    }
  }

 private:
  void ReadAll(const std::shared_ptr<ChunkSource>& source, const OriginObject& object) {
    ReaderOptions options;
    options.memory_budget_bytes = 64 * kOneMiB;
    const auto reader = Reader::Start(options, metrics_, log_);
    const auto file = reader->Open(source, object);
    Content got(object.size);
    for (std::uint64_t at = 0; at < got.size();) {
      const std::size_t n = std::min<std::size_t>(128 * kOneKiB, got.size() - at);
      const auto read = file->Read(at, std::span(got).subspan(at, n));
      ASSERT_TRUE(read.has_value()) << read.error().message;
      at += *read;
    }
    EXPECT_TRUE(got == content_);
  }
};

TEST_F(ReadersTest, ReadASmallObjectOnceFromTheOrigin) {
  const OriginObject object = Put(20 * kOneMiB + 99);
  ReadTogether(object, 4);
  EXPECT_EQ(origin_->BytesServed(), object.size);
}

TEST_F(ReadersTest, ReadALargeObjectOnceFromTheOrigin) {
  const OriginObject object = PutLarge();
  ReadTogether(object, 3);
  EXPECT_EQ(origin_->BytesServed(), object.size);
}

}  // namespace
}  // namespace sluice::cache
