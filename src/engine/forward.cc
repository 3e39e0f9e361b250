#include "engine/forward.h"

#include <algorithm>
#include <chrono>

#include "base/error.h"
#include "kernels/depthwise.h"
#include "kernels/layer_norm.h"

namespace spatialmamba::engine {
namespace {

using kernels::GemmActivation;
using kernels::LinearOutput;
using kernels::RowRange;

constexpr std::int64_t divide_up(std::int64_t a, std::int64_t b) {
  return (a + b - 1) / b;
}

/// Some outputs of a layer and where they go.
struct Slice {
  RowRange columns;
  LinearOutput output;
};

/// Forward pass over one batch.
class Pass {
 public:
  Pass(const Network& network, const ParallelFor& parallel, Workspace& workspace, Profile* profile)
      : network_(network), parallel_(parallel), workspace_(workspace), profile_(profile) {}

  MapShape stem(const ImageBatch& images);
  void block(const Block& block, const MapShape& shape);
  MapShape downsample(const Downsampling& down, const MapShape& shape);
  /// Returns the normalised map.
  const float* head(const MapShape& shape, float* pooled, float* logits);

  float* map() { return workspace_.maps[current_].data(); }

 private:
  float* other() { return workspace_.maps[1 - current_].data(); }
  float* wide() { return workspace_.wide.data(); }

  /// A linear layer over rows that `pack(row, block, packed)` packs.
  template <typename PackRows>
  void linear(std::string_view part, const PackedLinear& layer, std::int64_t rows, const PackRows& pack,
              std::initializer_list<Slice> slices);
  template <typename PackRows>
  void multiply(const PackedLinear& layer, std::int64_t rows, const PackRows& pack,
                std::initializer_list<Slice> slices);
  /// Packs rows of `x` as they are.
  auto plain(const PackedLinear& layer, const float* x) const;
  /// Packs normalised rows, gated by silu(z) if z is given.
  auto normalised(const PackedLinear& layer, const Norm& norm, const float* x, const float* z);
  template <typename Layer>
  void conv3x3(std::string_view part, const Layer& layer, const float* x, const MapShape& in,
               std::int64_t stride, LinearOutput output);
  void depthwise(std::string_view part, const Depthwise& conv, const float* x, const MapShape& shape,
                 kernels::Activation activation, bool residual, std::int64_t stride, float* y);
  void mix_states(const StateMixing& mixing, const MapShape& shape);

  /// Does one step of the pass, timed when somebody wants to know.
  template <typename Body>
  void step(std::string_view part, std::string_view kernel, double flops, double floats, const Body& body);

