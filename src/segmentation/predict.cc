#include "segmentation/predict.h"

#include <algorithm>
#include <array>
#include <map>
#include <utility>

#include "base/error.h"
#include "image/opencv_resize.h"

namespace spatialmamba::segmentation {
namespace {

constexpr int kLargestSide = 1 << 16;
constexpr std::int64_t kStripWindows = 8;  // that begin in a strip, of one row

/// Where the windows begin along one axis.
std::vector<std::int64_t> starts(std::int64_t length, const Window& window) {
  std::vector<std::int64_t> result;
  const std::int64_t last = std::max<std::int64_t>(length - window.size, 0);
  for (std::int64_t at = 0; at < last; at += window.stride) result.push_back(at);
  result.push_back(last);
  return result;
}

class Slider {
 public:
  Slider(Crop crop, std::int64_t height, const Columns& shown, const Window& window, Network network)
      : crop_(std::move(crop)),
        network_(std::move(network)),
        rows_(starts(height, window)),
        columns_(starts(shown.width, window)),
        high_(std::min<std::int64_t>(window.size, height)),
        wide_(std::min<std::int64_t>(window.size, shown.width)),
        shown_(shown),
        across_(static_cast<std::size_t>(shown.count())) {
    std::erase_if(columns_,
                  [&](std::int64_t left) { return left >= shown.end || left + wide_ <= shown.begin; });
    for (const std::int64_t left : columns_) {
      const Columns part = shown_part(left);
      for (std::int64_t x = part.begin; x < part.end; ++x) {
        across_[static_cast<std::size_t>(x - shown.begin)] += 1.0F;
      }
    }
    classes_ = windows_at(0).front().classes;
  }

  std::int64_t classes() const { return classes_; }

  void read(std::int64_t y, std::span<float> out) {
    std::erase_if(open_, [&](const auto& entry) { return entry.first + high_ <= y; });
    std::fill(out.begin(), out.end(), 0.0F);
    float down = 0.0F;
    for (const std::int64_t top : rows_) {
      if (top > y || top + high_ <= y) continue;
      down += 1.0F;
      add_windows(top, y, out);
    }
    for (std::size_t x = 0; x < across_.size(); ++x) {
      const float count = down * across_[x];
      for (std::int64_t c = 0; c < classes_; ++c) {
        out[x * static_cast<std::size_t>(classes_) + static_cast<std::size_t>(c)] /= count;
      }
    }
  }

 private:
  /// The columns of a window that are asked for.
  Columns shown_part(std::int64_t left) const {
    return {std::max(left, shown_.begin), std::min(left + wide_, shown_.end), shown_.width};
  }

  /// The scores of all windows that begin in row `top`, at the windows' size.
  std::vector<ScoreRows>& windows_at(std::int64_t top) {
    std::vector<ScoreRows>& windows = open_[top];
    for (std::size_t i = windows.size(); i < columns_.size(); ++i) {
      const image::Rect part{static_cast<int>(columns_[i]), static_cast<int>(top), static_cast<int>(wide_),
                             static_cast<int>(high_)};
      auto map = std::make_shared<const ScoreMap>(network_(crop_(part)));
      windows.push_back(resized(rows_of(std::move(map)), high_, wide_));
    }
    return windows;
  }

  void add_windows(std::int64_t top, std::int64_t y, std::span<float> out) {
    std::vector<ScoreRows>& windows = windows_at(top);
    buffer_.resize(static_cast<std::size_t>(wide_ * classes_));
    for (std::size_t i = 0; i < windows.size(); ++i) {
      windows[i].read(y - top, buffer_);
      const Columns part = shown_part(columns_[i]);
      const float* from = buffer_.data() + (part.begin - columns_[i]) * classes_;
      float* to = out.data() + (part.begin - shown_.begin) * classes_;
      for (std::int64_t k = 0; k < part.count() * classes_; ++k) to[k] += from[k];
    }
  }

