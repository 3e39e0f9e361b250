#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/partial_sums.h"

namespace spatialmamba::kernels {

/// Tokens whose time steps are formed together.
inline constexpr std::int64_t kScanTile = 8;
/// Channels that one item takes at most, so that a tile stays in the first-level cache.
inline constexpr std::int64_t kScanMostChannels = 512;

/// A piece of a scan: some channels of one image over some of its tokens.
struct ScanItem {
  std::int64_t image;
  std::int64_t block;  ///< which of the channel blocks
  std::int64_t chunk;  ///< which of the pieces of the sequence
  RowRange channels;
  RowRange tokens;
};

/// How a scan is spread over threads: images x channel blocks, and only when these are too few, pieces of the
/// sequence, which cost a second pass over the recurrence.
class ScanPartition {
 public:
  ScanPartition(std::int64_t images, std::int64_t length, std::int64_t channels, int threads)
      : images_(images), length_(length), channels_(channels) {
    constexpr std::int64_t kLeastChannels = 32;
    constexpr std::int64_t kLeastTokens = 64;
    const std::int64_t wanted = threads > 1 ? 2 * std::int64_t{threads} : 1;
    const std::int64_t blocks_wanted = (wanted + images - 1) / std::max<std::int64_t>(images, 1);
    const std::int64_t width = (channels + blocks_wanted - 1) / std::max<std::int64_t>(blocks_wanted, 1);
    // Whole vectors of every instruction set.
    width_ = std::clamp((width + kLeastChannels - 1) / kLeastChannels * kLeastChannels, kLeastChannels,
                        kScanMostChannels);
    blocks_ = std::max<std::int64_t>((channels + width_ - 1) / width_, 1);
    const std::int64_t items = std::max<std::int64_t>(images * blocks_, 1);
    chunks_ = items >= threads ? 1 : (threads + items - 1) / items;
    chunks_ = std::clamp<std::int64_t>(length / kLeastTokens, 1, chunks_);
    chunk_length_ = (length + chunks_ - 1) / chunks_;
  }

  std::int64_t count() const { return images_ * chunks_ * blocks_; }
  std::int64_t blocks() const { return blocks_; }
  std::int64_t chunks() const { return chunks_; }

  ScanItem operator[](std::int64_t i) const {
    const std::int64_t block = i % blocks_;
    const std::int64_t chunk = i / blocks_ % chunks_;
    return {i / blocks_ / chunks_,
            block,
            chunk,
            {block * width_, std::min((block + 1) * width_, channels_)},
            {std::min(chunk * chunk_length_, length_), std::min((chunk + 1) * chunk_length_, length_)}};
  }

 private:
  std::int64_t images_;
  std::int64_t length_;
  std::int64_t channels_;
  std::int64_t width_;
  std::int64_t blocks_;
  std::int64_t chunks_;
  std::int64_t chunk_length_;
};

}  // namespace spatialmamba::kernels
