#include "data/augment.h"

#include <array>
#include <cstring>
#include <utility>
#include <vector>

#include "base/error.h"
#include "image/adjust.h"

namespace spatialmamba::data {
namespace {

using image::Image;

void require_range(const char* what, double low, double high, double at_least) {
  if (!(low <= high && low > at_least))
    fail_usage("{}: [{}, {}] is not a range above {}", what, low, high, at_least);
}

void require_probability(const char* what, double value) {
  if (!(value >= 0.0 && value <= 1.0)) fail_usage("{} {}: expected a probability in [0, 1]", what, value);
}

/// The picture moved by (dx, dy), black where nothing comes in: a crop of the padded picture.
Image shifted(const Image& picture, int dx, int dy) {
  Image out(picture.width, picture.height, picture.channels);
  const int columns = picture.width - std::abs(dx);
  if (columns <= 0) return out;
  const auto channels = static_cast<std::size_t>(picture.channels);
  const std::size_t from = static_cast<std::size_t>(std::max(0, -dx)) * channels;
  const std::size_t to = static_cast<std::size_t>(std::max(0, dx)) * channels;
  for (int y = std::max(0, dy); y < std::min(picture.height, picture.height + dy); ++y) {
    std::memcpy(out.row(y) + to, picture.row(y - dy) + from, static_cast<std::size_t>(columns) * channels);
  }
  return out;
}

Image padded_crop(const TrainTransform& transform, const Image& picture, Random& random) {
  const image::InputFormat& format = transform.format;
  const int range = 2 * transform.padding + 1;
  const int dy = static_cast<int>(random.below(range)) - transform.padding;
  const int dx = static_cast<int>(random.below(range)) - transform.padding;
  if (picture.width == format.width && picture.height == format.height) return shifted(picture, dx, dy);
  return shifted(image::resize(picture, format.width, format.height, transform.filter), dx, dy);
}

Image cut_out(const TrainTransform& transform, const Image& picture, Random& random) {
  if (transform.crop == CropMode::padded) return padded_crop(transform, picture, random);
  const image::Rect box = draw_resized_crop(picture.width, picture.height, transform.resized_crop, random);
  return image::resize(picture, box, transform.format.width, transform.format.height, transform.filter);
}

/// What comes from outside of a moved picture: the mean, as timm rounds it.
Filling filling_of(const TrainTransform& transform) {
  Filling filling{.filter = transform.filter};
  std::ranges::transform(transform.format.mean, filling.colour.begin(), [](float mean) {
    return static_cast<std::uint8_t>(std::clamp(std::nearbyint(255.0 * mean), 0.0, 255.0));
  });
  return filling;
}

void jitter_colour(const ColorJitter& jitter, Image& picture, Random& random) {
  struct Step {
    double strength;
    void (*adjust)(Image&, float);
  };
  std::array<Step, 3> steps = {{{jitter.brightness, image::adjust_brightness},
                                {jitter.contrast, image::adjust_contrast},
                                {jitter.saturation, image::adjust_saturation}}};
  random.shuffle(std::span<Step>(steps));
  for (const Step& step : steps) {
    if (step.strength <= 0.0) continue;
    step.adjust(picture,
                static_cast<float>(random.uniform(std::max(0.0, 1.0 - step.strength), 1.0 + step.strength)));
  }
}

void fill_with_noise(std::span<float> values, Random& random) {
  for (std::size_t i = 0; i < values.size(); i += 2) {
    const auto [first, second] = random.normal_pair();
    values[i] = static_cast<float>(first);
    if (i + 1 < values.size()) values[i + 1] = static_cast<float>(second);
  }
}

void erase_randomly(const RandomErasing& erasing, const image::InputFormat& format, Random& random,
                    std::span<float> out) {
  constexpr int kTries = 10;
  if (erasing.probability <= 0.0 || !random.chance(erasing.probability)) return;
  const double area = static_cast<double>(format.height) * format.width;
  for (int attempt = 0; attempt < kTries; ++attempt) {
    const double target = random.uniform(erasing.min_area, erasing.max_area) * area;
    const double ratio = std::exp(random.uniform(std::log(erasing.min_ratio), std::log(erasing.max_ratio)));
    const auto h = static_cast<std::int64_t>(std::nearbyint(std::sqrt(target * ratio)));
    const auto w = static_cast<std::int64_t>(std::nearbyint(std::sqrt(target / ratio)));
    if (w >= format.width || h >= format.height) continue;
    const std::int64_t top = random.below(format.height - h + 1);
    const std::int64_t left = random.below(format.width - w + 1);
    for (std::int64_t y = top; y < top + h; ++y) {
      const std::int64_t first = (y * format.width + left) * format.channels;
      fill_with_noise(
          out.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(w * format.channels)),
          random);
    }
    return;
  }
}

}  // namespace

void validate(const TrainTransform& transform) {
  image::validate(transform.format);
  const RandomResizedCrop& crop = transform.resized_crop;
  require_range("area of random crops", crop.min_area, crop.max_area, 0.0);
  require_range("aspect ratio of random crops", crop.min_ratio, crop.max_ratio, 0.0);
  if (transform.padding < 0) fail_usage("padding {}: expected 0 or more pixels", transform.padding);
  require_probability("flip probability", transform.flip_probability);
  const ColorJitter& jitter = transform.color_jitter;
  for (const double strength : {jitter.brightness, jitter.contrast, jitter.saturation}) {
    if (!(strength >= 0.0)) fail_usage("colour jitter {}: expected 0 or more", strength);
    if (strength > 0.0 && transform.rand_augment.layers > 0) {
      fail_usage("colour jitter {} beside RandAugment, which takes its place: expected 0", strength);
    }
  }
  validate(transform.rand_augment);
  require_probability("probability of random erasing", transform.erasing.probability);
  require_range("area of random erasing", transform.erasing.min_area, transform.erasing.max_area, 0.0);
  require_range("aspect ratio of random erasing", transform.erasing.min_ratio, transform.erasing.max_ratio,
                0.0);
}

void apply(const TrainTransform& transform, const Image& picture, Random& random, std::span<float> out) {
  Image sample = image::with_channels(cut_out(transform, picture, random), transform.format.channels);
  if (random.chance(transform.flip_probability)) sample = image::flip_horizontal(sample);
  if (transform.rand_augment.layers > 0) {
    apply(transform.rand_augment, filling_of(transform), random, sample);
  } else {
    jitter_colour(transform.color_jitter, sample, random);
  }
  image::normalize(sample, transform.format, out);
  erase_randomly(transform.erasing, transform.format, random, out);
}

}  // namespace spatialmamba::data
