#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/random.h"
#include "image/image.h"
#include "image/resize.h"

namespace spatialmamba::data {

/// timm's RandAugment with the operations that grow stronger with the magnitude ("inc1"): for each of
/// `layers` layers one operation, each as likely as the others, is applied with `probability`, its magnitude
/// drawn from a normal distribution and cut off to [0, 10]. `rand-m9-mstd0.5-inc1` is {.layers = 2}; 0 layers
/// switch it off.
struct RandAugment {
  int layers = 0;
  double magnitude = 9.0;
  double deviation = 0.5;
  double probability = 0.5;
};

/// How operations that move the picture fill it in.
struct Filling {
  image::Filter filter = image::Filter::bicubic;
  std::array<std::uint8_t, 3> colour = {124, 116, 104};
};

struct AugmentOperation {
  std::string_view name;  ///< timm's
  /// From a magnitude in [0, 10] and the choice of the sign to what apply() takes; null where it takes
  /// nothing.
  double (*argument)(double magnitude, bool negate);
  void (*apply)(image::Image& picture, double argument, const Filling& filling);
};

/// The operations to choose from, in timm's order.
std::span<const AugmentOperation> augment_operations();

/// Throws UsageError for values that mean nothing.
void validate(const RandAugment& augment);

/// Draws the operations first, then for each one whether to apply it, its magnitude and its sign.
void apply(const RandAugment& augment, const Filling& filling, Random& random, image::Image& picture);

}  // namespace spatialmamba::data
