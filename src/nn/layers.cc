#include "nn/layers.h"

#include "spatialmamba/architecture.h"

namespace spatialmamba::nn {

AffineImpl::AffineImpl(at::IntArrayRef weight_shape, bool with_bias) {
  weight = register_parameter("weight", torch::empty(weight_shape));
  if (with_bias) bias = register_parameter("bias", torch::empty({weight_shape[0]}));
}

BatchNormImpl::BatchNormImpl(std::int64_t channels) {
  weight = register_parameter("weight", torch::empty({channels}));
  bias = register_parameter("bias", torch::empty({channels}));
  running_mean = register_buffer("running_mean", torch::zeros({channels}));
  running_var = register_buffer("running_var", torch::ones({channels}));
  num_batches_tracked = register_buffer("num_batches_tracked", torch::zeros({}, torch::kInt64));
}

torch::Tensor BatchNormImpl::forward(const torch::Tensor& x) {
  if (is_training()) num_batches_tracked.add_(1);
  if (is_training() && sum_over_processes) return forward_synchronised(x);
  const torch::Tensor planes = x.permute({0, 3, 1, 2});  // channels-last strides: no copy
  return at::batch_norm(planes, weight, bias, running_mean, running_var, is_training(), kBatchNormMomentum,
                        kNormEpsilon, false)
      .permute({0, 2, 3, 1});
}

torch::Tensor BatchNormImpl::forward_synchronised(const torch::Tensor& x) {
  const SynchronisedNorm norm = synchronised_norm(x, weight, bias, kNormEpsilon, sum_over_processes);
  const torch::NoGradGuard no_grad;
  running_mean.lerp_(norm.mean, kBatchNormMomentum);
  running_var.lerp_(norm.variance, kBatchNormMomentum);
  return norm.y;
}

}  // namespace spatialmamba::nn
