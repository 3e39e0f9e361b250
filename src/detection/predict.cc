#include "detection/predict.h"

#include <algorithm>
#include <cmath>
#include <span>

#include "base/error.h"
#include "image/opencv_resize.h"
#include "kernels/nms.h"
#include "spatialmamba/detector.h"

namespace spatialmamba::detection {
namespace {

constexpr std::size_t kMaskValues = kMaskSize * kMaskSize;
constexpr float kCovered = 0.5F;  ///< share of a piece inside a larger box that makes it a piece of the same

/// A detection on its way from a tile to the picture.
struct Found {
  Box box;  ///< in pixels of the picture
  std::int64_t label = 0;
  float score = 0.0F;
  std::vector<float> mask;
  std::size_t tile = 0;
  bool cut = false;  ///< ends at a border of its tile that is not one of the picture
};

std::int64_t padded(std::int64_t side) {
  return (side + kImageMultiple - 1) / kImageMultiple * kImageMultiple;
}

/// Where tiles begin along a side: evenly spread, overlapping by at least `overlap`.
std::vector<int> tile_starts(int length, const Tiles& tiles) {
  if (length <= tiles.size) return {0};
  const int step = tiles.size - tiles.overlap;
  const int count = (length - tiles.overlap + step - 1) / step;
  std::vector<int> starts;
  for (int i = 0; i < count; ++i) {
    starts.push_back(static_cast<int>(static_cast<std::int64_t>(length - tiles.size) * i / (count - 1)));
  }
  return starts;
}

std::vector<image::Rect> parts_of(const image::Image& picture, const PredictOptions& options) {
  if (!options.tiles) return {image::bounds(picture)};
  std::vector<image::Rect> parts;
  for (const int top : tile_starts(picture.height, *options.tiles)) {
    for (const int left : tile_starts(picture.width, *options.tiles)) {
      parts.push_back({left, top, std::min(options.tiles->size, picture.width),
                       std::min(options.tiles->size, picture.height)});
    }
  }
  return parts;
}

bool is_cut(const Box& box, const image::Rect& part, const image::Image& picture) {
  constexpr float kNear = 1.0F;
  const auto left = static_cast<float>(part.left);
  const auto top = static_cast<float>(part.top);
  const auto right = static_cast<float>(part.left + part.width);
  const auto bottom = static_cast<float>(part.top + part.height);
  return (part.left > 0 && box.x1 < left + kNear) || (part.top > 0 && box.y1 < top + kNear) ||
         (part.left + part.width < picture.width && box.x2 > right - kNear) ||
         (part.top + part.height < picture.height && box.y2 > bottom - kNear);
}

/// Everything in one part of the picture; returns how many the limit left out.
std::int64_t find_in_part(const image::Image& picture, const image::Rect& part, std::size_t tile,
                          const PredictOptions& options, const Network& network, std::vector<Found>& out) {
  const image::PixelSize size =
      image::fitted_size(part.width, part.height, options.long_side, options.short_side);
  const bool whole = part == image::bounds(picture);
  const image::Image fitted =
      image::resize_bilinear_opencv(whole ? picture : image::crop(picture, part), size.width, size.height);
  const NetworkAnswer answer =
      network(network_input(fitted, options.format), options.proposals, options.detections);
  const auto sx = static_cast<float>(static_cast<double>(size.width) / part.width);
  const auto sy = static_cast<float>(static_cast<double>(size.height) / part.height);
  const auto dx = static_cast<float>(part.left);
  const auto dy = static_cast<float>(part.top);
  for (std::size_t i = 0; i < answer.found.boxes.size(); ++i) {
    const Box& box = answer.found.boxes[i];
    Found& found = out.emplace_back();
    found.box = {box.x1 / sx + dx, box.y1 / sy + dy, box.x2 / sx + dx, box.y2 / sy + dy};
    found.label = answer.found.labels[i];
    found.score = answer.found.scores[i];
    const auto mask = std::span(answer.masks).subspan(i * kMaskValues, kMaskValues);
    found.mask.assign(mask.begin(), mask.end());
    found.tile = tile;
    found.cut = is_cut(found.box, part, picture);
  }
  return answer.found.candidates - answer.found.size();
}

float area(const Box& box) {
  return (box.x2 - box.x1) * (box.y2 - box.y1);
}

/// One of each object that several tiles show, best first.
std::vector<Found> merge_tiles(const std::vector<Found>& all, const PredictOptions& options,
                               kernels::Isa isa) {
  std::vector<Box> boxes;
  std::vector<float> scores;
  std::vector<std::int64_t> labels;
  for (const Found& found : all) {
    const bool piece = found.cut && std::ranges::any_of(all, [&](const Found& other) {
                         return other.tile != found.tile && other.label == found.label &&
                                area(other.box) > area(found.box) &&
                                overlap_of_first(found.box, other.box) > kCovered;
                       });
    boxes.push_back(piece ? Box{} : found.box);
    scores.push_back(piece ? 0.0F : found.score);
    labels.push_back(found.label);
  }
  std::vector<Found> kept;
  for (const std::int64_t row :
       kernels::nms(coordinates(boxes), scores, labels, {.threshold = options.detections.nms}, isa)) {
    const auto i = static_cast<std::size_t>(row);
    if (scores[i] > 0.0F) kept.push_back(all[i]);
  }
  return kept;
}

}  // namespace

void validate(const PredictOptions& options) {
  if (options.long_side < 1 || options.short_side < 1)
    fail_usage("the size that pictures are fitted to must be positive");
  if (options.tiles && (options.tiles->overlap < 0 || options.tiles->overlap >= options.tiles->size)) {
    fail_usage("tiles of {} pixels cannot overlap by {}", options.tiles->size, options.tiles->overlap);
  }
  const auto is_share = [](float value) { return value >= 0.0F && value <= 1.0F; };
  if (!is_share(options.detections.score) || !is_share(options.detections.nms) ||
      !is_share(options.detections.mask)) {
    fail_usage("thresholds of detections lie between 0 and 1");
  }
}

NetworkInput network_input(const image::Image& picture, const image::InputFormat& format) {
  constexpr float kWhite = 255.0F;
  NetworkInput input{padded(picture.height), padded(picture.width), {picture.height, picture.width}, {}};
  input.values.resize(static_cast<std::size_t>(input.height * input.width * 3));
  for (int y = 0; y < picture.height; ++y) {
    const std::uint8_t* from = picture.row(y);
    float* to = input.values.data() + static_cast<std::ptrdiff_t>(y) * input.width * 3;
    for (std::size_t i = 0; i < picture.row_bytes(); ++i) {
      to[i] = (static_cast<float>(from[i]) - kWhite * format.mean[i % 3]) / (kWhite * format.std[i % 3]);
    }
  }
  return input;
}

Prediction predict(const image::Image& picture, const PredictOptions& options, const Network& network,
                   kernels::Isa isa) {
  Prediction prediction;
  std::vector<Found> all;
  const std::vector<image::Rect> parts = parts_of(picture, options);
  for (std::size_t tile = 0; tile < parts.size(); ++tile) {
    prediction.left_out += find_in_part(picture, parts[tile], tile, options, network, all);
  }
  if (parts.size() > 1) all = merge_tiles(all, options, isa);
  const std::int64_t limit = options.detections.per_image;
  if (limit >= 0 && std::ssize(all) > limit) {
    prediction.left_out += std::ssize(all) - limit;
    all.resize(static_cast<std::size_t>(limit));
  }
  const Extent extent{picture.height, picture.width};
  for (const Found& found : all) {
    prediction.instances.push_back(
        {found.box, found.label, found.score,
         outline(found.mask, kMaskSize, found.box, extent, options.detections.mask, isa)});
  }
  return prediction;
}

}  // namespace spatialmamba::detection
