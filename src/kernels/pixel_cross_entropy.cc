#include "kernels/pixel_cross_entropy.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <utility>
#include <vector>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/pixel_cross_entropy.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/aligned_vector.h"
#include "kernels/dispatch.h"
#include "kernels/partial_sums.h"
#include "kernels/resize_map.h"
#include "kernels/vector_math-inl.h"

#ifndef SPATIALMAMBA_KERNELS_PIXEL_CROSS_ENTROPY_SHARED
#define SPATIALMAMBA_KERNELS_PIXEL_CROSS_ENTROPY_SHARED
namespace spatialmamba::kernels {
namespace {

/// Where the rows and columns of the labels lie between those of the scores.
template <typename T>
struct Grid {
  std::vector<Neighbours<T>> rows;
  std::vector<Neighbours<T>> columns;
};

/// Rows of the scores that one thread takes, of one image.
template <typename T>
struct Band {
  const T* scores = nullptr;             ///< of the image
  const std::int64_t* labels = nullptr;  ///< of the image
  T* gradient = nullptr;                 ///< of the image, or nullptr
  T* below = nullptr;                    ///< [width, classes]: the share of the row after the last
  RowRange rows;
};

}  // namespace
}  // namespace spatialmamba::kernels
#endif

HWY_BEFORE_NAMESPACE();
namespace spatialmamba::kernels::HWY_NAMESPACE {
namespace {

/// The logarithm of a product of numbers of at least 1, with one call for many of them.
class LogSum {
 public:
  void add(double factor) {
    product_ *= factor;
    if (product_ > kLarge) flush();
  }
  /// What has come so far; starts anew.
  double take() {
    flush();
    return std::exchange(sum_, 0.0);
  }

 private:
  static constexpr double kLarge = 1e200;  // far from overflow for sums of exponentials of any length

  void flush() {
    sum_ += std::log(product_);
    product_ = 1.0;
  }

  double product_ = 1.0;
  double sum_ = 0.0;
};

/// Goes through the labels' rows between two rows of scores after the other. Rows of scores are held padded
/// to whole vectors, with classes that have no probability.
template <typename T>
class BandPass {
 public:
  BandPass(const PixelScores<T>& input, const Grid<T>& grid)
      : input_(input),
        grid_(grid),
        padded_(
            static_cast<std::int64_t>(hwy::RoundUpTo(static_cast<std::size_t>(input.classes), hn::Lanes(d)))),
        above_(row_values(), kNever),
        below_(row_values(), kNever),
        mixed_(row_values()),
        above_gradient_(row_values()),
        below_gradient_(row_values()),
        mixed_gradient_(row_values()),
        exponentials_(static_cast<std::size_t>(padded_)) {}

  PixelCrossEntropy run(const Band<T>& band) {
    result_ = {};
    std::fill(above_gradient_.begin(), above_gradient_.end(), T{0});
    const auto starts_before = [](const Neighbours<T>& y, std::int64_t row) { return y.first < row; };
    auto y = std::lower_bound(grid_.rows.begin(), grid_.rows.end(), band.rows.begin, starts_before);
    load(band, band.rows.begin, below_);
    for (std::int64_t row = band.rows.begin; row < band.rows.end; ++row) {
      std::swap(above_, below_);
      load(band, std::min(row + 1, input_.height - 1), below_);
      for (; y != grid_.rows.end() && y->first == row; ++y) pass_row(band, y - grid_.rows.begin());
      if (band.gradient != nullptr) finish_row(band, row);
    }
    if (band.gradient != nullptr) store(above_gradient_, band.below);
    result_.sum += logs_.take();
    return result_;
  }

 private:
  static constexpr hn::ScalableTag<T> d{};
  static constexpr T kNever = static_cast<T>(-1e30);  // finite: 0 times infinity is none

  std::size_t row_values() const { return static_cast<std::size_t>(input_.width * padded_); }

  void load(const Band<T>& band, std::int64_t row, AlignedVector<T>& to) const {
    const T* from = band.scores + row * input_.width * input_.classes;
    for (std::int64_t x = 0; x < input_.width; ++x) {
      std::copy_n(from + x * input_.classes, input_.classes, to.data() + x * padded_);
    }
  }

  void store(const AlignedVector<T>& from, T* to) const {
    for (std::int64_t x = 0; x < input_.width; ++x) {
      std::copy_n(from.data() + x * padded_, input_.classes, to + x * input_.classes);
    }
  }

