// The entry point that libFuzzer wants; a plain test calls it with mutated inputs as well.
#pragma once

#include <cstddef>
#include <cstdint>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
