#include "data/mixup.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/error.h"

namespace spatialmamba::data {
namespace {

/// Where one sample's runs of consecutive values begin: rows of the box, or the whole sample at once.
struct Runs {
  std::int64_t outer = 1;
  std::int64_t outer_stride = 0;
  std::int64_t inner = 1;
  std::int64_t inner_stride = 0;
  std::int64_t offset = 0;
  std::int64_t length = 0;
};

Runs whole_sample(const BatchLayout& layout) {
  return {.length = layout.h * layout.w * layout.c};
}

Runs box_rows(const BatchLayout& layout, const Mixture& box) {
  const std::int64_t rows = box.bottom - box.top;
  const std::int64_t columns = box.right - box.left;
  const std::int64_t pixel = layout.channels_last ? layout.c : 1;
  const std::int64_t row_stride = layout.w * pixel;
  return {.outer = layout.channels_last ? 1 : layout.c,
          .outer_stride = layout.channels_last ? 0 : layout.h * layout.w,
          .inner = rows,
          .inner_stride = row_stride,
          .offset = box.top * row_stride + box.left * pixel,
          .length = columns * pixel};
}

/// Calls combine(value of sample i, value of its partner) for all pairs; each pair is met once.
template <typename T, typename Combine>
void for_pairs(T* images, const BatchLayout& layout, const Runs& runs, const Combine& combine) {
  const std::int64_t sample = layout.h * layout.w * layout.c;
  for (std::int64_t i = 0; i < layout.n / 2; ++i) {
    T* first = images + i * sample + runs.offset;
    T* second = images + (layout.n - 1 - i) * sample + runs.offset;
    for (std::int64_t outer = 0; outer < runs.outer; ++outer) {
      for (std::int64_t inner = 0; inner < runs.inner; ++inner) {
        const std::int64_t start = outer * runs.outer_stride + inner * runs.inner_stride;
        for (std::int64_t k = start; k < start + runs.length; ++k) combine(first[k], second[k]);
      }
    }
  }
}

void require_box(const BatchLayout& layout, const Mixture& box) {
  const bool inside = 0 <= box.top && box.top <= box.bottom && box.bottom <= layout.h && 0 <= box.left &&
                      box.left <= box.right && box.right <= layout.w;
  if (!inside) {
    fail("cutmix box rows [{}, {}) columns [{}, {}) does not lie inside {} x {}", box.top, box.bottom,
         box.left, box.right, layout.h, layout.w);
  }
}

}  // namespace

void validate(const MixupConfig& config) {
  if (!(config.mixup_alpha >= 0.0 && config.cutmix_alpha >= 0.0)) {
    fail_usage("mixup alpha {} and cutmix alpha {}: expected 0 or more", config.mixup_alpha,
               config.cutmix_alpha);
  }
  for (const double probability : {config.probability, config.switch_probability}) {
    if (!(probability >= 0.0 && probability <= 1.0)) {
      fail_usage("mixup probability {}: expected a value in [0, 1]", probability);
    }
  }
}

Mixture draw_mixture(const MixupConfig& config, std::int64_t height, std::int64_t width, Random& random) {
  const bool mixup = config.mixup_alpha > 0.0;
  const bool cutmix = config.cutmix_alpha > 0.0;
  if (!(mixup || cutmix) || !random.chance(config.probability)) return {};
  if (!cutmix || (mixup && !random.chance(config.switch_probability))) {
    return {.lam = random.beta(config.mixup_alpha, config.mixup_alpha)};
  }
  const double lam = random.beta(config.cutmix_alpha, config.cutmix_alpha);
  const std::int64_t centre_y = random.below(height);
  const std::int64_t centre_x = random.below(width);
  return cutmix_box(lam, centre_y, centre_x, height, width);
}

Mixture cutmix_box(double lam, std::int64_t centre_y, std::int64_t centre_x, std::int64_t height,
                   std::int64_t width) {
  const double ratio = std::sqrt(1.0 - lam);
  const auto half_h = static_cast<std::int64_t>(static_cast<double>(height) * ratio) / 2;
  const auto half_w = static_cast<std::int64_t>(static_cast<double>(width) * ratio) / 2;
  Mixture mixture{.cutmix = true,
                  .top = std::clamp<std::int64_t>(centre_y - half_h, 0, height),
                  .bottom = std::clamp<std::int64_t>(centre_y + half_h, 0, height),
                  .left = std::clamp<std::int64_t>(centre_x - half_w, 0, width),
                  .right = std::clamp<std::int64_t>(centre_x + half_w, 0, width)};
  const auto area = static_cast<double>((mixture.bottom - mixture.top) * (mixture.right - mixture.left));
  mixture.lam = 1.0 - area / static_cast<double>(height * width);
  return mixture;
}

template <typename T>
void mix_images(std::span<T> images, const BatchLayout& layout, const Mixture& mixture) {
  if (static_cast<std::int64_t>(images.size()) != layout.n * layout.h * layout.w * layout.c) {
    fail("batch of {} values given as {} x {} x {} x {}", images.size(), layout.n, layout.h, layout.w,
         layout.c);
  }
  if (mixture.cutmix) {
    require_box(layout, mixture);
    for_pairs(images.data(), layout, box_rows(layout, mixture), [](T& a, T& b) { std::swap(a, b); });
  } else if (mixture.lam != 1.0) {
    const T own = static_cast<T>(mixture.lam);
    const T other = static_cast<T>(1.0 - mixture.lam);
    for_pairs(images.data(), layout, whole_sample(layout), [own, other](T& a, T& b) {
      const T mixed = a * own + b * other;
      b = b * own + a * other;
      a = mixed;
    });
  }
}

template <typename T>
std::vector<T> soft_targets(std::span<const std::int64_t> labels, std::int64_t classes, double smoothing,
                            double lam) {
  const double off = smoothing / static_cast<double>(classes);
  const double on = 1.0 - smoothing + off;
  const std::size_t n = labels.size();
  std::vector<T> targets(n * static_cast<std::size_t>(classes));
  for (std::size_t i = 0; i < n; ++i) {
    const std::int64_t own = labels[i];
    const std::int64_t other = labels[n - 1 - i];
    if (own < 0 || own >= classes) fail("label {} of sample {}: expected one of {} classes", own, i, classes);
    for (std::int64_t c = 0; c < classes; ++c) {
      const double value = (c == own ? on : off) * lam + (c == other ? on : off) * (1.0 - lam);
      targets[i * static_cast<std::size_t>(classes) + static_cast<std::size_t>(c)] = static_cast<T>(value);
    }
  }
  return targets;
}

template void mix_images(std::span<float>, const BatchLayout&, const Mixture&);
template void mix_images(std::span<double>, const BatchLayout&, const Mixture&);
template std::vector<float> soft_targets(std::span<const std::int64_t>, std::int64_t, double, double);
template std::vector<double> soft_targets(std::span<const std::int64_t>, std::int64_t, double, double);

}  // namespace spatialmamba::data
