#include <algorithm>
#include <limits>

#include "base/error.h"
#include "classifier/card_parts.h"
#include "image/codec.h"
#include "spatialmamba/image.h"

namespace spatialmamba {
namespace {

int as_int(std::int64_t value, const char* what) {
  if (value < 1 || value > std::numeric_limits<int>::max()) {
    fail_usage("an input cannot have a {} of {}", what, value);
  }
  return static_cast<int>(value);
}

image::Image copy_of(const PixelView& view) {
  constexpr std::int64_t kMostSide = std::int64_t{1} << 20;
  if (view.data == nullptr || view.height < 1 || view.width < 1 || view.height > kMostSide ||
      view.width > kMostSide || (view.channels != 1 && view.channels != 3)) {
    fail("a picture of {} x {} pixels of {} channels was given, expected 1 or 3 channels and sides up to {}",
         view.height, view.width, view.channels, kMostSide);
  }
  image::Image picture(static_cast<int>(view.width), static_cast<int>(view.height),
                       static_cast<int>(view.channels));
  const auto bytes = static_cast<std::int64_t>(picture.row_bytes());
  const std::int64_t stride = view.row_bytes == 0 ? bytes : view.row_bytes;
  if (stride < bytes) fail("a picture's rows of {} bytes cannot be {} bytes apart", bytes, stride);
  for (int y = 0; y < picture.height; ++y) std::copy_n(view.data + y * stride, bytes, picture.row(y));
  return picture;
}

image::DecodeOptions decoding(const InputTransform& transform) {
  return {.channels = as_int(transform.channels, "number of channels"), .apply_orientation = true};
}

}  // namespace

image::EvalTransform eval_transform(const InputTransform& transform) {
  image::EvalTransform eval{.format = {.height = as_int(transform.height, "height"),
                                       .width = as_int(transform.width, "width"),
                                       .channels = as_int(transform.channels, "number of channels"),
                                       .mean = transform.mean,
                                       .std = transform.std},
                            .crop = transform.crop,
                            .filter = image::filter_from_name(transform.interpolation)};
  image::validate(eval.format);
  return eval;
}

std::vector<float> make_input(const PixelView& picture, const InputTransform& transform) {
  const image::EvalTransform eval = eval_transform(transform);
  return image::eval_input(image::with_channels(copy_of(picture), eval.format.channels), eval);
}

std::vector<float> read_input(const std::filesystem::path& file, const InputTransform& transform) {
  const image::EvalTransform eval = eval_transform(transform);
  return image::eval_input(image::read_image(file, decoding(transform)), eval);
}

std::vector<float> decode_input(std::span<const std::byte> file, const std::string& name,
                                const InputTransform& transform) {
  const image::EvalTransform eval = eval_transform(transform);
  return image::eval_input(image::decode(file, name, decoding(transform)), eval);
}

}  // namespace spatialmamba
