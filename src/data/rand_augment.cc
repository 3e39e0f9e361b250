#include "data/rand_augment.h"

#include <algorithm>
#include <vector>

#include "base/error.h"
#include "image/adjust.h"
#include "image/affine.h"

namespace spatialmamba::data {
namespace {

using image::Affine;
using image::Image;

constexpr double kMaxMagnitude = 10.0;

// The orders of these operations decide the last bit: they are timm's.
double signed_share(double magnitude, double largest, bool negate) {
  const double level = magnitude / kMaxMagnitude * largest;
  return negate ? -level : level;
}

int whole_share(double magnitude, int largest) {
  return static_cast<int>(magnitude / kMaxMagnitude * largest);
}

double degrees(double magnitude, bool negate) {
  return signed_share(magnitude, 30.0, negate);
}
double shear(double magnitude, bool negate) {
  return signed_share(magnitude, 0.3, negate);
}
double shift(double magnitude, bool negate) {
  return signed_share(magnitude, 0.45, negate);
}
double factor(double magnitude, bool negate) {
  return 1.0 + signed_share(magnitude, 0.9, negate);
}
double kept_bits(double magnitude, bool) {
  return 4 - whole_share(magnitude, 4);
}
double threshold(double magnitude, bool) {
  return 256 - whole_share(magnitude, 256);
}
double addition(double magnitude, bool) {
  return whole_share(magnitude, 110);
}

void move(Image& picture, const Affine& affine, const Filling& filling) {
  picture = image::transform(picture, affine, filling.filter, filling.colour);
}

template <void (*kChange)(Image&)>
void plain(Image& picture, double, const Filling&) {
  kChange(picture);
}
template <void (*kChange)(Image&, int)>
void with_integer(Image& picture, double argument, const Filling&) {
  kChange(picture, static_cast<int>(argument));
}
template <void (*kChange)(Image&, float)>
void with_factor(Image& picture, double argument, const Filling&) {
  kChange(picture, static_cast<float>(argument));
}

void rotate(Image& picture, double argument, const Filling& filling) {
  move(picture, image::rotation(argument, picture.width, picture.height), filling);
}
void shear_x(Image& picture, double argument, const Filling& filling) {
  move(picture, {.xy = argument}, filling);
}
void shear_y(Image& picture, double argument, const Filling& filling) {
  move(picture, {.yx = argument}, filling);
}
void translate_x(Image& picture, double argument, const Filling& filling) {
  move(picture, {.x0 = argument * picture.width}, filling);
}
void translate_y(Image& picture, double argument, const Filling& filling) {
  move(picture, {.y0 = argument * picture.height}, filling);
}

constexpr AugmentOperation kOperations[] = {
    {"AutoContrast", nullptr, plain<image::auto_contrast>},
    {"Equalize", nullptr, plain<image::equalize>},
    {"Invert", nullptr, plain<image::invert>},
    {"Rotate", degrees, rotate},
    {"PosterizeIncreasing", kept_bits, with_integer<image::posterize>},
    {"SolarizeIncreasing", threshold, with_integer<image::solarize>},
    {"SolarizeAdd", addition, with_integer<image::solarize_add>},
    {"ColorIncreasing", factor, with_factor<image::adjust_saturation>},
    {"ContrastIncreasing", factor, with_factor<image::adjust_contrast>},
    {"BrightnessIncreasing", factor, with_factor<image::adjust_brightness>},
    {"SharpnessIncreasing", factor, with_factor<image::adjust_sharpness>},
    {"ShearX", shear, shear_x},
    {"ShearY", shear, shear_y},
    {"TranslateXRel", shift, translate_x},
    {"TranslateYRel", shift, translate_y},
};

void apply_one(const AugmentOperation& operation, const RandAugment& augment, const Filling& filling,
               Random& random, Image& picture) {
  if (!random.chance(augment.probability)) return;
  const double drawn = augment.magnitude + augment.deviation * random.normal();
  const double magnitude = std::clamp(drawn, 0.0, kMaxMagnitude);
  const bool negate = random.chance(0.5);
  operation.apply(picture, operation.argument == nullptr ? 0.0 : operation.argument(magnitude, negate),
                  filling);
}

}  // namespace

std::span<const AugmentOperation> augment_operations() {
  return kOperations;
}

void validate(const RandAugment& augment) {
  if (augment.layers < 0) fail_usage("{} layers of RandAugment: expected 0 or more", augment.layers);
  if (!(augment.magnitude >= 0.0 && augment.magnitude <= kMaxMagnitude)) {
    fail_usage("magnitude {} of RandAugment: expected 0 to {}", augment.magnitude, kMaxMagnitude);
  }
  if (!(augment.deviation >= 0.0)) {
    fail_usage("deviation {} of RandAugment's magnitude: expected 0 or more", augment.deviation);
  }
  if (!(augment.probability >= 0.0 && augment.probability <= 1.0)) {
    fail_usage("probability {} of RandAugment: expected 0 to 1", augment.probability);
  }
}

void apply(const RandAugment& augment, const Filling& filling, Random& random, Image& picture) {
  std::vector<const AugmentOperation*> chosen;
  for (int layer = 0; layer < augment.layers; ++layer) {
    chosen.push_back(&kOperations[random.below(std::ssize(kOperations))]);
  }
  for (const AugmentOperation* operation : chosen) apply_one(*operation, augment, filling, random, picture);
}

}  // namespace spatialmamba::data
