#include "engine/stem.h"

#include <algorithm>
#include <variant>

#include "engine/convolution.h"
#include "engine/patches.h"

namespace spatialmamba::engine {
namespace {

using kernels::GemmActivation;
using kernels::PackedRows;

/// The maps that the stem goes through.
struct StemShapes {
  MapShape in;
  MapShape half;
  MapShape out;

  StemShapes(const Network& network, std::int64_t images, std::int64_t height, std::int64_t width)
      : in{images, height, width, stem_padded(network.architecture.in_channels)},
        half(halved(in, network.stem.conv1.outputs())),
        out(halved(half, network.stem.conv3_1.outputs())) {}
};

void convolve_same(const Executor& run, std::string_view name, const StemConvolution& convolution,
                   const Map& map, const ConvolutionOutput& output) {
  if (const auto* tiles = std::get_if<TileConvolution>(&convolution)) {
    convolve(run, name, *tiles, map, output);
    return;
  }
  const MapShape& shape = map.shape;
  convolve_patches(run, name, std::get<PackedLinear>(convolution),
                   {map.data, shape.images, shape.height, shape.width, shape.channels, 1},
                   {.data = output.data,
                    .stride = shape.channels,
                    .activation = output.relu ? GemmActivation::relu : GemmActivation::none,
                    .residual = output.residual,
                    .residual_stride = shape.channels});
}

/// The third convolution and the 1x1 one behind it.
void convolve_last(const Executor& run, const Stem& stem, const StemShapes& shapes, const float* x,
                   float* out) {
  const ConvInput in{x, shapes.half.images, shapes.half.height, shapes.half.width, shapes.half.channels, 2};
  const std::int64_t tokens = shapes.out.tokens();
  const TaskGrid tasks = run.grid(tokens, stem.conv3_0);
  const std::int64_t floats =
      stem.conv3_0.packed_size(tasks.block_rows()) + stem.conv3_1.packed_size(tasks.block_rows());
  run.step("conv3", "convolution", linear_flops(stem.conv3_0, tokens) + linear_flops(stem.conv3_1, tokens),
           shapes.half.size() + shapes.out.size(), [&] {
             run.for_tasks(tasks, floats, [&](const Task& task, TaskMemory& memory) {
               const PackedRows patches = memory.take_packed(stem.conv3_0, task.count());
               const PackedRows hidden = memory.take_packed(stem.conv3_1, task.count());
               pack_patches(stem.conv3_0, in, task.rows, patches);
               stem.conv3_0.multiply(patches, GemmActivation::relu, stem.conv3_1, hidden);
               stem.conv3_1.multiply(hidden, task.columns(stem.conv3_1),
                                     at_rows({.data = out, .stride = shapes.out.channels}, task));
             });
           });
}

}  // namespace

std::int64_t stem_memory(const Network& network, std::int64_t images, std::int64_t height,
                         std::int64_t width) {
  const StemShapes shapes(network, images, height, width);
  return std::max(shapes.half.size() + shapes.in.size(), 3 * shapes.half.size());
}

MapShape run_stem(const Executor& run, const Network& network, const ImageBatch& images, float* memory,
                  float* out) {
  const Stem& stem = network.stem;
  const StemShapes shapes(network, images.count, images.height, images.width);
  const auto& [in, half, out_shape] = shapes;
  // The images make room for the output of the second convolution.
  float* a = memory;
  float* pixels = a + half.size();
  float* b = pixels;
  float* c = a + 2 * half.size();
  run.step("images", "layout", 0.0, 2 * in.size(),
           [&] { copy_images(images, network.architecture.in_channels, pixels, run.parallel()); });
  convolve_patches(run, "conv1", stem.conv1, {pixels, in.images, in.height, in.width, in.channels, 2},
                   {.data = a, .stride = half.channels, .activation = GemmActivation::relu});
  convolve_same(run, "conv2.0", stem.conv2_0, {half, a}, {.data = b, .relu = true});
  convolve_same(run, "conv2.1", stem.conv2_1, {half, b}, {.data = c, .residual = a});
  convolve_last(run, stem, shapes, c, out);
  return out_shape;
}

}  // namespace spatialmamba::engine
