#include "engine/executor.h"

#include "base/error.h"

namespace spatialmamba::engine {

void Profile::add(std::string_view part, std::string_view kernel, double seconds, double flops,
                  double bytes) {
  if (next_ == steps_.size()) {
    const std::string layer = module_.empty() ? std::string(part) : fmt::format("{}.{}", module_, part);
    steps_.push_back({.layer = layer, .kernel = std::string(kernel)});
  }
  StepTime& step = steps_[next_++];
  step.seconds += seconds;
  step.flops += flops;
  step.bytes += bytes;
}

void Executor::apply(const kernels::PackedLinear& layer, std::int64_t rows, const float* x,
                     const kernels::LinearOutput& output) const {
  const TaskGrid tasks = grid(rows, layer);
  for_tasks(tasks, layer.packed_size(tasks.block_rows()), [&](const Task& task, TaskMemory& memory) {
    const kernels::PackedRows packed = memory.take_packed(layer, task.count());
    layer.pack(x + task.rows.begin * layer.inputs(), layer.inputs(), packed);
    layer.multiply(packed, task.columns(layer), at_rows(output, task));
  });
}

void Executor::linear(std::string_view part, const kernels::PackedLinear& layer, std::int64_t rows,
                      const float* x, const kernels::LinearOutput& output) const {
  const std::int64_t floats = rows * (layer.inputs() + layer.outputs()) + layer.inputs() * layer.outputs();
  step(part, "linear", linear_flops(layer, rows), floats, [&] { apply(layer, rows, x, output); });
}

}  // namespace spatialmamba::engine
