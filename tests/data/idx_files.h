#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <zlib.h>

#include "base/file.h"

namespace spatialmamba::test {

/// An IDX file of bytes with these dimensions.
inline std::string idx_bytes(const std::vector<std::uint32_t>& dimensions, const std::string& values) {
  std::string out = {0, 0, 8, static_cast<char>(dimensions.size())};
  for (const std::uint32_t size : dimensions) {
    for (const unsigned shift : {24U, 16U, 8U, 0U}) out += static_cast<char>(size >> shift & 0xFFU);
  }
  return out + values;
}

inline void write_gzip(const std::filesystem::path& path, const std::string& content) {
  gzFile file = gzopen(path.c_str(), "wb");
  gzwrite(file, content.data(), static_cast<unsigned>(content.size()));
  gzclose_w(file);
}

/// A small data set in Fashion-MNIST's files: picture i is filled with i, its label is i % 10.
inline void write_small_fashion_mnist(const std::filesystem::path& folder, const std::string& part,
                                      std::uint32_t count, std::uint32_t side) {
  std::string pixels;
  std::string labels;
  for (std::uint32_t i = 0; i < count; ++i) {
    pixels.append(side * side, static_cast<char>(i));
    labels += static_cast<char>(i % 10);
  }
  write_gzip(folder / (part + "-images-idx3-ubyte.gz"), idx_bytes({count, side, side}, pixels));
  write_gzip(folder / (part + "-labels-idx1-ubyte.gz"), idx_bytes({count}, labels));
}

}  // namespace spatialmamba::test
