#include "nn/functions/synchronised_norm.h"

#include "nn/functions/node.h"

namespace spatialmamba::nn {
namespace {

/// The sum over all processes. What each process does with it flows back to the values of all.
class Sum : public torch::autograd::Function<Sum> {
 public:
  static torch::Tensor forward(AutogradContext* ctx, const torch::Tensor& values,
                               const SumOverProcesses& sum) {
    keep(ctx, sum);
    return sum_of(values, sum);
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& gradients) {
    return {sum_of(gradients[0], kept<SumOverProcesses>(ctx)), torch::Tensor()};
  }

 private:
  static torch::Tensor sum_of(const torch::Tensor& values, const SumOverProcesses& sum) {
    torch::Tensor total = values.contiguous().clone();
    sum(total);
    return total;
  }
};

}  // namespace

SynchronisedNorm synchronised_norm(const torch::Tensor& x, const torch::Tensor& weight,
                                   const torch::Tensor& bias, double epsilon, const SumOverProcesses& sum) {
  const torch::Tensor rows = x.reshape({-1, x.size(-1)});
  const torch::Tensor count = torch::full({1}, rows.size(0), rows.options().requires_grad(false));
  const torch::Tensor first = Sum::apply(torch::cat({rows.sum(0), count}), sum);
  const torch::Tensor values = first[-1].detach();  // a tensor, lest a device be waited for
  const torch::Tensor mean = first.narrow(0, 0, rows.size(1)) / values;
  const torch::Tensor centred = rows - mean;  // two passes: no cancellation
  const torch::Tensor squares = Sum::apply(centred.square().sum(0), sum);
  const torch::Tensor y = centred * torch::rsqrt(squares / values + epsilon) * weight + bias;
  return {y.view(x.sizes()), mean.detach(), squares.detach() / (values - 1.0)};
}

}  // namespace spatialmamba::nn
