#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/parallel.h"
#include "engine/tasks.h"
#include "kernels/gemm.h"
#include "kernels/isa.h"
#include "kernels/packed_linear.h"
#include "spatialmamba/engine.h"

namespace spatialmamba::engine {

/// Collects the times of a pass's steps. What groups of images repeat is summed up.
class Profile {
 public:
  const std::vector<StepTime>& steps() const { return steps_; }
  /// The module whose parts the next steps are.
  void enter(std::string module) { module_ = std::move(module); }
  void add(std::string_view part, std::string_view kernel, double seconds, double flops, double bytes);
  /// The next steps are those from the first one on again, for other images.
  void rewind() { next_ = 0; }

 private:
  std::string module_;
  std::vector<StepTime> steps_;
  std::size_t next_ = 0;
};

inline double linear_flops(const kernels::PackedLinear& layer, std::int64_t rows) {
  return 2.0 * static_cast<double>(rows * layer.inputs() * layer.outputs());
}

/// Where a task's rows of an output begin.
inline kernels::LinearOutput at_rows(kernels::LinearOutput output, const Task& task) {
  output.data += task.rows.begin * output.stride;
  if (output.residual != nullptr) output.residual += task.rows.begin * output.residual_stride;
  return output;
}

/// How the steps of a forward pass are carried out: who works, in what memory, and who wants to know.
class Executor {
 public:
  Executor(kernels::Isa isa, const ParallelFor& parallel, kernels::GemmScratch& scratch, Profile* profile)
      : isa_(isa), parallel_(parallel), scratch_(scratch), profile_(profile) {}

  kernels::Isa isa() const { return isa_; }
  const ParallelFor& parallel() const { return parallel_; }
  kernels::GemmScratch& scratch() const { return scratch_; }
  void enter(const std::string& module) const {
    if (profile_ != nullptr) profile_->enter(module);
  }

  /// Does one step, timed when somebody wants to know. `floats`: read and written at least.
  template <typename Body>
  void step(std::string_view part, std::string_view kernel, double flops, std::int64_t floats,
            const Body& body) const {
    if (profile_ == nullptr) return body();
    const auto start = std::chrono::steady_clock::now();
    body();
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    profile_->add(part, kernel, seconds.count(), flops, static_cast<double>(floats) * sizeof(float));
  }

  /// Calls body(task, memory) for each, with `floats` of memory for what it takes.
  template <typename Body>
  void for_tasks(const TaskGrid& grid, std::int64_t floats, const Body& body) const {
    for_items(grid.count(), floats, [&](std::int64_t i, TaskMemory& memory) { body(grid[i], memory); });
  }

  /// Calls body(i, memory) for i in [0, count).
  template <typename Body>
  void for_items(std::int64_t count, std::int64_t floats, const Body& body) const {
    parallel_(count, 1, [&](std::int64_t begin, std::int64_t end) {
      TaskMemory memory(scratch_, floats);
      for (std::int64_t i = begin; i < end; ++i) {
        memory.reset();
        body(i, memory);
      }
    });
  }

  TaskGrid grid(std::int64_t rows, const kernels::PackedLinear& layer) const {
    // Two tiles of AMX are multiplied together, but one is work enough to be worth a cut.
    constexpr std::int64_t kMostPanelRows = 16;
    return {rows, std::min(layer.panel_rows(), kMostPanelRows), parallel_.threads()};
  }

  /// A linear layer on dense rows.
  void apply(const kernels::PackedLinear& layer, std::int64_t rows, const float* x,
             const kernels::LinearOutput& output) const;
  /// The same as a step of its own.
  void linear(std::string_view part, const kernels::PackedLinear& layer, std::int64_t rows, const float* x,
              const kernels::LinearOutput& output) const;

 private:
  kernels::Isa isa_;
  const ParallelFor& parallel_;
  kernels::GemmScratch& scratch_;
  Profile* profile_;
};

}  // namespace spatialmamba::engine