  const Network& network_;
  const ParallelFor& parallel_;
  Workspace& workspace_;
  Profile* profile_;
  std::size_t current_ = 0;
};

double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

template <typename Body>
void Pass::step(std::string_view part, std::string_view kernel, double flops, double floats,
                const Body& body) {
  if (profile_ == nullptr) return body();
  const double start = seconds_now();
  body();
  profile_->add(part, kernel, seconds_now() - start, flops, floats * sizeof(float));
}

/// Rows that a task takes: enough to use the weights again and again, few enough for the second-level cache.
std::int64_t block_rows(std::int64_t rows, std::int64_t panel_rows, int threads) {
  constexpr std::int64_t kMostPanels = 8;
  const std::int64_t most = kMostPanels * panel_rows;
  std::int64_t blocks = divide_up(rows, most);
  if (threads > 1) blocks = divide_up(blocks, threads) * threads;
  return std::max<std::int64_t>(divide_up(rows, blocks), 1);
}

template <typename PackRows>
void Pass::linear(std::string_view part, const PackedLinear& layer, std::int64_t rows, const PackRows& pack,
                  std::initializer_list<Slice> slices) {
  const auto inputs = static_cast<double>(layer.inputs());
  const auto outputs = static_cast<double>(layer.outputs());
  const auto n = static_cast<double>(rows);
  step(part, "linear", 2.0 * n * inputs * outputs, n * (inputs + outputs) + inputs * outputs,
       [&] { multiply(layer, rows, pack, slices); });
}

template <typename PackRows>
void Pass::multiply(const PackedLinear& layer, std::int64_t rows, const PackRows& pack,
                    std::initializer_list<Slice> slices) {
  const std::int64_t step = block_rows(rows, layer.panel_rows(), parallel_.threads());
  parallel_(divide_up(rows, step), 1, [&](std::int64_t begin, std::int64_t end) {
    const auto lease =
        workspace_.scratch.borrow(static_cast<std::size_t>(layer.packed_size(step)) * sizeof(float));
    auto* packed = reinterpret_cast<float*>(lease.data());
    for (std::int64_t i = begin * step; i < std::min(end * step, rows); i += step) {
      const RowRange range{i, std::min(i + step, rows)};
      pack(range, packed);
      for (const Slice& slice : slices) {
        LinearOutput output = slice.output;
        output.data += range.begin * output.stride - slice.columns.begin;
        if (output.residual != nullptr)
          output.residual += range.begin * output.residual_stride - slice.columns.begin;
        layer.multiply(range.end - range.begin, packed, slice.columns, output);
      }
    }
  });
}

auto Pass::plain(const PackedLinear& layer, const float* x) const {
  return [&layer, x](RowRange rows, float* packed) {
    for (std::int64_t i = rows.begin; i < rows.end; ++i) {
      layer.pack_row(x + i * layer.inputs(), i - rows.begin, rows.end - rows.begin, packed);
    }
  };
}

auto Pass::normalised(const PackedLinear& layer, const Norm& norm, const float* x, const float* z) {
  return [this, &layer, &norm, x, z](RowRange rows, float* packed) {
    const std::int64_t channels = layer.inputs();
    const auto lease = workspace_.scratch.borrow(static_cast<std::size_t>(channels) * sizeof(float));
    auto* row = reinterpret_cast<float*>(lease.data());
    for (std::int64_t i = rows.begin; i < rows.end; ++i) {
      kernels::layer_norm_forward<float>({.rows = 1,
                                          .channels = channels,
                                          .x = x + i * channels,
                                          .gamma = norm.gamma.data(),
                                          .beta = norm.beta.data(),
                                          .epsilon = kNormEpsilon,
                                          .z = z == nullptr ? nullptr : z + i * channels,
                                          .z_stride = channels},
                                         row, nullptr, nullptr, network_.isa, ParallelFor());
      layer.pack_row(row, i - rows.begin, rows.end - rows.begin, packed);
    }
  };
}

/// Copies the 3x3 patch of x [H, W, C] around (y, x), zeros outside.
void copy_patch(const float* image, const MapShape& in, std::int64_t y, std::int64_t x, float* patch) {
  const std::int64_t c = in.channels;
  for (std::int64_t ky = -1; ky <= 1; ++ky) {
    float* to = patch + (ky + 1) * 3 * c;
    const std::int64_t row = y + ky;
    if (row < 0 || row >= in.height) {
      std::fill_n(to, 3 * c, 0.0F);
      continue;
    }
    const std::int64_t first = std::max<std::int64_t>(x - 1, 0);
    const std::int64_t last = std::min(x + 1, in.width - 1);
    if (x == 0) std::fill_n(to, c, 0.0F);
    std::copy_n(image + (row * in.width + first) * c, (last - first + 1) * c, to + (first - x + 1) * c);
    if (x + 1 >= in.width) std::fill_n(to + 2 * c, c, 0.0F);
  }
}

template <typename Layer>
void Pass::conv3x3(std::string_view part, const Layer& layer, const float* x, const MapShape& in,
                   std::int64_t stride, LinearOutput output) {
  const std::int64_t out_height = divide_up(in.height, stride);
  const std::int64_t out_width = divide_up(in.width, stride);
  const auto pack = [&](RowRange rows, float* packed) {
    const auto lease = workspace_.scratch.borrow(static_cast<std::size_t>(layer.inputs()) * sizeof(float));
    auto* patch = reinterpret_cast<float*>(lease.data());
    for (std::int64_t i = rows.begin; i < rows.end; ++i) {
      const std::int64_t image = i / (out_height * out_width);
      const std::int64_t oy = i / out_width % out_height;
      const std::int64_t ox = i % out_width;
      copy_patch(x + image * in.height * in.width * in.channels, in, oy * stride, ox * stride, patch);
      layer.pack_row(patch, i - rows.begin, rows.end - rows.begin, packed);
    }
  };
  linear(part, layer, in.images * out_height * out_width, pack, {{{0, layer.outputs()}, output}});
}

MapShape halved(const MapShape& in, std::int64_t channels) {
  return {in.images, divide_up(in.height, 2), divide_up(in.width, 2), channels};
}

/// Channels-last copy of the images.
void transpose_images(const ImageBatch& images, std::int64_t channels, const ParallelFor& parallel,
                      float* to) {
  const std::int64_t pixels = images.height * images.width;
  parallel(images.count * images.height, 8, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      const std::int64_t image = row / images.height;
      const std::int64_t first = row % images.height * images.width;
      for (std::int64_t c = 0; c < channels; ++c) {
        const float* from = images.data + (image * channels + c) * pixels + first;
        float* out = to + (image * pixels + first) * channels + c;
        for (std::int64_t x = 0; x < images.width; ++x) out[x * channels] = from[x];
      }
    }
  });
}

