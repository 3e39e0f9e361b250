#include "engine/patches.h"

#include <algorithm>

#include "engine/network.h"

namespace spatialmamba::engine {
namespace {

using kernels::PackedLinear;
using kernels::PackedRows;

/// Pixels of one row of the output, and where their patches go.
struct RowPart {
  const float* image;
  std::int64_t oy;
  RowRange columns;
  std::int64_t packed_row;  // of the first one
};

/// One pixel's row of the kernel, column by column, at a border of the image.
void pack_border(const PackedLinear& layer, const ConvInput& in, const float* row, std::int64_t ox,
                 std::int64_t packed_row, std::int64_t k, PackedRows packed) {
  for (std::int64_t kx = 0; kx < 3; ++kx) {
    const std::int64_t x = ox * in.stride + kx - 1;
    const std::int64_t at = k + kx * in.channels;
    if (x < 0 || x >= in.width) {
      layer.clear(1, packed_row, at, in.channels, packed);
    } else {
      layer.pack(row + x * in.channels, 0, 1, packed_row, at, in.channels, packed);
    }
  }
}

void pack_row_part(const PackedLinear& layer, const ConvInput& in, const RowPart& part, PackedRows packed) {
  const std::int64_t c = in.channels;
  // Outputs whose three columns lie inside: there a row of the patch is contiguous.
  const std::int64_t inner_end =
      in.width < 2 ? 0 : std::min((in.width - 2) / in.stride + 1, part.columns.end);
  const std::int64_t inner_begin =
      std::min(std::max<std::int64_t>(part.columns.begin, 1), std::max(inner_end, part.columns.begin));
  for (std::int64_t ky = 0; ky < 3; ++ky) {
    const std::int64_t y = part.oy * in.stride + ky - 1;
    const std::int64_t k = ky * 3 * c;
    if (y < 0 || y >= in.height) {
      layer.clear(part.columns.end - part.columns.begin, part.packed_row, k, 3 * c, packed);
      continue;
    }
    const float* row = part.image + y * in.width * c;
    const auto packed_at = [&](std::int64_t ox) { return part.packed_row + ox - part.columns.begin; };
    for (std::int64_t ox = part.columns.begin; ox < inner_begin; ++ox) {
      pack_border(layer, in, row, ox, packed_at(ox), k, packed);
    }
    if (inner_begin < inner_end) {
      layer.pack(row + (inner_begin * in.stride - 1) * c, in.stride * c, inner_end - inner_begin,
                 packed_at(inner_begin), k, 3 * c, packed);
    }
    for (std::int64_t ox = std::max(inner_begin, inner_end); ox < part.columns.end; ++ox) {
      pack_border(layer, in, row, ox, packed_at(ox), k, packed);
    }
  }
}

}  // namespace

void pack_patches(const PackedLinear& layer, const ConvInput& in, RowRange pixels, PackedRows packed) {
  const std::int64_t out_width = in.out_width();
  const std::int64_t out_height = in.out_height();
  for (std::int64_t pixel = pixels.begin; pixel < pixels.end;) {
    const std::int64_t column = pixel % out_width;
    const std::int64_t count = std::min(out_width - column, pixels.end - pixel);
    const std::int64_t image = pixel / (out_width * out_height);
    pack_row_part(layer, in,
                  {.image = in.x + image * in.height * in.width * in.channels,
                   .oy = pixel / out_width % out_height,
                   .columns = {column, column + count},
                   .packed_row = pixel - pixels.begin},
                  packed);
    pixel += count;
  }
}

void copy_images(const ImageBatch& images, std::int64_t channels, float* to, const ParallelFor& parallel) {
  const std::int64_t padded = stem_padded(channels);
  const std::int64_t pixels = images.height * images.width;
  const bool planar = images.layout == ImageBatch::Layout::nchw;
  const std::int64_t pixel_step = planar ? 1 : channels;
  const std::int64_t channel_step = planar ? pixels : 1;
  constexpr std::int64_t kLeastRows = 8;
  parallel(images.count * images.height, kLeastRows, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      const float* from = images.data + row / images.height * channels * pixels +
                          row % images.height * images.width * pixel_step;
      float* out = to + row * images.width * padded;
      // Channel by channel, which the compiler makes vectors of.
      for (std::int64_t c = 0; c < padded; ++c) {
        if (c < channels) {
          for (std::int64_t x = 0; x < images.width; ++x) {
            out[x * padded + c] = from[x * pixel_step + c * channel_step];
          }
        } else {
          for (std::int64_t x = 0; x < images.width; ++x) out[x * padded + c] = 0.0F;
        }
      }
    }
  });
}

}  // namespace spatialmamba::engine
