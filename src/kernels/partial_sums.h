#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/aligned_vector.h"

namespace spatialmamba::kernels {

/// A range of rows.
struct RowRange {
  std::int64_t begin = 0;
  std::int64_t end = 0;
};

/// Rows cut into chunks whose borders depend on the shape alone: sums over rows are made per chunk and then
/// added in the order of the chunks, so that they are the same, bit for bit, for every number of threads.
class RowChunks {
 public:
  RowChunks(std::int64_t rows, std::int64_t least, std::int64_t most_chunks) : rows_(rows) {
    const std::int64_t wanted =
        std::clamp<std::int64_t>(rows / std::max<std::int64_t>(least, 1), 1, most_chunks);
    length_ = std::max<std::int64_t>((rows + wanted - 1) / wanted, 1);
    count_ = std::max<std::int64_t>((rows + length_ - 1) / length_, 1);
  }
  std::int64_t count() const { return count_; }
  RowRange operator[](std::int64_t chunk) const {
    return {std::min(chunk * length_, rows_), std::min((chunk + 1) * length_, rows_)};
  }

 private:
  std::int64_t rows_;
  std::int64_t length_ = 1;
  std::int64_t count_ = 1;
};

/// One zeroed array of `width` numbers for each chunk, and their sum.
template <typename T>
class PartialSums {
 public:
  PartialSums(std::int64_t chunks, std::int64_t width)
      : chunks_(chunks), width_(width), values_(static_cast<std::size_t>(chunks * width)) {}

  T* operator[](std::int64_t chunk) { return values_.data() + chunk * width_; }

  /// Writes the sums of the elements [begin, begin + n) of every chunk.
  void sum_to(std::int64_t begin, std::int64_t n, T* sums) const {
    std::copy_n(values_.data() + begin, n, sums);
    for (std::int64_t chunk = 1; chunk < chunks_; ++chunk) {
      const T* part = values_.data() + chunk * width_ + begin;
      for (std::int64_t i = 0; i < n; ++i) sums[i] += part[i];
    }
  }

 private:
  std::int64_t chunks_;
  std::int64_t width_;
  AlignedVector<T> values_;
};

/// The number of items that are worth handing to a thread, when one takes about `cost` elementary steps.
inline std::int64_t grain_for(std::int64_t cost) {
  constexpr std::int64_t kWorthwhile = 16384;
  return std::max<std::int64_t>(1, kWorthwhile / std::max<std::int64_t>(cost, 1));
}

}  // namespace spatialmamba::kernels
