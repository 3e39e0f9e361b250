// Speed of every kernel at the shapes of the tiny variant (batch 8, 224 x 224), against the memory bandwidth
// that `copy` measures:  bench_kernels --benchmark_filter=sasf
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <string>

#include "base/parallel.h"
#include "kernels/aligned_vector.h"
#include "kernels/depthwise.h"
#include "kernels/elementwise.h"
#include "kernels/isa.h"
#include "kernels/layer_norm.h"
#include "kernels/optimizer_update.h"
#include "kernels/sasf.h"
#include "kernels/selective_scan.h"
#include "support.h"

namespace spatialmamba::kernels {
namespace {

using bench::random_values;
using Vector = AlignedVector<float>;

/// One stage of the tiny variant: tokens of H x W with E inner channels, and the rank of its time step.
struct Stage {
  std::int64_t side;
  std::int64_t channels;
  std::int64_t dt_rank;
};

constexpr std::array<Stage, 4> kStages = {Stage{56, 128, 4}, {28, 256, 8}, {14, 512, 16}, {7, 1024, 32}};
constexpr std::int64_t kImages = 8;

struct Problem {
  explicit Problem(const Stage& s)
      : stage(s),
        rows(kImages * s.side * s.side),
        n(rows * s.channels),
        x(random_values(n)),
        wide(random_values(2 * n)),
        dy(random_values(n)),
        out(x.size()),
        dx(x.size()),
        weights(random_values(25 * s.channels)),
        dweights(weights.size()),
        vector(random_values(s.channels)),
        dvector(vector.size()),
        per_token(random_values(rows * (s.dt_rank + 2))),
        dper_token(per_token.size()),
        projection(random_values(s.channels * s.dt_rank)),
        dprojection(projection.size()),
        mean(static_cast<std::size_t>(rows)),
        rstd(mean.size(), 1.0F) {}

