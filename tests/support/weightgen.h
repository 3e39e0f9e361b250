#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "spatialmamba/tensor.h"

namespace spatialmamba::test {

/// The deterministic generator of weights and inputs that golden data of full-size models is made with
/// (described in the README of the golden classification folder): a splitmix64 stream per tensor name.
std::uint64_t fnv1a64(std::string_view text);

/// n values offset + scale * v, v in [-1, 1).
std::vector<float> generate(std::string_view name, std::uint64_t seed, std::int64_t n, double offset,
                            double scale);

/// The tensor of that state-dict name and shape; int64 zero for num_batches_tracked.
Tensor generate_weight(const std::string& name, const Shape& shape, std::uint64_t seed);

/// An input stream: offset 0, scale 2.
std::vector<float> generate_input(std::string_view name, std::uint64_t seed, std::int64_t n);

}  // namespace spatialmamba::test
