#include "nn/functions/pixel_cross_entropy.h"

#include <span>

#include "kernels/pixel_cross_entropy.h"
#include "nn/functions/node.h"

namespace spatialmamba::nn {
namespace {

/// A value whose gradient is known when it is made.
class Known : public torch::autograd::Function<Known> {
 public:
  static torch::Tensor forward(AutogradContext* ctx, const torch::Tensor& /*x*/, const torch::Tensor& value,
                               const torch::Tensor& gradient) {
    ctx->save_for_backward({gradient});
    return value;
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& gradients) {
    return {gradients[0] * ctx->get_saved_variables()[0], {}, {}};
  }
};

void check_labels(const torch::Tensor& labels, std::int64_t classes, std::int64_t unknown) {
  const std::span<const std::int64_t> all(labels.const_data_ptr<std::int64_t>(),
                                          static_cast<std::size_t>(labels.numel()));
  for (const std::int64_t label : all) {
    if ((label < 0 || label >= classes) && label != unknown) {
      fail("a pixel has the label {}, expected 0 to {}, or {} where none is known", label, classes - 1,
           unknown);
    }
  }
}

}  // namespace

PixelCrossEntropy pixel_cross_entropy(const torch::Tensor& scores, const torch::Tensor& labels,
                                      std::int64_t unknown, kernels::Isa isa) {
  if (!scores.is_cpu()) fail("the loss of pixels is for CPUs only: segmentation does not train on a GPU");
  const torch::Tensor dense = scores.contiguous();
  const torch::Tensor truth = labels.contiguous();
  check_labels(truth, dense.size(3), unknown);
  const bool differentiated = torch::GradMode::is_enabled() && dense.requires_grad();
  const torch::Tensor gradient = differentiated ? torch::empty_like(dense) : torch::Tensor();
  return with_type(dense, [&]<typename T>(T) {
    const kernels::PixelScores<T> input{
        dense.size(0),  dense.size(1), dense.size(2), dense.size(3),
        read<T>(dense), truth.size(1), truth.size(2), read<std::int64_t>(truth),
        unknown};
    const auto total = kernels::pixel_cross_entropy(input, write<T>(gradient), isa, torch_parallel());
    const torch::Tensor sum = torch::tensor(total.sum, dense.options().requires_grad(false));
    return PixelCrossEntropy{differentiated ? Known::apply(dense, sum, gradient) : sum, total.known,
                             total.right};
  });
}

}  // namespace spatialmamba::nn
