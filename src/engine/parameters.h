#pragma once

#include <span>
#include <string>
#include <vector>

#include "kernels/partial_sums.h"
#include "kernels/winograd.h"
#include "spatialmamba/tensor.h"

namespace spatialmamba::engine {

/// The parameters of a model by name, as floats, whatever type the file keeps them in.
class Parameters {
 public:
  /// `source` stands for the tensors in messages.
  Parameters(const TensorMap& tensors, std::string source) : tensors_(tensors), source_(std::move(source)) {}

  /// Throws Error for a tensor of integers and for values that are not finite.
  std::vector<float> operator[](const std::string& name) const;
  bool contains(const std::string& name) const { return tensors_.contains(name); }
  /// Size of a dimension of a tensor.
  std::int64_t size(const std::string& name, std::size_t dimension) const {
    return tensors_.at(name).shape()[dimension];
  }

 private:
  const TensorMap& tensors_;
  std::string source_;
};

/// A convolution or linear layer [outputs, inputs] with its bias.
struct Affine {
  std::vector<float> weights;
  std::vector<float> bias;  ///< [outputs]
};

/// The layer `name`; its bias is 0 where it has none. With `norm`, the BatchNorm of that name is folded in:
///   w' = w · gamma / sqrt(var + eps),  b' = (b - mean) · gamma / sqrt(var + eps) + beta
Affine read_affine(const Parameters& parameters, const std::string& name, const std::string& norm = {});

/// Folds the gain and the shift of a LayerNorm in front into the layer: w' = w · gamma, b' = b + w beta.
void fold_norm(Affine& affine, const std::vector<float>& gamma, const std::vector<float>& beta);

/// Outputs [begin, end) of the layer alone.
Affine part_of(const Affine& affine, std::size_t begin, std::size_t end);

/// Sizes of a dense 3x3 convolution, and what they are padded to.
struct ConvSizes {
  std::int64_t outputs;
  std::int64_t inputs;
  std::int64_t padded_outputs;
  std::int64_t padded_inputs;
};

/// Weights [O, I, 3, 3] with zeros for the outputs and inputs that are padding.
Affine padded(const Affine& affine, const ConvSizes& sizes);

/// Weights [O, I, 3, 3] as [O][3][3][I], to meet the pixels of channels-last images in their order.
Affine channels_last(const Affine& affine);

/// What stands at one place of the transformed kernels of a 3x3 convolution [O, I, 3, 3], for some of the
/// inputs alone, as [O][inputs]; without bias.
Affine transformed_kernel(const Affine& affine, kernels::RowRange inputs, kernels::WinogradTile tile,
                          std::int64_t row, std::int64_t column);

/// Those outputs of a 3x3 convolution [O, I, 3, 3] tap by tap, for some of the inputs alone, as
/// [3][3][outputs][inputs]; without bias.
Affine kernel_taps(const Affine& affine, kernels::RowRange outputs, kernels::RowRange inputs);

/// A linear layer that reads [C][bins] as one that reads [bins][C].
Affine bins_first(const Affine& affine, std::int64_t bins);

/// A 2x2 convolution transposed with stride 2, weights [I, O, 2, 2], as a linear layer whose outputs are
/// [2][2][O].
Affine transposed_2x2(const Parameters& parameters, const std::string& name);

}  // namespace spatialmamba::engine