MapShape Pass::stem(const ImageBatch& images) {
  const Stem& stem = network_.stem;
  const std::int64_t in_channels = network_.architecture.in_channels;
  const MapShape in{images.count, images.height, images.width, in_channels};
  const MapShape half = halved(in, stem.conv1.outputs());
  const MapShape out = halved(half, stem.conv3_1.outputs());
  const std::int64_t wide_size = out.tokens() * stem.conv3_0.outputs();
  const std::int64_t input_size = images.layout == ImageBatch::Layout::nchw ? in.size() : 0;
  workspace_.wide.resize(std::max<std::size_t>(
      workspace_.wide.size(),
      static_cast<std::size_t>(std::max(3 * half.size() + input_size, half.size() + wide_size))));
  for (auto& map : workspace_.maps) {
    map.resize(std::max<std::size_t>(map.size(), static_cast<std::size_t>(out.size())));
  }
  const float* pixels = images.data;
  float* a = wide();
  float* b = a + half.size();
  float* c = b + half.size();
  if (images.layout == ImageBatch::Layout::nchw) {
    float* moved = c + half.size();
    transpose_images(images, in_channels, parallel_, moved);
    pixels = moved;
  }
  const std::int64_t width = half.channels;
  conv3x3("conv1", stem.conv1, pixels, in, 2,
          {.data = a, .stride = width, .activation = GemmActivation::relu});
  conv3x3("conv2.0", stem.conv2_0, a, half, 1,
          {.data = b, .stride = width, .activation = GemmActivation::relu});
  conv3x3("conv2.1", stem.conv2_1, b, half, 1,
          {.data = c, .stride = width, .residual = a, .residual_stride = width});
  // c lies behind what is written now.
  std::copy_n(c, half.size(), a);
  float* hidden = b;
  conv3x3("conv3.0", stem.conv3_0, a, half, 2,
          {.data = hidden, .stride = stem.conv3_0.outputs(), .activation = GemmActivation::relu});
  linear("conv3.1", stem.conv3_1, out.tokens(), plain(stem.conv3_1, hidden),
         {{{0, out.channels}, {.data = map(), .stride = out.channels}}});
  return out;
}

