// The fake keeps the contract that it stands in for.
#include "fake_cluster.h"

#include "cluster_contract.h"

namespace sluice::test {
namespace {

Cluster* SharedFake() {
  static FakeCluster fake;
  return &fake;
}

INSTANTIATE_TEST_SUITE_P(Fake, ClusterContract, testing::Values(&SharedFake),
                         [](const auto&) { return std::string("InMemory"); });

}  // namespace
}  // namespace sluice::test
