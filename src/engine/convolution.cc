#include "engine/convolution.h"

namespace spatialmamba::engine {

using kernels::GemmActivation;
using kernels::PackedRows;

void convolve_patches(const Executor& run, std::string_view part, const PackedLinear& layer,
                      const ConvInput& input, const kernels::LinearOutput& output) {
  const std::int64_t pixels = input.pixels();
  const TaskGrid tasks = run.grid(pixels, layer);
  const std::int64_t floats = input.size() + pixels * layer.outputs() + layer.inputs() * layer.outputs();
  run.step(part, "convolution", linear_flops(layer, pixels), floats, [&] {
    run.for_tasks(tasks, layer.packed_size(tasks.block_rows()), [&](const Task& task, TaskMemory& memory) {
      const PackedRows packed = memory.take_packed(layer, task.count());
      pack_patches(layer, input, task.rows, packed);
      layer.multiply(packed, task.columns(layer), at_rows(output, task));
    });
  });
}

void convolve(const Executor& run, std::string_view name, const SlicedConvolution& convolution,
              const Map& map, GemmActivation activation, float* out) {
  const MapShape& shape = map.shape;
  const ConvInput input{map.data, shape.images, shape.height, shape.width, shape.channels, 1};
  const auto& slices = convolution.slices;
  const PackedLinear& any = slices.front();
  const std::int64_t outputs = any.outputs();
  const TaskGrid tasks = run.grid(shape.tokens(), any);
  run.step(name, "convolution", 3.0 * linear_flops(any, shape.tokens()),
           shape.size() + 2 * shape.tokens() * outputs + 3 * any.inputs() * outputs, [&] {
             run.for_tasks(tasks, any.packed_size(tasks.block_rows()),
                           [&](const Task& task, TaskMemory& memory) {
                             const PackedRows packed = memory.take_packed(any, task.count());
                             for (std::int64_t ky = 0; ky < 3; ++ky) {
                               const PackedLinear& slice = slices[static_cast<std::size_t>(ky)];
                               const bool begins = ky == 0;
                               const bool ends = ky == 2;
                               pack_patch_rows(slice, input, ky, task.rows, packed);
                               slice.multiply(packed, task.columns(slice),
                                              at_rows({.data = out,
                                                       .stride = outputs,
                                                       .activation = ends ? activation : GemmActivation::none,
                                                       .residual = begins ? nullptr : out,
                                                       .residual_stride = outputs,
                                                       .activate_sum = ends},
                                                      task));
                             }
                           });
           });
}

}  // namespace spatialmamba::engine
