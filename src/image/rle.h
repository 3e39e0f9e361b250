#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "image/image.h"

namespace spatialmamba::image {

/// A binary mask as COCO stores it: lengths of runs of zeros and ones in turns, zeros first, down the columns
/// (pixel (x, y) has the position x * height + y).
struct Rle {
  std::uint32_t height = 0;
  std::uint32_t width = 0;
  std::vector<std::uint32_t> counts;

  bool operator==(const Rle&) const = default;
};

/// A rectangle in COCO's notation: left, top, width, height.
struct XywhBox {
  double x = 0.0;
  double y = 0.0;
  double w = 0.0;
  double h = 0.0;

  bool operator==(const XywhBox&) const = default;
};

/// mask [height][width], zero or not, row by row.
Rle encode_mask(std::span<const std::uint8_t> mask, std::uint32_t height, std::uint32_t width);
/// The same for a mask of the rectangle `part` of a picture; everything outside is zero.
Rle encode_part(std::span<const std::uint8_t> mask, const Rect& part, std::uint32_t height,
                std::uint32_t width);
/// 0 and 1, row by row. Throws Error when the runs do not add up to height x width.
std::vector<std::uint8_t> decode_mask(const Rle& rle);

/// COCO's text: each run as the difference to the one but one before it, in digits of five bits.
std::string rle_to_text(const Rle& rle);
/// Throws Error for a character that is no digit, a text that ends within a number, a negative run, and runs
/// that do not add up to height x width.
Rle rle_from_text(std::string_view text, std::uint32_t height, std::uint32_t width);
/// Throws Error when the runs do not add up to height x width.
void require_complete(const Rle& rle);

/// Calls `body` with the place y * width + x of each pixel that is set, down the columns.
template <typename Body>
void for_each_pixel(const Rle& rle, const Body& body) {
  std::size_t position = 0;
  for (std::size_t i = 0; i < rle.counts.size(); ++i) {
    const std::size_t end = position + rle.counts[i];
    for (; i % 2 == 1 && position < end; ++position) {
      body(position % rle.height * rle.width + position / rle.height);
    }
    position = end;
  }
}

/// Pixels that are set.
std::uint64_t area(const Rle& rle);
/// The smallest rectangle around them; all zero for none. As pycocotools computes it: a run of ones that
/// spans columns makes it as high as the picture.
XywhBox bounding_box(const Rle& rle);

enum class Merge { unite, intersect };
/// Throws Error for masks of different sizes.
Rle merge(std::span<const Rle> masks, Merge how);

/// Intersection over union; over the area of `mask` alone when `other` is a crowd. -1 for masks of different
/// sizes.
double mask_iou(const Rle& mask, const Rle& other, bool crowd);
double box_iou(const XywhBox& box, const XywhBox& other, bool crowd);

/// The pixels inside a polygon x0, y0, x1, y1, ..., by COCO's rule: the outline is followed on a grid five
/// times as fine, and a pixel belongs to the inside when its centre column crosses it there.
Rle rasterize_polygon(std::span<const double> points, std::uint32_t height, std::uint32_t width);
/// The rectangle as a polygon.
Rle rasterize_box(const XywhBox& box, std::uint32_t height, std::uint32_t width);

}  // namespace spatialmamba::image