void Pass::depthwise(std::string_view part, const Depthwise& conv, const float* x, const MapShape& shape,
                     kernels::Activation activation, bool residual, std::int64_t stride, float* y) {
  const MapShape out = stride == 2 ? halved(shape, conv.channels) : shape;
  const auto inputs = static_cast<double>(shape.tokens() * conv.channels);
  const auto outputs = static_cast<double>(out.tokens() * conv.channels);
  step(part, "depthwise", 18.0 * outputs, inputs + outputs, [&] {
    kernels::depthwise_forward<float>({.images = shape.images,
                                       .height = shape.height,
                                       .width = shape.width,
                                       .channels = conv.channels,
                                       .stride = stride,
                                       .x = x,
                                       .x_stride = conv.channels,
                                       .weights = conv.weights.data(),
                                       .bias = conv.bias.data(),
                                       .activation = activation,
                                       .residual = residual},
                                      y, network_.isa, parallel_);
  });
}

/// Reads x and z [tokens, E] from the first two parts of the wide buffer, leaves y in the place of x.
void Pass::mix_states(const StateMixing& mixing, const MapShape& shape) {
  const kernels::ScanFusionWeights& weights = mixing.scan_fusion;
  const std::int64_t tokens = shape.tokens();
  const std::int64_t size = tokens * weights.channels;
  const std::int64_t columns = weights.rank + 2;
  float* x = wide();
  float* u = wide() + 2 * size;
  float* projected = u + size;
  depthwise("self_attention.conv2d", mixing.conv, x, shape, kernels::Activation::silu, false, 1, u);
  linear("self_attention.x_proj", mixing.x_proj, tokens, plain(mixing.x_proj, u),
         {{{0, columns}, {.data = projected, .stride = columns}}});
  const auto values = static_cast<double>(size);
  step("self_attention.scan_fusion", "scan_fusion", values * (2.0 * static_cast<double>(weights.rank) + 61.0),
       2.0 * values, [&] {
         kernels::scan_fusion(weights,
                              {.images = shape.images,
                               .height = shape.height,
                               .width = shape.width,
                               .projected = projected,
                               .x = u},
                              x, workspace_.scratch, network_.isa, parallel_);
       });
}

void Pass::block(const Block& block, const MapShape& shape) {
  const std::int64_t tokens = shape.tokens();
  const std::int64_t d = block.dim;
  const std::int64_t e = block.mixing.scan_fusion.channels;
  const std::int64_t hidden = block.fc1.outputs();
  const std::int64_t needed = tokens * std::max(3 * e + block.mixing.scan_fusion.rank + 2, hidden);
  workspace_.wide.resize(std::max(workspace_.wide.size(), static_cast<std::size_t>(needed)));

  float* x = map();
  float* y = other();
  depthwise("cpe1", block.cpe1, x, shape, kernels::Activation::none, true, 1, y);
  linear("self_attention.in_proj", block.mixing.in_proj, tokens,
         normalised(block.mixing.in_proj, block.ln_1, y, nullptr),
         {{{0, e}, {.data = wide(), .stride = e}}, {{e, 2 * e}, {.data = wide() + tokens * e, .stride = e}}});
  mix_states(block.mixing, shape);
  const float* mixed = wide();
  const float* z = wide() + tokens * e;
  linear("self_attention.out_proj", block.mixing.out_proj, tokens,
         normalised(block.mixing.out_proj, block.mixing.out_norm, mixed, z),
         {{{0, d}, {.data = x, .stride = d, .residual = y, .residual_stride = d}}});
  depthwise("cpe2", block.cpe2, x, shape, kernels::Activation::none, true, 1, y);
  linear("mlp.fc1", block.fc1, tokens, normalised(block.fc1, block.ln_2, y, nullptr),
         {{{0, hidden}, {.data = wide(), .stride = hidden, .activation = GemmActivation::gelu}}});
  linear("mlp.fc2", block.fc2, tokens, plain(block.fc2, wide()),
         {{{0, d}, {.data = x, .stride = d, .residual = y, .residual_stride = d}}});
}