  Crop crop_;
  Network network_;
  std::vector<std::int64_t> rows_;
  std::vector<std::int64_t> columns_;
  std::int64_t high_;
  std::int64_t wide_;
  Columns shown_;
  std::vector<float> across_;  ///< windows over each of those columns
  std::int64_t classes_ = 0;
  std::map<std::int64_t, std::vector<ScoreRows>> open_;  ///< rows of windows under way, by their top
  std::vector<float> buffer_;
};

/// A picture as the network sees it.
struct Shown {
  std::shared_ptr<const image::Image> picture;
  bool mirror = false;
};

NetworkInput input_of(const Shown& shown, const image::Rect& part, const image::InputFormat& format) {
  if (!shown.mirror) return normalised(*shown.picture, part, format);
  NetworkInput input =
      normalised(*shown.picture,
                 {shown.picture->width - part.left - part.width, part.top, part.width, part.height}, format);
  for (std::int64_t y = 0; y < input.height; ++y) {
    const auto row = input.values.begin() + 3 * y * input.width;
    for (std::int64_t left = 0, right = input.width - 1; left < right; ++left, --right) {
      std::swap_ranges(row + 3 * left, row + 3 * (left + 1), row + 3 * right);
    }
  }
  return input;
}

Columns mirrored(const Columns& columns) {
  return {columns.width - columns.end, columns.width - columns.begin, columns.width};
}

/// Scores of one view in some columns of the picture, which is `height` high.
ScoreRows view(const Shown& shown, std::int64_t height, const Columns& columns, const PredictOptions& options,
               const Network& network) {
  const image::Image& picture = *shown.picture;
  const Columns under = columns_under(columns, picture.width);
  const auto crop = [shown, format = options.format](const image::Rect& part) {
    return input_of(shown, part, format);
  };
  ScoreRows scores;
  Columns held = all_columns(picture.width);
  if (options.window) {
    held = under;
    scores = slide(crop, picture.height, shown.mirror ? mirrored(under) : under, *options.window, network);
  } else {
    auto map = std::make_shared<const ScoreMap>(network(crop(image::bounds(picture))));
    scores = resized(rows_of(std::move(map)), picture.height, picture.width);
  }
  if (shown.mirror) scores = mirrored(std::move(scores));
  return resized(std::move(scores), held, height, columns);
}

image::Image resized_for(const image::Image& picture, double ratio, const PredictOptions& options) {
  if (options.long_side == 0) {
    return image::resize_bilinear_opencv(picture, std::max(1, static_cast<int>(picture.width * ratio + 0.5)),
                                         std::max(1, static_cast<int>(picture.height * ratio + 0.5)));
  }
  const image::PixelSize size =
      image::fitted_size(picture.width, picture.height, static_cast<int>(options.long_side * ratio),
                         static_cast<int>(options.short_side * ratio));
  return image::resize_bilinear_opencv(picture, size.width, size.height);
}

/// A picture that is shown as it is is not copied.
std::shared_ptr<const image::Image> shown_at(const image::Image& picture, double ratio,
                                             const PredictOptions& options) {
  if (options.long_side == 0 && ratio == 1.0) return {std::shared_ptr<const image::Image>(), &picture};
  return std::make_shared<const image::Image>(resized_for(picture, ratio, options));
}

/// Each scale, and its mirror image where that is asked for.
std::vector<Shown> views_of(const image::Image& picture, const PredictOptions& options) {
  std::vector<Shown> result;
  for (const double ratio : options.ratios) {
    result.push_back({shown_at(picture, ratio, options), false});
    if (options.flip) result.push_back({result.back().picture, true});
  }
  return result;
}

ScoreRows scores_of(const std::vector<Shown>& views, std::int64_t height, const Columns& columns,
                    const PredictOptions& options, const Network& network) {
  std::vector<ScoreRows> scores;
  for (const Shown& shown : views) scores.push_back(view(shown, height, columns, options, network));
  return scores.size() == 1 ? scores.front() : mean_softmax(std::move(scores));
}

/// The columns of a picture that lie under so many windows that begin one after another, where most do.
std::int64_t strip_width(const image::Image& picture, const std::vector<Shown>& views, const Window& window) {
  int widest = 1;
  for (const Shown& shown : views) widest = std::max(widest, shown.picture->width);
  return std::max<std::int64_t>(1, kStripWindows * window.stride * picture.width / widest);
}

/// The labels of a picture over which windows slide.
image::Image slide_in_strips(const image::Image& picture, const PredictOptions& options,
                             const Network& network) {
  const std::vector<Shown> views = views_of(picture, options);
  const std::int64_t step = strip_width(picture, views, *options.window);
  image::Image labels(picture.width, picture.height, 1);
  for (std::int64_t begin = 0; begin < picture.width; begin += step) {
    const Columns columns{begin, std::min<std::int64_t>(begin + step, picture.width), picture.width};
    const image::Image strip = best_classes(scores_of(views, picture.height, columns, options, network));
    for (int y = 0; y < strip.height; ++y) {
      std::copy_n(strip.row(y), strip.row_bytes(), labels.row(y) + begin);
    }
  }
  return labels;
}

/// The labels of a picture that is shown once and as a whole.
image::Image label_whole(const image::Image& picture, const PredictOptions& options, const Network& network,
                         const ParallelFor& parallel) {
  const auto shown = shown_at(picture, options.ratios.front(), options);
  const NetworkInput input = normalised(*shown, image::bounds(*shown), options.format);
  const auto map = std::make_shared<const ScoreMap>(network(input));
  return best_classes(
      [&] {
        return resized(resized(rows_of(map), input.height, input.width), picture.height, picture.width);
      },
      parallel);
}

bool is_shown_once(const PredictOptions& options) {
  return !options.window && !options.flip && options.ratios.size() == 1;
}

}  // namespace

PredictOptions augmented(PredictOptions options) {
  options.ratios = {0.75, 1.0, 1.25};
  options.flip = true;
  return options;
}

void validate(const PredictOptions& options) {
  if (options.long_side < 0 || options.short_side < 0 || options.long_side > kLargestSide ||
      options.short_side > kLargestSide || (options.long_side == 0) != (options.short_side == 0)) {
    fail_usage("pictures cannot be fitted into {} x {} pixels; expected 1 to {}, or 0 for both",
               options.long_side, options.short_side, kLargestSide);
  }
  if (options.ratios.empty()) fail_usage("no scale to predict at");
  for (const double ratio : options.ratios) {
    if (!(ratio > 0.0 && ratio <= 16.0)) fail_usage("the scale {} is not above 0 and at most 16", ratio);
  }
  if (options.window && (options.window->size < 1 || options.window->stride < 1 ||
                         options.window->stride > options.window->size)) {
    fail_usage("a window of {} pixels cannot move by {}; expected 1 to its size", options.window->size,
               options.window->stride);
  }
}

NetworkInput normalised(const image::Image& picture, const image::Rect& part,
                        const image::InputFormat& format) {
  image::require_inside(picture, part);
  std::array<float, 3> mean{};
  std::array<float, 3> deviation{};
  for (std::size_t c = 0; c < 3; ++c) {
    mean[c] = static_cast<float>(255.0 * static_cast<double>(format.mean[c]));
    deviation[c] = static_cast<float>(255.0 * static_cast<double>(format.std[c]));
  }
  NetworkInput input{part.height, part.width, {}};
  input.values.reserve(static_cast<std::size_t>(part.height) * static_cast<std::size_t>(part.width) * 3);
  for (int y = part.top; y < part.top + part.height; ++y) {
    const std::uint8_t* row = picture.row(y) + 3 * static_cast<std::ptrdiff_t>(part.left);
    for (int i = 0; i < 3 * part.width; ++i) {
      const auto c = static_cast<std::size_t>(i % 3);
      input.values.push_back((static_cast<float>(row[i]) - mean[c]) / deviation[c]);
    }
  }
  return input;
}

ScoreRows slide(const Crop& crop, std::int64_t height, std::int64_t width, const Window& window,
                const Network& network) {
  return slide(crop, height, all_columns(width), window, network);
}

ScoreRows slide(const Crop& crop, std::int64_t height, const Columns& columns, const Window& window,
                const Network& network) {
  auto slider = std::make_shared<Slider>(crop, height, columns, window, network);
  return {height, columns.count(), slider->classes(),
          [slider](std::int64_t y, std::span<float> out) { slider->read(y, out); }};
}

ScoreRows predict_scores(const image::Image& picture, const PredictOptions& options, const Network& network) {
  validate(options);
  return scores_of(views_of(picture, options), picture.height, all_columns(picture.width), options, network);
}

image::Image predict_labels(const image::Image& picture, const PredictOptions& options,
                            const Network& network, const ParallelFor& parallel) {
  validate(options);
  if (is_shown_once(options)) return label_whole(picture, options, network, parallel);
  if (options.window) return slide_in_strips(picture, options, network);
  return best_classes(predict_scores(picture, options, network));
}

}  // namespace spatialmamba::segmentation
