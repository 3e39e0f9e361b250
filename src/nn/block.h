#pragma once

#include <torch/torch.h>

#include <optional>

#include "nn/compute.h"
#include "nn/functions/state_mixing.h"
#include "nn/layers.h"

namespace spatialmamba::nn {

/// The kernels of structure-aware state fusion: 3x3 with dilation 1, 3 and 5, and their weights.
class StateFusionImpl : public torch::nn::Module {
 public:
  explicit StateFusionImpl(std::int64_t channels);

  torch::Tensor kernel_3;    ///< (E, 1, 3, 3), dilation 1
  torch::Tensor kernel_3_1;  ///< dilation 3
  torch::Tensor kernel_3_2;  ///< dilation 5
  torch::Tensor alpha;       ///< (3)
};
TORCH_MODULE(StateFusion);

/// The structure-aware SSM (section 4 of the paper): a state scan over the tokens in row-major order, fusion
/// of each state with its neighbours in the map, and the gate.
class StructureAwareSsmImpl : public torch::nn::Module {
 public:
  StructureAwareSsmImpl(std::int64_t dim, ComputePtr compute);

  /// The three steps, so that what surrounds the layer joins its products: the LayerNorm in front, the
  /// residual and the drop path behind. x (N, H, W, dim) -> in_proj(norm(x)), (N, H, W, 4 dim)
  torch::Tensor project_in(const torch::Tensor& x, const AffineImpl& norm) const;
  /// -> (N, H, W, 2 dim). Fills `states` where given.
  torch::Tensor mix(const torch::Tensor& xz, FusionStates* states = nullptr) const;
  /// -> residual + scale · out_proj(y); scale (N) or undefined.
  torch::Tensor project_out(const torch::Tensor& y, const torch::Tensor& residual,
                            const torch::Tensor& scale) const;

 private:
  ComputePtr compute_;
  torch::Tensor x_proj_weight_;    ///< (R + 2, E): rows for the low-rank time step, B and C
  torch::Tensor dt_projs_weight_;  ///< (E, R)
  torch::Tensor dt_projs_bias_;    ///< (E)
  torch::Tensor a_logs_;           ///< (E, 1)
  torch::Tensor ds_;               ///< (E)
  Affine in_proj_{nullptr};
  Affine conv2d_{nullptr};
  StateFusion state_fusion_{nullptr};
  Affine out_norm_{nullptr};
  Affine out_proj_{nullptr};
};
TORCH_MODULE(StructureAwareSsm);

/// fc1, exact GELU, fc2.
class MlpImpl : public torch::nn::Module {
 public:
  explicit MlpImpl(std::int64_t dim);

  Affine fc1{nullptr};
  Affine fc2{nullptr};
};
TORCH_MODULE(Mlp);

/// One residual block.
class BlockImpl : public torch::nn::Module {
 public:
  BlockImpl(std::int64_t dim, double drop_path_rate, ComputePtr compute);

  /// What each sample's two residual branches are multiplied with, (N) each; undefined: 1.
  struct DropPath {
    torch::Tensor attention;
    torch::Tensor mlp;
  };
  /// 0 or 1 / (1 - rate) for each sample in training, undefined otherwise.
  DropPath draw_drop_path(std::int64_t samples, const std::optional<at::Generator>& generator) const;

  /// x (N, H, W, dim) -> the same shape.
  torch::Tensor forward(const torch::Tensor& x, const DropPath& drop_path = {},
                        FusionStates* states = nullptr) const;

 private:
  double drop_path_rate_;
  ComputePtr compute_;
  Affine cpe1_{nullptr};
  Affine ln_1_{nullptr};
  StructureAwareSsm self_attention_{nullptr};
  Affine cpe2_{nullptr};
  Affine ln_2_{nullptr};
  Mlp mlp_{nullptr};
};
TORCH_MODULE(Block);

}  // namespace spatialmamba::nn
