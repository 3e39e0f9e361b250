#include "nn/functions/depthwise_conv.h"

#include "nn/composed/operators.h"
#include "nn/functions/depthwise.h"

namespace spatialmamba::nn {
namespace {

struct DepthwiseKept {
  ComputePtr compute;
  DepthwiseOptions options;
};

class DepthwiseConv : public torch::autograd::Function<DepthwiseConv> {
 public:
  static torch::Tensor forward(AutogradContext* ctx, const torch::Tensor& x, const torch::Tensor& weight,
                               const torch::Tensor& bias, const DepthwiseOptions& options,
                               const ComputePtr& compute) {
    ctx->save_for_backward({x, weight, bias});
    keep(ctx, DepthwiseKept{compute, options});
    return depthwise(x, weight, bias, options, *compute);
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& gradients) {
    const auto node = kept<DepthwiseKept>(ctx);
    const variable_list saved = ctx->get_saved_variables();
    const torch::Tensor dx = torch::empty_like(saved[0]);
    const DepthwiseGradients d = depthwise_backward(gradients[0].contiguous(), saved[0], saved[1], saved[2],
                                                    node.options, dx, *node.compute);
    return {dx, d.weight, d.bias, {}, {}};
  }
};

}  // namespace

torch::Tensor depthwise_conv(const torch::Tensor& x, const torch::Tensor& weight, const torch::Tensor& bias,
                             const DepthwiseOptions& options, const ComputePtr& compute) {
  if (is_composed(compute->operators, x)) return composed::depthwise_conv(x, weight, bias, options);
  return DepthwiseConv::apply(x.contiguous(), weight, bias, options, compute);
}

}  // namespace spatialmamba::nn