MapShape Pass::downsample(const Downsampling& down, const MapShape& shape) {
  const std::int64_t hidden = down.expand.outputs();
  const MapShape out = halved(shape, down.reduce.outputs());
  const auto needed = static_cast<std::size_t>((shape.tokens() + out.tokens()) * hidden);
  workspace_.wide.resize(std::max(workspace_.wide.size(), needed));
  for (auto& map : workspace_.maps) map.resize(std::max(map.size(), static_cast<std::size_t>(out.size())));
  float* expanded = wide();
  float* convolved = expanded + shape.tokens() * hidden;
  linear("0", down.expand, shape.tokens(), plain(down.expand, map()),
         {{{0, hidden}, {.data = expanded, .stride = hidden, .activation = GemmActivation::relu}}});
  depthwise("1", down.conv, expanded, shape, kernels::Activation::relu, false, 2, convolved);
  current_ = 1 - current_;
  linear("2", down.reduce, out.tokens(), plain(down.reduce, convolved),
         {{{0, out.channels}, {.data = map(), .stride = out.channels}}});
  return out;
}

const float* Pass::head(const MapShape& shape, float* pooled, float* logits) {
  const std::int64_t tokens = shape.height * shape.width;
  float* rows = other();
  kernels::layer_norm_forward<float>({.rows = shape.tokens(),
                                      .channels = shape.channels,
                                      .x = map(),
                                      .gamma = network_.norm.gamma.data(),
                                      .beta = network_.norm.beta.data(),
                                      .epsilon = kNormEpsilon},
                                     rows, nullptr, nullptr, network_.isa, parallel_);
  for (std::int64_t image = 0; image < shape.images; ++image) {
    for (std::int64_t c = 0; c < shape.channels; ++c) {
      double sum = 0.0;
      for (std::int64_t t = 0; t < tokens; ++t) sum += rows[(image * tokens + t) * shape.channels + c];
      pooled[image * shape.channels + c] = static_cast<float>(sum / static_cast<double>(tokens));
    }
  }
  const std::int64_t classes = network_.head.outputs();
  linear("head", network_.head, shape.images, plain(network_.head, pooled),
         {{{0, classes}, {.data = logits, .stride = classes}}});
  return rows;
}

}  // namespace

void Profile::add(std::string_view part, std::string_view kernel, double seconds, double flops,
                  double bytes) {
  const std::string layer = module_.empty() ? std::string(part) : fmt::format("{}.{}", module_, part);
  steps_.push_back({layer, std::string(kernel), seconds, flops, bytes});
}

void forward(const Network& network, const ImageBatch& images, const ParallelFor& parallel,
             Workspace& workspace, float* pooled, float* logits, const Watchers& watchers) {
  const Observer& observe = watchers.observe;
  Pass pass(network, parallel, workspace, watchers.profile);
  const auto enter = [&](const std::string& module) {
    if (watchers.profile != nullptr) watchers.profile->enter(module);
  };
  enter("patch_embed");
  MapShape shape = pass.stem(images);
  if (observe) observe("patch_embed", shape, pass.map());
  for (std::size_t i = 0; i < network.stages.size(); ++i) {
    const Stage& stage = network.stages[i];
    for (std::size_t j = 0; j < stage.blocks.size(); ++j) {
      const std::string name = fmt::format("layers.{}.blocks.{}", i, j);
      enter(name);
      pass.block(stage.blocks[j], shape);
      if (observe) observe(name, shape, pass.map());
    }
    enter(fmt::format("layers.{}.downsample.conv", i));
    for (const Downsampling& down : stage.downsample) shape = pass.downsample(down, shape);
    if (observe) observe(fmt::format("layers.{}", i), shape, pass.map());
  }
  enter("");
  const float* normalised = pass.head(shape, pooled, logits);
  if (observe) observe(kNormName, shape, normalised);
}

}  // namespace spatialmamba::engine
