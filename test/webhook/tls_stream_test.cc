#include "tls_stream.h"

#include <gtest/gtest.h>

namespace sluice::webhook {
namespace {

TEST(TlsStreamTest, SurvivesALackOfMemoryForTls) {
  RequestMemory memory(0);
  TlsStream stream(nullptr, -1, memory);  // as when SSL_new fails
  EXPECT_EQ(stream.Shake(), TlsStream::Progress::kFailed);
  stream.Goodbye();
}

}  // namespace
}  // namespace sluice::webhook
