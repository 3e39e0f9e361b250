#include "nn/functions/checkpoint.h"

#include "nn/functions/node.h"

namespace spatialmamba::nn {
namespace {

using Rerun = std::function<torch::Tensor(const torch::Tensor&)>;

class Checkpoint : public torch::autograd::Function<Checkpoint> {
 public:
  static torch::Tensor forward(AutogradContext* ctx, const Rerun& rerun, const torch::Tensor& x,
                               at::TensorList parameters) {
    variable_list saved{x};
    saved.insert(saved.end(), parameters.begin(), parameters.end());
    ctx->save_for_backward(saved);
    keep(ctx, rerun);
    const torch::NoGradGuard no_grad;
    return rerun(x);
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& gradients) {
    variable_list inputs = ctx->get_saved_variables();
    inputs[0] = inputs[0].detach().requires_grad_();
    const torch::AutoGradMode with_grad(true);
    const torch::Tensor y = kept<Rerun>(ctx)(inputs[0]);

    variable_list wanted;  // a frozen parameter gets none
    for (const torch::Tensor& input : inputs) {
      if (input.requires_grad()) wanted.push_back(input);
    }
    const variable_list found = torch::autograd::grad({y}, wanted, gradients);
    variable_list result{torch::Tensor()};  // for the function itself
    auto next = found.begin();
    for (const torch::Tensor& input : inputs)
      result.push_back(input.requires_grad() ? *next++ : torch::Tensor());
    return result;
  }
};

}  // namespace

torch::Tensor checkpoint(std::function<torch::Tensor(const torch::Tensor&)> function, const torch::Tensor& x,
                         const std::vector<torch::Tensor>& parameters) {
  return Checkpoint::apply(function, x, at::TensorList(parameters));
}

}  // namespace spatialmamba::nn
