#include "nn/functions/checkpoint.h"

#include <memory>

namespace spatialmamba::nn {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// What an autograd node keeps beside tensors.
struct Rerun : torch::CustomClassHolder {
  std::function<torch::Tensor(const torch::Tensor&)> function;
};

class Checkpoint : public torch::autograd::Function<Checkpoint> {
 public:
  static torch::Tensor forward(AutogradContext* ctx, const c10::intrusive_ptr<Rerun>& rerun,
                               const torch::Tensor& x, at::TensorList parameters) {
    variable_list saved{x};
    saved.insert(saved.end(), parameters.begin(), parameters.end());
    ctx->save_for_backward(saved);
    ctx->saved_data["rerun"] = c10::IValue::make_capsule(rerun);
    const torch::NoGradGuard no_grad;
    return rerun->function(x);
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& gradients) {
    const auto capsule = ctx->saved_data["rerun"].toCapsule();
    const auto& rerun = static_cast<const Rerun&>(*capsule);
    variable_list inputs = ctx->get_saved_variables();
    inputs[0] = inputs[0].detach().requires_grad_();
    const torch::AutoGradMode with_grad(true);
    const torch::Tensor y = rerun.function(inputs[0]);

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
  auto rerun = c10::make_intrusive<Rerun>();
  rerun->function = std::move(function);
  return Checkpoint::apply(rerun, x, at::TensorList(parameters));
}

}  // namespace spatialmamba::nn
