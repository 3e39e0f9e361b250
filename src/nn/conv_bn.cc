#include "nn/conv_bn.h"

#include "nn/functions/linear.h"
#include "nn/functions/maps.h"

namespace spatialmamba::nn {
ConvBnImpl::ConvBnImpl(std::int64_t in, std::int64_t out, std::int64_t size, ComputePtr compute)
    : compute_(std::move(compute)) {
  conv = register_module("conv", Affine(std::vector<std::int64_t>{out, in, size, size}, false));
  bn = register_module("bn", BatchNorm(out));
}

torch::Tensor ConvBnImpl::forward(const torch::Tensor& x) {
  const bool pointwise = conv->weight.size(2) == 1;
  const torch::Tensor y =
      pointwise ? linear(x, conv->weight, {}, false, compute_) : dense_conv(x, conv->weight);
  return torch::relu(bn(y));
}

}  // namespace spatialmamba::nn
