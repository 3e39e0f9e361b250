#include "engine/upernet.h"

#include <algorithm>
#include <array>
#include <span>

#include "engine/convolution.h"
#include "engine/upsampled.h"
#include "kernels/normalise_rows.h"
#include "kernels/resize_map.h"

namespace spatialmamba::engine {
namespace {

using kernels::GemmActivation;
using Inputs = std::array<UpsampledInput, kMostUpsampled>;

MapShape with_channels(MapShape shape, std::int64_t channels) {
  shape.channels = channels;
  return shape;
}

/// The parts of the head, each behind the one before in one piece of memory.
class Decoder {
 public:
  Decoder(const UperHead& head, const Features& features, float* memory, const Executor& run,
          const Observer& observe)
      : head_(head),
        features_(features),
        channels_(head.classifier.inputs()),
        memory_(memory),
        run_(run),
        observe_(observe) {}

  Map scores() {
    const std::size_t last = head_.laterals.size();
    for (std::size_t i = 0; i < last; ++i) levels_[i] = lateral(i);
    levels_[last] = pyramid();
    show("psp", levels_[last], levels_shape(last));
    top_down();
    float* fused = fuse();
    const MapShape shape = levels_shape(0);
    show("fused", fused, shape);
    const std::int64_t classes = head_.classifier.outputs();
    const MapShape score_shape = with_channels(shape, classes);
    float* scores = take(score_shape.size());
    run_.linear("conv_seg", head_.classifier, shape.tokens(), fused, {.data = scores, .stride = classes});
    return {score_shape, scores};
  }

 private:
  MapShape levels_shape(std::size_t i) const { return with_channels(features_[i].shape, channels_); }
  float* take(std::int64_t floats) {
    float* piece = memory_;
    memory_ += divide_up(floats, kLine) * kLine;
    return piece;
  }
  void show(const char* name, const float* map, const MapShape& shape) const {
    if (observe_) observe_(name, shape, map);
  }

  float* lateral(std::size_t i) {
    const Map& feature = features_[i];
    float* out = take(levels_shape(i).size());
    run_.linear("lateral_convs", head_.laterals[i], feature.shape.tokens(), feature.data,
                {.data = out, .stride = channels_, .activation = GemmActivation::relu});
    return out;
  }

  /// The mean over each of side x side overlapping windows, as adaptive pooling cuts them.
  void pool(const Map& map, std::int64_t side, float* out) const {
    const MapShape& shape = map.shape;
    const std::int64_t c = shape.channels;
    run_.parallel()(shape.images * side * side, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        const std::int64_t row = i / side % side;
        const std::int64_t column = i % side;
        const RowRange y{row * shape.height / side, divide_up((row + 1) * shape.height, side)};
        const RowRange x{column * shape.width / side, divide_up((column + 1) * shape.width, side)};
        float* sums = out + i * c;
        std::fill_n(sums, c, 0.0F);
        for (std::int64_t at = y.begin; at < y.end; ++at) {
          const std::int64_t first = (i / (side * side) * shape.height + at) * shape.width + x.begin;
          kernels::add_rows(x.end - x.begin, c, {map.data + first * c, c}, sums, run_.isa());
        }
        const auto count = static_cast<float>((y.end - y.begin) * (x.end - x.begin));
        for (std::int64_t k = 0; k < c; ++k) sums[k] /= count;
      }
    });
  }

  float* pyramid() {
    const Map& top = features_.back();
    const MapShape wide = levels_shape(features_.size() - 1);
    float* out = take(wide.size());
    begin_sum("bottleneck", head_.bottleneck, top, out);
    float* const mark = memory_;  // what follows is needed here alone
    for (std::size_t first = 0; first < head_.pools.size(); first += kMostUpsampled) {
      const std::size_t count = std::min(head_.pools.size() - first, kMostUpsampled);
      Inputs inputs;
      for (std::size_t i = first; i < first + count; ++i) {
        inputs[i - first] = {&head_.bottleneck.others[i], pooled(i)};
      }
      add("bottleneck", std::span(inputs).first(count), wide, first + count == head_.pools.size(), out);
      memory_ = mark;
    }
    return out;
  }

  Map pooled(std::size_t i) {
    const Map& top = features_.back();
    const std::int64_t side = head_.pools[i];
    const MapShape small{top.shape.images, side, side, channels_};
    float* means = take(small.tokens() * top.shape.channels);
    float* out = take(small.size());
    run_.step("psp_modules.pool", "pool", 0.0, top.shape.size(), [&] { pool(top, side, means); });
    run_.linear("psp_modules", head_.pooled[i], small.tokens(), means,
                {.data = out, .stride = channels_, .activation = GemmActivation::relu});
    return {small, out};
  }

