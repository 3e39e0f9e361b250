#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <vector>

namespace spatialmamba::data {

/// An array of bytes from a file of MNIST's IDX format.
struct IdxArray {
  std::vector<std::int64_t> dimensions;
  std::vector<std::uint8_t> values;  ///< row-major
};

/// Reads an IDX file of unsigned bytes with `rank` dimensions, gzipped or not. Throws Error naming the file
/// when it is anything else, truncated, or longer than its header says.
IdxArray read_idx(const std::filesystem::path& path, std::size_t rank);

}  // namespace spatialmamba::data
