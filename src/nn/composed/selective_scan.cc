#include "nn/composed/selective_scan.h"

#include "nn/functions/node.h"

namespace spatialmamba::nn::composed {
namespace {

/// Tokens that follow one another in a loop. Chunks go side by side, and the chunks' last states are such a
/// sequence again: a length L takes about 2 · kChunk · log L / log kChunk operators, each over all chunks.
constexpr std::int64_t kChunk = 16;

/// Steps from `begin` on, one by one. Along dimension `along` of a and h.
void step_through(const torch::Tensor& a, const torch::Tensor& h, std::int64_t along, std::int64_t begin) {
  for (std::int64_t t = std::max<std::int64_t>(begin, 1); t < a.size(along); ++t) {
    h.select(along, t).addcmul_(a.select(along, t), h.select(along, t - 1));
  }
}

/// h_t = a_t h_{t-1} + b_t along dimension 1, from 0, where h holds b. Stable for 0 <= a <= 1, as products of
/// several a only become smaller.
void recur(const torch::Tensor& a, const torch::Tensor& h) {
  const std::int64_t chunks = a.size(1) / kChunk;
  if (chunks < 2) return step_through(a, h, 1, 1);
  const auto in_chunks = [&](const torch::Tensor& x) {
    return x.narrow(1, 0, chunks * kChunk).view({x.size(0), chunks, kChunk, x.size(2)});
  };
  const torch::Tensor states = in_chunks(h);
  step_through(in_chunks(a), states, 2, 1);  // as though each chunk began with 0

  const torch::Tensor decay = in_chunks(a).clone();  // from before the chunk to each token
  for (std::int64_t t = 1; t < kChunk; ++t) decay.select(2, t).mul_(decay.select(2, t - 1));
  const torch::Tensor last = states.select(2, kChunk - 1).clone();
  recur(decay.select(2, kChunk - 1), last);
  states.narrow(1, 1, chunks - 1)
      .addcmul_(decay.narrow(1, 1, chunks - 1), last.narrow(1, 0, chunks - 1).unsqueeze(2));
  step_through(a, h, 1, chunks * kChunk);
}

/// g_t = dh_t + a_{t+1} g_{t+1}: what each token's state contributes through all later ones.
torch::Tensor recur_backwards(const torch::Tensor& a, const torch::Tensor& dh) {
  const torch::Tensor g = dh.flip(1);
  const torch::Tensor next = a.roll(-1, 1).flip(1);  // its first is multiplied with nothing
  recur(next, g);
  return g.flip(1);
}

class SelectiveScan : public torch::autograd::Function<SelectiveScan> {
 public:
  static torch::Tensor forward(AutogradContext* ctx, const torch::Tensor& delta, const torch::Tensor& a_log,
                               const torch::Tensor& x, const torch::Tensor& b) {
    const torch::Tensor step = torch::softplus(delta);
    const torch::Tensor h = step * x * b;
    recur(decay_of(step, a_log), h);
    ctx->save_for_backward({delta, a_log, x, b, h});
    return h;
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& gradients) {
    const variable_list saved = ctx->get_saved_variables();
    const torch::Tensor &delta = saved[0], &a_log = saved[1], &x = saved[2], &b = saved[3], &h = saved[4];
    const torch::Tensor step = torch::softplus(delta);
    const torch::Tensor decay = decay_of(step, a_log);
    const torch::Tensor g = recur_backwards(decay, gradients[0]);
    const torch::Tensor gx = g * x;

    // Of step · rate, whose exponential the decay is; the first token decays nothing.
    const std::int64_t later = h.size(1) - 1;
    torch::Tensor dexponent = decay * g;
    dexponent.narrow(1, 1, later).mul_(h.narrow(1, 0, later));
    dexponent.select(1, 0).zero_();
    const torch::Tensor rate = rate_of(a_log);
    const torch::Tensor da_log = ((dexponent * step).sum(at::IntArrayRef({0, 1})) * rate).view(a_log.sizes());
    const torch::Tensor dstep = torch::addcmul(dexponent * rate, gx, b);
    const torch::Tensor db = (gx * step).sum(-1, /*keepdim=*/true);
    return {at::softplus_backward(dstep, delta, /*beta=*/1, /*threshold=*/20), da_log, g * step * b, db};
  }

 private:
  static torch::Tensor rate_of(const torch::Tensor& a_log) { return -torch::exp(a_log.flatten()); }
  static torch::Tensor decay_of(const torch::Tensor& step, const torch::Tensor& a_log) {
    return torch::exp(step * rate_of(a_log));
  }
};

}  // namespace

torch::Tensor selective_scan(const torch::Tensor& delta, const torch::Tensor& a_log, const torch::Tensor& x,
                             const torch::Tensor& b) {
  return SelectiveScan::apply(delta, a_log, x, b);
}

}  // namespace spatialmamba::nn::composed
