#pragma once

#include <cstdint>

#include "kernels/aligned_vector.h"

namespace spatialmamba::kernels {

/// Channels that stand together in a ChannelBlocks: the widest vector of floats, one cache line.
inline constexpr std::int64_t kBlockChannels = 16;

/// K numbers for each of C channels, [C / 16][K][16]: the numbers of a vector of channels lie side by side,
/// whereas in [K][C] with C a power of two they would all fall into one set of the first-level cache.
struct ChannelBlocks {
  std::int64_t numbers = 0;  ///< K
  AlignedVector<float> values;

  ChannelBlocks() = default;
  /// From value(k, c).
  template <typename Value>
  ChannelBlocks(std::int64_t k_count, std::int64_t channels, const Value& value) : numbers(k_count) {
    const std::int64_t blocks = (channels + kBlockChannels - 1) / kBlockChannels;
    values.assign(static_cast<std::size_t>(blocks * numbers * kBlockChannels), 0.0F);
    for (std::int64_t k = 0; k < numbers; ++k) {
      for (std::int64_t c = 0; c < channels; ++c) *at(k, c) = value(k, c);
    }
  }

  /// Number k of channel c; that of channel c + 1 follows while they are in one block, number k + 1 stands
  /// kBlockChannels further on.
  const float* at(std::int64_t k, std::int64_t c) const { return values.data() + index(k, c); }
  float* at(std::int64_t k, std::int64_t c) { return values.data() + index(k, c); }

 private:
  std::int64_t index(std::int64_t k, std::int64_t c) const {
    return ((c / kBlockChannels) * numbers + k) * kBlockChannels + c % kBlockChannels;
  }
};

}  // namespace spatialmamba::kernels
