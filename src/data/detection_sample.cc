#include "data/detection_sample.h"

#include <algorithm>

#include "base/error.h"
#include "image/opencv_resize.h"

namespace spatialmamba::data {
namespace {

detection::Extent extent_of(const image::Image& picture) {
  return {picture.height, picture.width};
}

std::int64_t draw_index(const std::vector<int>& choices, const DrawInteger& draw) {
  return draw(0, std::ssize(choices));
}

DetectionPicture fit_randomly(const DetectionPicture& sample, int long_side,
                              const std::vector<int>& short_sides, const DrawInteger& draw) {
  const int short_side = short_sides.size() == 1
                             ? short_sides.front()
                             : short_sides[static_cast<std::size_t>(draw_index(short_sides, draw))];
  return fit(sample, long_side, short_side);
}

/// The height is drawn first; the same order holds for the corner.
DetectionPicture crop_randomly(const DetectionTransform& transform, const DetectionPicture& sample,
                               const DrawInteger& draw) {
  const auto side = [&](int length) {
    return static_cast<int>(
        draw(std::min(length, transform.crop_low), std::min(length, transform.crop_high) + 1));
  };
  image::Rect part;
  part.height = side(sample.picture.height);
  part.width = side(sample.picture.width);
  part.top = static_cast<int>(draw(0, sample.picture.height - part.height + 1));
  part.left = static_cast<int>(draw(0, sample.picture.width - part.width + 1));
  return crop(sample, part);
}

bool draw_coin(const DrawInteger& draw) {
  return draw(0, 2) == 1;
}

}  // namespace

DetectionPicture resize(const DetectionPicture& sample, int width, int height) {
  const auto sx = static_cast<float>(static_cast<double>(width) / sample.picture.width);
  const auto sy = static_cast<float>(static_cast<double>(height) / sample.picture.height);
  DetectionPicture out{image::resize_bilinear_opencv(sample.picture, width, height), {}};
  for (const LabelledObject& object : sample.objects) {
    const detection::Box& box = object.box;
    const detection::Box scaled{box.x1 * sx, box.y1 * sy, box.x2 * sx, box.y2 * sy};
    out.objects.push_back({detection::clipped(scaled, extent_of(out.picture)), object.label, object.ignored,
                           image::resize_nearest_opencv(object.mask, width, height)});
  }
  return out;
}

DetectionPicture fit(const DetectionPicture& sample, int long_side, int short_side) {
  const image::PixelSize size =
      image::fitted_size(sample.picture.width, sample.picture.height, long_side, short_side);
  return resize(sample, size.width, size.height);
}

DetectionPicture flip(DetectionPicture sample) {
  const auto width = static_cast<float>(sample.picture.width);
  sample.picture = image::flip_horizontal(sample.picture);
  for (LabelledObject& object : sample.objects) {
    object.box = {width - object.box.x2, object.box.y1, width - object.box.x1, object.box.y2};
    object.mask = image::flip_horizontal(object.mask);
  }
  return sample;
}

DetectionPicture crop(const DetectionPicture& sample, const image::Rect& part) {
  DetectionPicture out{image::crop(sample.picture, part), {}};
  const auto dx = static_cast<float>(part.left);
  const auto dy = static_cast<float>(part.top);
  for (const LabelledObject& object : sample.objects) {
    const detection::Box& box = object.box;
    const detection::Box moved =
        detection::clipped({box.x1 - dx, box.y1 - dy, box.x2 - dx, box.y2 - dy}, extent_of(out.picture));
    const bool inside = moved.x1 < static_cast<float>(part.width) && moved.x2 > 0 &&
                        moved.y1 < static_cast<float>(part.height) && moved.y2 > 0;
    if (inside) out.objects.push_back({moved, object.label, object.ignored, image::crop(object.mask, part)});
  }
  return out;
}

DetectionTransform multi_scale_transform() {
  DetectionTransform transform;
  transform.short_sides = {480, 512, 544, 576, 608, 640, 672, 704, 736, 768, 800};
  transform.crop_short_sides = {400, 500, 600};
  return transform;
}

void validate(const DetectionTransform& transform) {
  const auto positive = [](int side) { return side > 0; };
  if (transform.short_sides.empty() || !std::ranges::all_of(transform.short_sides, positive) ||
      !std::ranges::all_of(transform.crop_short_sides, positive) || transform.long_side < 1) {
    fail_usage("the sides that pictures are fitted to must be positive");
  }
  if (transform.crop_low < 1 || transform.crop_high < transform.crop_low) {
    fail_usage("crops of {} to {} pixels a side mean nothing", transform.crop_low, transform.crop_high);
  }
}

DetectionPicture apply(const DetectionTransform& transform, const DetectionPicture& sample,
                       const DrawInteger& draw) {
  const auto flipped = [&](DetectionPicture picture) {
    return transform.random_flip && draw_coin(draw) ? flip(std::move(picture)) : picture;
  };
  if (transform.crop_short_sides.empty()) {
    return flipped(fit_randomly(sample, transform.long_side, transform.short_sides, draw));
  }
  DetectionPicture out = flipped(sample);
  if (draw_coin(draw)) {
    out = fit_randomly(out, transform.long_side, transform.crop_short_sides, draw);
    out = crop_randomly(transform, out, draw);
  }
  return fit_randomly(out, transform.long_side, transform.short_sides, draw);
}

}  // namespace spatialmamba::data
