// The selective scan (state form) for PyTorch on a CPU: the operator that the official code has as a CUDA extension
// only. Layout [batch, channels, length] as there, so that the peer runs the official data layout.
//
//   d_t = softplus(delta_t + bias),  h_t = exp(d_t A) h_{t-1} + d_t B_t u_t,  A = -exp(A_log)
#include <torch/extension.h>

#include <cmath>
#include <vector>

namespace {

constexpr float kSoftplusThreshold = 20.0f;

struct Sizes {
  int64_t batch, channels, length;
};

Sizes sizes_of(const torch::Tensor& u) { return {u.size(0), u.size(1), u.size(2)}; }

// Pass 1 has no dependence along the sequence and is left to the compiler's vectoriser; pass 2 is the recurrence.
void decay_and_step(const float* delta, float bias, float a, int64_t length, float* step, float* decay) {
#pragma omp simd
  for (int64_t t = 0; t < length; ++t) {
    const float x = delta[t] + bias;
    const float d = x > kSoftplusThreshold ? x : std::log(1.0f + std::exp(x));
    step[t] = d;
    decay[t] = std::exp(d * a);
  }
}

torch::Tensor forward(const torch::Tensor& u, const torch::Tensor& delta, const torch::Tensor& a, const torch::Tensor& b,
                      const torch::Tensor& bias) {
  const auto [batch, channels, length] = sizes_of(u);
  auto h = torch::empty_like(u);
  const float *up = u.data_ptr<float>(), *dp = delta.data_ptr<float>(), *bp = b.data_ptr<float>();
  const float *ap = a.data_ptr<float>(), *biasp = bias.data_ptr<float>();
  float* hp = h.data_ptr<float>();
  at::parallel_for(0, batch * channels, 1, [&](int64_t begin, int64_t end) {
    std::vector<float> step(length), decay(length);
    for (int64_t row = begin; row < end; ++row) {
      const int64_t c = row % channels;
      const float *x = up + row * length, *bt = bp + row / channels * length;
      float* out = hp + row * length;
      decay_and_step(dp + row * length, biasp[c], ap[c], length, step.data(), decay.data());
#pragma omp simd
      for (int64_t t = 0; t < length; ++t) out[t] = step[t] * bt[t] * x[t];
      for (int64_t t = 1; t < length; ++t) out[t] += decay[t] * out[t - 1];
    }
  });
  return h;
}

std::vector<torch::Tensor> backward(const torch::Tensor& dh, const torch::Tensor& h, const torch::Tensor& u,
                                    const torch::Tensor& delta, const torch::Tensor& a, const torch::Tensor& b,
                                    const torch::Tensor& bias) {
  const auto [batch, channels, length] = sizes_of(u);
  auto du = torch::empty_like(u), ddelta = torch::empty_like(u);
  auto da_rows = torch::zeros({batch, channels}, u.options()), dbias_rows = torch::zeros({batch, channels}, u.options());
  auto db = torch::zeros({batch, length}, u.options());
  const float *up = u.data_ptr<float>(), *dp = delta.data_ptr<float>(), *bp = b.data_ptr<float>();
  const float *ap = a.data_ptr<float>(), *biasp = bias.data_ptr<float>(), *hp = h.data_ptr<float>(), *gp = dh.data_ptr<float>();
  float *dup = du.data_ptr<float>(), *ddp = ddelta.data_ptr<float>(), *dbp = db.data_ptr<float>();
  float *dap = da_rows.data_ptr<float>(), *dbiasp = dbias_rows.data_ptr<float>();
  at::parallel_for(0, batch, 1, [&](int64_t begin, int64_t end) {
    std::vector<float> step(length), decay(length), g(length);
    for (int64_t n = begin; n < end; ++n) {
      for (int64_t c = 0; c < channels; ++c) {
        const int64_t row = n * channels + c, at = row * length;
        decay_and_step(dp + at, biasp[c], ap[c], length, step.data(), decay.data());
        g[length - 1] = gp[at + length - 1];
        for (int64_t t = length - 2; t >= 0; --t) g[t] = gp[at + t] + decay[t + 1] * g[t + 1];
        const float *x = up + at, *bt = bp + n * length, *state = hp + at;
        float *dx = dup + at, *dd = ddp + at, *dbt = dbp + n * length;
        float da = 0, dbias = 0;
#pragma omp simd reduction(+ : da, dbias)
        for (int64_t t = 0; t < length; ++t) {
          const float previous = t > 0 ? state[t - 1] : 0.0f;
          const float through = g[t] * previous * decay[t];
          dx[t] = g[t] * step[t] * bt[t];
          dbt[t] += g[t] * step[t] * x[t];
          da += through * step[t];
          const float dstep = through * ap[c] + g[t] * bt[t] * x[t];
          dd[t] = dstep / (1.0f + std::exp(-(dp[at + t] + biasp[c])));
          dbias += dd[t];
        }
        dap[row] = da;
        dbiasp[row] = dbias;
      }
    }
  });
  return {du, ddelta, da_rows.sum(0), db, dbias_rows.sum(0)};
}

}  // namespace

PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) {
  m.def("forward", &forward);
  m.def("backward", &backward);
}
