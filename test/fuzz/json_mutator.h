// Mutations that keep a document a document: bytes alone seldom get past the parser.
#pragma once

#include <cstddef>
#include <cstdint>

namespace sluice::test {

// As LLVMFuzzerCustomMutator, for JSON behind `prefix` bytes of anything: edits the tree, and
// sometimes the bytes. Values come from the document itself and from the words of the contract.
std::size_t MutateJson(std::uint8_t* data, std::size_t size, std::size_t max_size, unsigned seed,
                       std::size_t prefix);

}  // namespace sluice::test