  /// The gradient of a row is complete when the rows of labels above and below it have been passed.
  void finish_row(const Band<T>& band, std::int64_t row) {
    if (row == input_.height - 1) add_scaled(below_gradient_, T{1}, above_gradient_);
    store(above_gradient_, band.gradient + row * input_.width * input_.classes);
    std::swap(above_gradient_, below_gradient_);
    std::fill(below_gradient_.begin(), below_gradient_.end(), T{0});
  }

  void add_scaled(const AlignedVector<T>& from, T factor, AlignedVector<T>& to) const {
    for (std::size_t i = 0; i < to.size(); i += hn::Lanes(d)) {
      const auto sum =
          hn::MulAdd(hn::Set(d, factor), hn::Load(d, from.data() + i), hn::Load(d, to.data() + i));
      hn::Store(sum, d, to.data() + i);
    }
  }

  void pass_row(const Band<T>& band, std::int64_t y) {
    const T share = grid_.rows[static_cast<std::size_t>(y)].share;
    const auto lower = hn::Set(d, share);
    const auto upper = hn::Set(d, 1 - share);
    for (std::size_t i = 0; i < mixed_.size(); i += hn::Lanes(d)) {
      const auto value =
          hn::MulAdd(lower, hn::Load(d, below_.data() + i), hn::Mul(upper, hn::Load(d, above_.data() + i)));
      hn::Store(value, d, mixed_.data() + i);
    }
    if (band.gradient != nullptr) std::fill(mixed_gradient_.begin(), mixed_gradient_.end(), T{0});
    const std::int64_t* labels = band.labels + y * input_.label_width;
    for (std::int64_t x = 0; x < input_.label_width; ++x) {
      if (labels[x] != input_.unknown) {
        pass_pixel(grid_.columns[static_cast<std::size_t>(x)], labels[x], band.gradient != nullptr);
      }
    }
    if (band.gradient == nullptr) return;
    add_scaled(mixed_gradient_, 1 - share, above_gradient_);
    add_scaled(mixed_gradient_, share, below_gradient_);
  }

  /// The scores at x go to exponentials_; returns the highest.
  HWY_INLINE T interpolate(const Neighbours<T>& x) {
    const T* left = mixed_.data() + x.first * padded_;
    const T* right = mixed_.data() + x.second * padded_;
    const auto share = hn::Set(d, x.share);
    const auto rest = hn::Set(d, 1 - x.share);
    auto highest = hn::Set(d, std::numeric_limits<T>::lowest());
    for (std::int64_t c = 0; c < padded_; c += static_cast<std::int64_t>(hn::Lanes(d))) {
      const auto value = hn::MulAdd(share, hn::Load(d, right + c), hn::Mul(rest, hn::Load(d, left + c)));
      highest = hn::Max(highest, value);
      hn::Store(value, d, exponentials_.data() + c);
    }
    return hn::GetLane(hn::MaxOfLanes(d, highest));
  }

  HWY_INLINE std::int64_t first_equal(T value) const {
    for (std::int64_t c = 0; c < padded_; c += static_cast<std::int64_t>(hn::Lanes(d))) {
      const auto equal = hn::Eq(hn::Load(d, exponentials_.data() + c), hn::Set(d, value));
      const std::intptr_t lane = hn::FindFirstTrue(d, equal);
      if (lane >= 0) return c + lane;
    }
    return -1;  // NaN
  }

  HWY_INLINE T exponentiate(T highest) {
    auto sum = hn::Zero(d);
    for (std::int64_t c = 0; c < padded_; c += static_cast<std::int64_t>(hn::Lanes(d))) {
      const auto value = hn::Load(d, exponentials_.data() + c);
      const auto e = exp_normal(d, hn::Sub(value, hn::Set(d, highest)));
      sum = hn::Add(sum, e);
      hn::Store(e, d, exponentials_.data() + c);
    }
    return hn::GetLane(hn::SumOfLanes(d, sum));
  }

  HWY_INLINE void pass_pixel(const Neighbours<T>& x, std::int64_t label, bool with_gradient) {
    const T highest = interpolate(x);
    if (first_equal(highest) == label) ++result_.right;
    ++result_.known;
    result_.sum +=
        static_cast<double>(highest) - static_cast<double>(exponentials_[static_cast<std::size_t>(label)]);
    const T sum = exponentiate(highest);
    logs_.add(static_cast<double>(sum));
    if (!with_gradient) return;
    add_probabilities(x.first, (1 - x.share) / sum);
    add_probabilities(x.second, x.share / sum);
    mixed_gradient_[static_cast<std::size_t>(x.first * padded_ + label)] -= 1 - x.share;
    mixed_gradient_[static_cast<std::size_t>(x.second * padded_ + label)] -= x.share;
  }