  void top_down() {
    for (std::size_t i = features_.size() - 1; i > 0; --i) {
      resize("top_down", {levels_shape(i), levels_[i]}, levels_shape(i - 1), levels_[i - 1], true);
    }
  }

  /// Every level convolved, brought to the size of the first and added to what the last convolution makes of
  /// them. The first level's memory, which nothing reads any more, takes the result.
  float* fuse() {
    const MapShape first = levels_shape(0);
    const std::size_t others = features_.size() - 1;
    float* out = others == 0 ? take(first.size()) : levels_[0];
    float* const mark = memory_;
    begin_sum("fpn_bottleneck", head_.fuse, convolved_level(0), out);
    memory_ = mark;
    Inputs inputs;
    for (std::size_t i = 1; i <= others; ++i) inputs[i - 1] = {&head_.fuse.others[i - 1], convolved_level(i)};
    add("fpn_bottleneck", std::span(inputs).first(others), first, true, out);
    memory_ = mark;
    return out;
  }

  /// Convolved, unless it is the last.
  Map convolved_level(std::size_t i) {
    const Map level{levels_shape(i), levels_[i]};
    if (i == head_.fpn.size()) return level;
    float* out = take(level.shape.size());
    convolve(run_, "fpn_convs", head_.fpn[i], level, {.data = out, .relu = true});
    return {level.shape, out};
  }

  /// The first map's part of a sum that add() ends.
  void begin_sum(std::string_view name, const JoiningConvolution& convolution, const Map& map, float* out) {
    convolve(run_, name, convolution.first, map, {.data = out, .relu = convolution.others.empty()});
  }
  void add(std::string_view name, std::span<const UpsampledInput> inputs, const MapShape& shape, bool relu,
           float* out) {
    if (inputs.empty()) return;
    float* const mark = memory_;
    convolve_upsampled(run_, name, inputs, shape, relu, take(upsampled_memory(inputs)), out);
    memory_ = mark;
  }

  void resize(std::string_view part, const Map& map, const MapShape& to, float* out, bool add) const {
    run_.step(part, "resize", 8.0 * static_cast<double>(to.size()), map.shape.size() + to.size(), [&] {
      constexpr std::int64_t kRows = 4;
      run_.parallel()(to.images * to.height, kRows, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t row = begin; row < end; ++row) {
          const std::int64_t image = row / to.height;
          kernels::resize_map_row({map.data + image * map.shape.height * map.shape.width * map.shape.channels,
                                   map.shape.height, map.shape.width, map.shape.channels},
                                  to.height, to.width, row % to.height, add,
                                  out + row * to.width * to.channels, run_.isa());
        }
      });
    });
  }

  const UperHead& head_;
  const Features& features_;
  std::int64_t channels_;
  float* memory_;
  const Executor& run_;
  const Observer& observe_;
  std::array<float*, kMaxStages> levels_{};
};

}  // namespace

std::int64_t decode_memory(const UperHead& head, const Features& features) {
  const std::int64_t channels = head.classifier.inputs();
  const MapShape& first = features[0].shape;
  const MapShape& top = features.back().shape;
  constexpr std::int64_t kSlack = 4 * kMaxStages * kLine;  // for rounding up, piece by piece
  std::int64_t levels = 0;
  for (const Map& feature : features) levels += feature.shape.tokens() * channels;
  std::int64_t pooled = 0;
  Inputs inputs;
  for (std::size_t i = 0; i < head.pools.size(); ++i) {
    const MapShape small{top.images, head.pools[i], head.pools[i], channels};
    inputs.front() = {&head.bottleneck.others[i], {small, nullptr}};
    pooled +=
        small.tokens() * (top.channels + channels) + upsampled_memory(std::span(inputs).first(1)) + kSlack;
  }
  std::int64_t others = 0;
  for (std::size_t i = 1; i < features.size(); ++i) {
    const MapShape shape = with_channels(features[i].shape, channels);
    inputs.front() = {&head.fuse.others[i - 1], {shape, nullptr}};
    others += shape.size() + upsampled_memory(std::span(inputs).first(1));
  }
  const std::int64_t single = features.size() == 1 ? first.tokens() * channels : 0;
  const std::int64_t fused =
      std::max({first.tokens() * channels, others, first.tokens() * head.classifier.outputs()});
  return levels + std::max(pooled, single + fused) + kSlack;
}

Map decode(const UperHead& head, const Features& features, float* memory, const Executor& run,
           const Observer& observe) {
  run.enter("decode_head");
  return Decoder(head, features, memory, run, observe).scores();
}

}  // namespace spatialmamba::engine
