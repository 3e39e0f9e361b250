#include "kernels/selective_scan.h"

#include <cmath>

#include "kernel_test.h"

namespace spatialmamba::kernels::test {
namespace {

struct Case {
  std::int64_t images, length, channels;
  std::int64_t rank;  ///< 0: delta is given
};

const Case kCases[] = {{1, 1, 1, 0},    {2, 7, 5, 0},   {1, 12, 16, 3},  {2, 221, 19, 0},
                       {1, 250, 48, 4}, {3, 64, 33, 1}, {1, 9, 700, 20}, {1, 300, 8, 0}};

std::vector<double> zeros(std::int64_t n) {
  return std::vector<double>(static_cast<std::size_t>(n));
}

double softplus(double x) {
  return x > 20.0 ? x : std::log1p(std::exp(x));
}

struct Expected {
  std::vector<double> h, du, db, da_log, ddelta_bias, ddelta, ddt_lowrank, ddt_weight;
};

template <typename T>
double delta_at(const ScanInput<T>& in, std::int64_t token, std::int64_t c) {
  if (in.delta != nullptr) return static_cast<double>(in.delta[token * in.channels + c]);
  double sum = 0.0;
  for (std::int64_t r = 0; r < in.dt_rank; ++r) {
    sum += static_cast<double>(in.dt_lowrank[token * in.dt_stride + r]) *
           static_cast<double>(in.dt_weight[c * in.dt_rank + r]);
  }
  return sum;
}

template <typename T>
Expected reference(const ScanInput<T>& in, const T* dh) {
  const std::int64_t channels = in.channels;
  const std::int64_t tokens = in.images * in.length;
  Expected out{zeros(tokens * channels),
               zeros(tokens * channels),
               zeros(tokens),
               zeros(channels),
               zeros(channels),
               zeros(tokens * channels),
               zeros(tokens * in.dt_rank),
               zeros(channels * in.dt_rank)};
  for (std::int64_t image = 0; image < in.images; ++image) {
    for (std::int64_t c = 0; c < channels; ++c) {
      const auto channel = static_cast<std::size_t>(c);
      const double rate = -std::exp(static_cast<double>(in.a_log[c]));
      const auto x_at = [&](std::int64_t token) {
        return delta_at(in, token, c) + static_cast<double>(in.delta_bias[c]);
      };
      double state = 0.0;
      for (std::int64_t t = 0; t < in.length; ++t) {
        const std::int64_t token = image * in.length + t;
        const double step = softplus(x_at(token));
        state = std::exp(step * rate) * state + step * static_cast<double>(in.b[token * in.b_stride]) *
                                                    static_cast<double>(in.u[token * in.u_stride + c]);
        out.h[static_cast<std::size_t>(token * channels + c)] = state;
      }
      double g = 0.0;
      for (std::int64_t t = in.length - 1; t >= 0; --t) {
        const std::int64_t token = image * in.length + t;
        const auto at = static_cast<std::size_t>(token * channels + c);
        const double x = x_at(token);
        const double step = softplus(x);
        const double decay = std::exp(step * rate);
        const double before = t == 0 ? 0.0 : out.h[at - static_cast<std::size_t>(channels)];
        const double u = static_cast<double>(in.u[token * in.u_stride + c]);
        const double b = static_cast<double>(in.b[token * in.b_stride]);
        g += static_cast<double>(dh[at]);
        out.du[at] = g * step * b;
        out.db[static_cast<std::size_t>(token)] += g * step * u;
        out.da_log[channel] += g * before * decay * step * rate;
        const double dx = g * (rate * decay * before + b * u) * (x > 20.0 ? 1.0 : logistic(x));
        out.ddelta[at] = dx;
        out.ddelta_bias[channel] += dx;
        for (std::int64_t r = 0; r < in.dt_rank; ++r) {
          out.ddt_lowrank[static_cast<std::size_t>(token * in.dt_rank + r)] +=
              dx * static_cast<double>(in.dt_weight[c * in.dt_rank + r]);
          out.ddt_weight[static_cast<std::size_t>(c * in.dt_rank + r)] +=
              dx * static_cast<double>(in.dt_lowrank[token * in.dt_stride + r]);
        }
        g *= decay;
      }
    }
  }
  return out;
}

/// Inputs of one case, and gradients of the right sizes.
template <typename T>
struct Problem {
  explicit Problem(const Case& shape)
      : tokens(shape.images * shape.length),
        stride(shape.rank + 2),
        u_stride(2 * shape.channels),
        delta(random_values<T>(tokens * shape.channels, 1, -4.0, 2.0)),
        dt(random_values<T>(tokens * stride, 2)),
        weight(random_values<T>(shape.channels * shape.rank, 3)),
        bias(random_values<T>(shape.channels, 4, -4.0, 0.0)),
        a_log(random_values<T>(shape.channels, 5)),
        u(random_values<T>(tokens * u_stride, 6)),
        b(random_values<T>(tokens * stride, 7)),
        dh(random_values<T>(tokens * shape.channels, 8)),
        du(u.size()),
        db(b.size()),
        da_log(a_log.size(), T{9}),
        ddelta_bias(bias.size(), T{9}),
        ddelta(delta.size()),
        ddt(dt.size()),
        dweight(weight.size(), T{9}) {
    input = {.images = shape.images,
             .length = shape.length,
             .channels = shape.channels,
             .delta_bias = bias.data(),
             .a_log = a_log.data(),
             .u = u.data(),
             .u_stride = u_stride,
             .b = b.data(),
             .b_stride = stride};
    gradient = {.dh = dh.data(),
                .du = du.data(),
                .du_stride = u_stride,
                .db = db.data(),
                .db_stride = stride,
                .da_log = da_log.data(),
                .ddelta_bias = ddelta_bias.data()};
    if (shape.rank == 0) {
      input.delta = delta.data();
      gradient.ddelta = ddelta.data();
      return;
    }
    input.dt_lowrank = dt.data();
    input.dt_stride = stride;
    input.dt_weight = weight.data();
    input.dt_rank = shape.rank;
    gradient.ddt_lowrank = ddt.data();
    gradient.ddt_stride = stride;
    gradient.ddt_weight = dweight.data();
  }
  Problem(const Problem&) = delete;
  Problem& operator=(const Problem&) = delete;