  Stage stage;
  std::int64_t rows;
  std::int64_t n;
  Vector x, wide, dy, out, dx, weights, dweights, vector, dvector, per_token, dper_token, projection,
      dprojection, mean, rstd;
};

/// What a benchmark runs, and how many numbers it has to read or write for each element.
struct Operation {
  const char* name;
  double traffic;
  void (*run)(Problem&, Isa, const ParallelFor&);
};

LayerNormInput<float> layer_norm_input(Problem& p, bool gated) {
  LayerNormInput<float> in{.rows = p.rows,
                           .channels = p.stage.channels,
                           .x = p.x.data(),
                           .gamma = p.vector.data(),
                           .beta = p.vector.data()};
  if (gated) {
    in.z = p.wide.data();
    in.z_stride = 2 * p.stage.channels;
  }
  return in;
}

void layer_norm_backward_of(Problem& p, bool gated, Isa isa, const ParallelFor& parallel) {
  layer_norm_backward(layer_norm_input(p, gated),
                      {.mean = p.mean.data(),
                       .rstd = p.rstd.data(),
                       .dy = p.dy.data(),
                       .dx = p.dx.data(),
                       .dgamma = p.dvector.data(),
                       .dbeta = p.dvector.data(),
                       .dz = p.out.data(),
                       .dz_stride = p.stage.channels},
                      isa, parallel);
}

DepthwiseInput<float> depthwise_input(Problem& p, Activation activation) {
  return {.images = kImages,
          .height = p.stage.side,
          .width = p.stage.side,
          .channels = p.stage.channels,
          .x = p.wide.data(),
          .x_stride = 2 * p.stage.channels,
          .weights = p.weights.data(),
          .bias = p.vector.data(),
          .activation = activation};
}

void depthwise_backward_of(Problem& p, Activation activation, Isa isa, const ParallelFor& parallel) {
  depthwise_backward(depthwise_input(p, activation),
                     {.dy = p.dy.data(),
                      .dx = p.dx.data(),
                      .dx_stride = p.stage.channels,
                      .dweights = p.dweights.data(),
                      .dbias = p.dvector.data()},
                     isa, parallel);
}

SasfInput<float> sasf_input(Problem& p, bool output_equation) {
  SasfInput<float> in{.images = kImages,
                      .height = p.stage.side,
                      .width = p.stage.side,
                      .channels = p.stage.channels,
                      .h = p.x.data(),
                      .taps = p.weights.data()};
  if (output_equation) {
    in.c = p.per_token.data();
    in.c_stride = p.stage.dt_rank + 2;
    in.d = p.vector.data();
    in.x = p.wide.data();
    in.x_stride = p.stage.channels;
  }
  return in;
}

void sasf_backward_of(Problem& p, bool output_equation, Isa isa, const ParallelFor& parallel) {
  sasf_backward(sasf_input(p, output_equation),
                {.dout = p.dy.data(),
                 .dh = p.dx.data(),
                 .dtaps = p.dweights.data(),
                 .dc = p.dper_token.data(),
                 .dc_stride = p.stage.dt_rank + 2,
                 .dd = p.dvector.data(),
                 .dx = p.out.data(),
                 .dx_stride = p.stage.channels},
                isa, parallel);
}

ScanInput<float> scan_input(Problem& p, bool projected) {
  ScanInput<float> in{.images = kImages,
                      .length = p.stage.side * p.stage.side,
                      .channels = p.stage.channels,
                      .delta_bias = p.vector.data(),
                      .a_log = p.vector.data(),
                      .u = p.wide.data(),
                      .u_stride = p.stage.channels,
                      .b = p.per_token.data(),
                      .b_stride = p.stage.dt_rank + 2};
  if (!projected) {
    in.delta = p.x.data();
    return in;
  }
  in.dt_lowrank = p.per_token.data();
  in.dt_stride = p.stage.dt_rank + 2;
  in.dt_weight = p.projection.data();
  in.dt_rank = p.stage.dt_rank;
  return in;
}

void scan_backward_of(Problem& p, bool projected, Isa isa, const ParallelFor& parallel) {
  ScanGradient<float> grad{.h = p.x.data(),
                           .dh = p.dy.data(),
                           .du = p.dx.data(),
                           .du_stride = p.stage.channels,
                           .db = p.dper_token.data(),
                           .db_stride = p.stage.dt_rank + 2,
                           .da_log = p.dvector.data(),
                           .ddelta_bias = p.dweights.data()};
  if (projected) {
    grad.ddt_lowrank = p.dper_token.data() + 1;
    grad.ddt_stride = p.stage.dt_rank + 2;
    grad.ddt_weight = p.dprojection.data();
  } else {
    grad.ddelta = p.out.data();
  }
  selective_scan_backward(scan_input(p, projected), grad, isa, parallel);
}

void adamw_of(Problem& p, Isa isa, const ParallelFor& parallel) {
  // The variance starts at random numbers: their squares keep the root real.
  const std::array<AdamWTensor<float>, 1> tensors = {
      AdamWTensor<float>{p.n, p.x.data(), p.dy.data(), p.out.data(), p.dx.data()}};
  adamw_update<float>({}, tensors, isa, parallel);
}

using P = Problem;
using F = ParallelFor;
const Operation kOperations[] = {
    {"copy", 2,
     [](P& p, Isa, const F& f) {
       f(p.n, 16384, [&](std::int64_t begin, std::int64_t end) {
         std::memcpy(p.out.data() + begin, p.x.data() + begin,
                     static_cast<std::size_t>(end - begin) * sizeof(float));
       });
     }},
    {"scan", 3,
     [](P& p, Isa i, const F& f) { selective_scan_forward(scan_input(p, false), p.out.data(), i, f); }},
    {"scan_backward", 6, [](P& p, Isa i, const F& f) { scan_backward_of(p, false, i, f); }},
    {"scan_projected", 2,
     [](P& p, Isa i, const F& f) { selective_scan_forward(scan_input(p, true), p.out.data(), i, f); }},
    {"scan_projected_backward", 4, [](P& p, Isa i, const F& f) { scan_backward_of(p, true, i, f); }},
    {"sasf", 2, [](P& p, Isa i, const F& f) { sasf_forward(sasf_input(p, false), p.out.data(), i, f); }},
    {"sasf_backward", 3, [](P& p, Isa i, const F& f) { sasf_backward_of(p, false, i, f); }},
    {"sasf_output", 3,
     [](P& p, Isa i, const F& f) { sasf_forward(sasf_input(p, true), p.out.data(), i, f); }},
    {"sasf_output_backward", 5, [](P& p, Isa i, const F& f) { sasf_backward_of(p, true, i, f); }},
    {"depthwise_silu", 2,
     [](P& p, Isa i, const F& f) {
       depthwise_forward(depthwise_input(p, Activation::silu), p.out.data(), i, f);
     }},
    {"depthwise_silu_backward", 3,
     [](P& p, Isa i, const F& f) { depthwise_backward_of(p, Activation::silu, i, f); }},
    {"depthwise", 2,
     [](P& p, Isa i, const F& f) {
       depthwise_forward(depthwise_input(p, Activation::none), p.out.data(), i, f);
     }},
    {"depthwise_backward", 3,
     [](P& p, Isa i, const F& f) { depthwise_backward_of(p, Activation::none, i, f); }},
    {"layer_norm", 2,
     [](P& p, Isa i, const F& f) {
       layer_norm_forward(layer_norm_input(p, false), p.out.data(), p.mean.data(), p.rstd.data(), i, f);
     }},
    {"layer_norm_backward", 3, [](P& p, Isa i, const F& f) { layer_norm_backward_of(p, false, i, f); }},
    {"layer_norm_gated", 3,
     [](P& p, Isa i, const F& f) {
       layer_norm_forward(layer_norm_input(p, true), p.out.data(), p.mean.data(), p.rstd.data(), i, f);
     }},
    {"layer_norm_gated_backward", 5, [](P& p, Isa i, const F& f) { layer_norm_backward_of(p, true, i, f); }},
    {"bias_gelu", 2,
     [](P& p, Isa i, const F& f) {
       bias_gelu(p.rows, p.stage.channels, p.x.data(), p.vector.data(), p.out.data(), i, f);
     }},
    {"bias_gelu_backward", 3,
     [](P& p, Isa i, const F& f) {
       bias_gelu_backward(p.rows, p.stage.channels, p.x.data(), p.vector.data(), p.dy.data(), p.dx.data(),
                          p.dvector.data(), i, f);
     }},
    {"adamw", 7, [](P& p, Isa i, const F& f) { adamw_of(p, i, f); }},
};

void measure(benchmark::State& state, const Operation& operation, const Stage& stage, int threads) {
  Problem problem(stage);
  ThreadPool pool(threads);
  const Isa isa = default_isa();
  for (auto _ : state) operation.run(problem, isa, pool.parallel_for());
  const auto numbers = static_cast<double>(problem.n) * static_cast<double>(state.iterations());
  state.counters["GB/s"] =
      benchmark::Counter(numbers * operation.traffic * sizeof(float) * 1e-9, benchmark::Counter::kIsRate);
  state.counters["G/s"] = benchmark::Counter(numbers * 1e-9, benchmark::Counter::kIsRate);
}

}  // namespace
}  // namespace spatialmamba::kernels

void spatialmamba::bench::register_all() {
  using namespace kernels;
  for (const Operation& operation : kOperations) {
    for (const Stage& stage : kStages) {
      register_by_threads(fmt::format("{}/{}x{}", operation.name, stage.side, stage.channels),
                          [&operation, &stage](benchmark::State& state, int threads) {
                            measure(state, operation, stage, threads);
                          });
    }
  }
}
