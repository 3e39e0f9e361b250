#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/random.h"

namespace spatialmamba::data {

/// timm's Mixup in "batch" mode: one draw for the whole batch, whose partner is the batch reversed.
struct MixupConfig {
  double mixup_alpha = 0.8;         ///< lam ~ Beta(alpha, alpha); 0 switches mixup off
  double cutmix_alpha = 1.0;        ///< 0 switches cutmix off
  double probability = 1.0;         ///< of mixing a batch at all
  double switch_probability = 0.5;  ///< of cutmix where both are on
};

/// One drawn mixture. lam is the share of a sample itself, 1 - lam that of its partner. For cutmix the rows
/// [top, bottom) and columns [left, right) come from the partner, and lam is what remains outside of that
/// box.
struct Mixture {
  bool cutmix = false;
  double lam = 1.0;
  std::int64_t top = 0;
  std::int64_t bottom = 0;
  std::int64_t left = 0;
  std::int64_t right = 0;
};

/// Throws UsageError for values that mean nothing.
void validate(const MixupConfig& config);

/// Draws in timm's order: mix at all, which kind, lam, the box's centre.
Mixture draw_mixture(const MixupConfig& config, std::int64_t height, std::int64_t width, Random& random);

/// The cutmix of a box with area 1 - lam around (centre_y, centre_x), clipped to the picture; lam is
/// corrected.
Mixture cutmix_box(double lam, std::int64_t centre_y, std::int64_t centre_x, std::int64_t height,
                   std::int64_t width);

/// A batch's dimensions and strides, in elements; either layout.
struct BatchLayout {
  std::int64_t n = 0;
  std::int64_t h = 0;
  std::int64_t w = 0;
  std::int64_t c = 0;
  bool channels_last = true;
};

/// Mixes in place; T is float or double. In an odd batch the middle sample is its own partner.
template <typename T>
void mix_images(std::span<T> images, const BatchLayout& layout, const Mixture& mixture);

/// n x classes: on = 1 - smoothing + smoothing / classes, off = smoothing / classes, mixed with the reversed
/// batch by lam (1 for no mixing). Throws Error for a label outside [0, classes).
template <typename T>
std::vector<T> soft_targets(std::span<const std::int64_t> labels, std::int64_t classes, double smoothing,
                            double lam);

}  // namespace spatialmamba::data
