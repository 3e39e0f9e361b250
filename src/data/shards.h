#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace spatialmamba::data {

/// An epoch over shards that are read from front to back: the shards in random order, their samples (numbered
/// from shard to shard) through a buffer of `buffer` samples, of which a random one leaves for each that
/// enters. Every sample comes exactly once; the order depends on (seed, epoch) alone.
struct StreamOrder {
  std::vector<std::int64_t> samples;
  /// replacement[i]: the sample that enters the buffer when i leaves, so what to read ahead; -1 at the end.
  std::vector<std::int64_t> replacement;
};

StreamOrder stream_order(std::span<const std::int64_t> shard_sizes, std::int64_t buffer, std::uint64_t seed,
                         std::int64_t epoch);

}  // namespace spatialmamba::data
