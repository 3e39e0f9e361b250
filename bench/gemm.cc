// Speed of the matrix product at the shapes of the tiny variant's training (batch 8, 224 x 224): every linear
// layer forward, its input's and its weights' gradient, in float and in bf16. `peak` is the register tile
// alone on data in the first-level cache.   bench_gemm --benchmark_filter='fc1.*bf16'
#include <benchmark/benchmark.h>

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "base/parallel.h"
#include "kernels/aligned_vector.h"
#include "kernels/gemm.h"
#include "kernels/gemm_kernels.h"
#include "kernels/isa.h"
#include "support.h"

namespace spatialmamba::kernels {
namespace {

using bench::random_values;
using Vector = AlignedVector<float>;

struct Layer {
  std::string name;
  LinearShape shape;
};

struct Stage {
  std::int64_t side;
  std::int64_t channels;
};

constexpr std::array<Stage, 4> kStages = {Stage{56, 64}, {28, 128}, {14, 256}, {7, 512}};
constexpr std::int64_t kImages = 8;

std::vector<Layer> layers() {
  std::vector<Layer> list;
  for (const auto& [side, d] : kStages) {
    const std::int64_t tokens = kImages * side * side;
    list.push_back({"in_proj", {tokens, d, 4 * d}});
    list.push_back({"x_proj", {tokens, 2 * d, d / 16 + 2}});
    list.push_back({"out_proj", {tokens, 2 * d, d}});
    list.push_back({"fc1", {tokens, d, 4 * d}});
    list.push_back({"fc2", {tokens, 4 * d, d}});
    if (side != kStages.back().side) {
      list.push_back({"downsample0", {tokens, d, 8 * d}});
      list.push_back({"downsample2", {tokens / 4, 8 * d, 2 * d}});
    }
  }
  list.push_back({"stem", {kImages * 56 * 56, 4 * 64, 64}});
  return list;
}

enum class Case { forward, input_gradient, weight_gradient };

struct Job {
  Layer layer;
  Case which;
  Multiply multiply;

  std::string name() const {
    constexpr const char* kCases[] = {"forward", "input_gradient", "weight_gradient"};
    const LinearShape& s = layer.shape;
    return layer.name + "/" + std::to_string(s.tokens) + "x" + std::to_string(s.inputs) + "x" +
           std::to_string(s.outputs) + "/" + kCases[static_cast<int>(which)] + "/" +
           (multiply == Multiply::full ? "fp32" : "bf16");
  }
};

void report(benchmark::State& state, std::int64_t multiplications) {
  const double operations =
      2e-9 * static_cast<double>(multiplications) * static_cast<double>(state.iterations());
  state.counters["GFLOP/s"] = benchmark::Counter(operations, benchmark::Counter::kIsRate);
}

void measure(benchmark::State& state, const Job& job, int threads) {
  const LinearShape& s = job.layer.shape;
  const Vector x = random_values(s.tokens * s.inputs);
  const Vector w = random_values(s.inputs * s.outputs);
  const Vector dy = random_values(s.tokens * s.outputs);
  Vector y(dy.size());
  Vector dx(x.size());
  Vector dw(w.size());
  Vector dbias(static_cast<std::size_t>(s.outputs));
  ThreadPool pool(threads);
  GemmScratch scratch;
  const GemmContext context{default_isa(), pool.parallel_for(), scratch, job.multiply};
  for (auto _ : state) {
    if (job.which == Case::forward) {
      linear_forward<float>(s, x.data(), s.inputs, w.data(), {.data = y.data(), .stride = s.outputs},
                            context);
    } else if (job.which == Case::input_gradient) {
      linear_input_gradient<float>(s, dy.data(), s.outputs, w.data(), {.data = dx.data(), .stride = s.inputs},
                                   context);
    } else {
      linear_weight_gradient<float>(s, dy.data(), s.outputs, x.data(), s.inputs, dw.data(), dbias.data(),
                                    false, context);
    }
  }
  report(state, s.tokens * s.inputs * s.outputs);
}

void measure_peak(benchmark::State& state, Multiply multiply) {
  const GemmKernels<float>& kernels = gemm_kernels<float>(default_isa(), multiply);
  constexpr std::int64_t kWords = 128;
  const std::int64_t columns = kMaxVectors * kernels.lanes;
  const Vector a(static_cast<std::size_t>(kernels.rows * kRowWords<float>));
  const Vector b(static_cast<std::size_t>(columns * kWords));
  Vector c(static_cast<std::size_t>(kernels.rows * columns));
  for (auto _ : state) {
    kernels.tiles[0][kMaxVectors - 1][kernels.rows - 1](kWords, a.data(), b.data(), c.data(), columns, false);
    benchmark::DoNotOptimize(c.data());
  }
  report(state, kernels.rows * columns * kWords * kernels.k_per_word);
}

}  // namespace
}  // namespace spatialmamba::kernels

void spatialmamba::bench::register_all() {
  using namespace kernels;
  for (const Multiply multiply : {Multiply::full, Multiply::bf16}) {
    const std::string name = multiply == Multiply::full ? "peak/fp32" : "peak/bf16";
    benchmark::RegisterBenchmark(name.c_str(),
                                 [multiply](benchmark::State& state) { measure_peak(state, multiply); });
    for (const Layer& layer : layers()) {
      for (const Case which : {Case::forward, Case::input_gradient, Case::weight_gradient}) {
        const Job job{layer, which, multiply};
        register_by_threads(job.name(),
                            [job](benchmark::State& state, int threads) { measure(state, job, threads); });
      }
    }
  }
}