  HWY_INLINE void add_probabilities(std::int64_t column, T factor) {
    T* to = mixed_gradient_.data() + column * padded_;
    for (std::int64_t c = 0; c < padded_; c += static_cast<std::int64_t>(hn::Lanes(d))) {
      const auto value =
          hn::MulAdd(hn::Load(d, exponentials_.data() + c), hn::Set(d, factor), hn::Load(d, to + c));
      hn::Store(value, d, to + c);
    }
  }

  const PixelScores<T>& input_;
  const Grid<T>& grid_;
  std::int64_t padded_;
  AlignedVector<T> above_;  ///< rows of scores
  AlignedVector<T> below_;
  AlignedVector<T> mixed_;  ///< a row between them
  AlignedVector<T> above_gradient_;
  AlignedVector<T> below_gradient_;
  AlignedVector<T> mixed_gradient_;
  AlignedVector<T> exponentials_;  ///< of one pixel
  LogSum logs_;
  PixelCrossEntropy result_;
};

template <typename T>
void pass_bands(const PixelScores<T>& input, const Grid<T>& grid, std::span<const Band<T>> bands,
                std::span<PixelCrossEntropy> results) {
  BandPass<T> pass(input, grid);
  for (std::size_t i = 0; i < bands.size(); ++i) results[i] = pass.run(bands[i]);
}

}  // namespace
}  // namespace spatialmamba::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace spatialmamba::kernels {
namespace {

constexpr std::int64_t kBandRows = 16;

template <typename T>
std::vector<Neighbours<T>> all_neighbours(std::int64_t size, std::int64_t out_size) {
  std::vector<Neighbours<T>> result;
  for (std::int64_t i = 0; i < out_size; ++i) result.push_back(neighbours_of<T>(i, size, out_size));
  return result;
}

/// Bands of each image one after another; `below` holds a row of gradients for each.
template <typename T>
std::vector<Band<T>> bands_of(const PixelScores<T>& input, T* gradient, AlignedVector<T>& below) {
  const std::int64_t row_values = input.width * input.classes;
  std::vector<Band<T>> bands;
  for (std::int64_t n = 0; n < input.images; ++n) {
    const std::int64_t first = n * input.height * row_values;
    for (std::int64_t row = 0; row < input.height; row += kBandRows) {
      bands.push_back({.scores = input.scores + first,
                       .labels = input.labels + n * input.label_height * input.label_width,
                       .gradient = gradient == nullptr ? nullptr : gradient + first,
                       .rows = {row, std::min(row + kBandRows, input.height)}});
    }
  }
  if (gradient == nullptr) return bands;
  below.resize(bands.size() * static_cast<std::size_t>(row_values));
  for (std::size_t i = 0; i < bands.size(); ++i) {
    bands[i].below = below.data() + static_cast<std::int64_t>(i) * row_values;
  }
  return bands;
}

/// The row after a band is the first of the next one.
template <typename T>
void add_rows_below(const PixelScores<T>& input, const std::vector<Band<T>>& bands) {
  const std::int64_t row_values = input.width * input.classes;
  for (const Band<T>& band : bands) {
    if (band.rows.end == input.height) continue;
    T* to = band.gradient + band.rows.end * row_values;
    for (std::int64_t i = 0; i < row_values; ++i) to[i] += band.below[i];
  }
}

}  // namespace

template <typename T>
PixelCrossEntropy pixel_cross_entropy(const PixelScores<T>& input, T* gradient, Isa isa,
                                      const ParallelFor& parallel) {
  const Grid<T> grid{all_neighbours<T>(input.height, input.label_height),
                     all_neighbours<T>(input.width, input.label_width)};
  AlignedVector<T> below;
  const std::vector<Band<T>> bands = bands_of(input, gradient, below);
  std::vector<PixelCrossEntropy> results(bands.size());
  const auto pass = SPATIALMAMBA_CHOOSE(isa, pass_bands<T>);
  parallel(std::ssize(bands), 1, [&](std::int64_t begin, std::int64_t end) {
    const auto first = static_cast<std::size_t>(begin);
    const auto count = static_cast<std::size_t>(end - begin);
    pass(input, grid, std::span(bands).subspan(first, count), std::span(results).subspan(first, count));
  });
  if (gradient != nullptr) add_rows_below(input, bands);
  PixelCrossEntropy total;
  for (const PixelCrossEntropy& result : results) {
    total.sum += result.sum;
    total.known += result.known;
    total.right += result.right;
  }
  return total;
}

template PixelCrossEntropy pixel_cross_entropy(const PixelScores<float>&, float*, Isa, const ParallelFor&);
template PixelCrossEntropy pixel_cross_entropy(const PixelScores<double>&, double*, Isa, const ParallelFor&);

}  // namespace spatialmamba::kernels
#endif