  std::vector<T> run(Isa isa, const ParallelFor& parallel) {
    std::vector<T> h(dh.size());
    selective_scan_forward(input, h.data(), isa, parallel);
    gradient.h = h.data();
    selective_scan_backward(input, gradient, isa, parallel);
    return h;
  }

  std::int64_t tokens, stride, u_stride;
  std::vector<T> delta, dt, weight, bias, a_log, u, b, dh;
  std::vector<T> du, db, da_log, ddelta_bias, ddelta, ddt, dweight;
  ScanInput<T> input;
  ScanGradient<T> gradient;
};

template <typename T>
class SelectiveScan : public testing::Test {};
TYPED_TEST_SUITE(SelectiveScan, Precisions);

TYPED_TEST(SelectiveScan, MatchesReferenceForwardAndBackward) {
  using T = TypeParam;
  for (const Case& shape : kCases) {
    SCOPED_TRACE(testing::Message() << shape.images << "x" << shape.length << "x" << shape.channels
                                    << " rank " << shape.rank);
    Problem<T> problem(shape);
    const Expected expected = reference(problem.input, problem.dh.data());
    for_every_target([&](Isa isa, const ParallelFor& parallel) {
      const std::vector<T> h = problem.run(isa, parallel);
      expect_close("h", h, expected.h);
      expect_close("du", dense_rows(problem.du, shape.channels, problem.u_stride), expected.du);
      expect_close("db", dense_rows(problem.db, 1, problem.stride), expected.db);
      if (shape.length > 1) expect_close("da_log", problem.da_log, expected.da_log);
      expect_close("ddelta_bias", problem.ddelta_bias, expected.ddelta_bias);
      if (shape.rank == 0) {
        expect_close("ddelta", problem.ddelta, expected.ddelta);
        return;
      }
      expect_close("ddt_lowrank", dense_rows(problem.ddt, shape.rank, problem.stride), expected.ddt_lowrank);
      expect_close("ddt_weight", problem.dweight, expected.ddt_weight);
    });
  }
}

TYPED_TEST(SelectiveScan, AddsToTheGradientOfItsInput) {
  using T = TypeParam;
  Problem<T> problem({2, 9, 20, 0});
  problem.run(default_isa(), ParallelFor());
  std::vector<double> expected = widened(dense_rows(problem.du, 20, problem.u_stride));
  for (double& value : expected) value += 0.5;
  std::fill(problem.du.begin(), problem.du.end(), T{0.5});
  problem.gradient.accumulate_du = true;
  problem.run(default_isa(), ParallelFor());
  expect_close("du", dense_rows(problem.du, 20, problem.u_stride), expected);
}

TEST(SelectiveScanGradient, AgreesWithFiniteDifferences) {
  for (const std::int64_t length : {1, 7, 12, 221}) {
    for (const std::int64_t rank : {0, 2}) {
      SCOPED_TRACE(testing::Message() << length << " tokens, rank " << rank);
      Problem<double> problem({1, length, 3, rank});
      const auto weights = problem.dh;
      const auto loss = [&] {
        std::vector<double> h(weights.size());
        selective_scan_forward(problem.input, h.data(), default_isa(), ParallelFor());
        double sum = 0.0;
        for (std::size_t i = 0; i < h.size(); ++i) sum += h[i] * weights[i];
        return sum;
      };
      std::fill(problem.du.begin(), problem.du.end(), 0.0);
      problem.run(default_isa(), ParallelFor());
      expect_finite_differences("u", problem.u, problem.du, loss);
      expect_finite_differences("b", problem.b, problem.db, loss);
      if (length > 1) expect_finite_differences("a_log", problem.a_log, problem.da_log, loss);
      expect_finite_differences("delta_bias", problem.bias, problem.ddelta_bias, loss);
      if (rank == 0) {
        expect_finite_differences("delta", problem.delta, problem.ddelta, loss);
      } else {
        expect_finite_differences("dt_lowrank", problem.dt, problem.ddt, loss);
        expect_finite_differences("dt_weight", problem.weight, problem.dweight, loss);
      }
    }
  }
}

}  // namespace
}  // namespace spatialmamba::kernels::test
