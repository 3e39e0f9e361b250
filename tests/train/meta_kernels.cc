// What LibTorch's C++ part lacks on its meta device, where tensors have shapes and no values: PyTorch has
// these operators there in Python. Each only says which shapes come out; a tensor of another device is
// refused.
#include <torch/library.h>
#include <torch/torch.h>

#include <array>

namespace spatialmamba::test {
namespace {

using MaybeTensor = std::optional<torch::Tensor>;
using Ints = at::IntArrayRef;

void require_meta(std::initializer_list<MaybeTensor> tensors) {
  for (const MaybeTensor& tensor : tensors) {
    TORCH_CHECK(!tensor || !tensor->defined() || tensor->is_meta(), "a tensor of another device");
  }
}

torch::Tensor relu(const torch::Tensor& x) {
  return at::empty_like(x);
}

torch::Tensor flip(const torch::Tensor& x, Ints /*dimensions*/) {
  return at::empty_like(x);
}

torch::Tensor roll(const torch::Tensor& x, Ints /*shifts*/, Ints /*dimensions*/) {
  return at::empty_like(x);
}

torch::Tensor convolution(const torch::Tensor& x, const torch::Tensor& weight, const MaybeTensor& bias,
                          Ints stride, Ints padding, Ints dilation, bool /*transposed*/,
                          Ints /*output_padding*/, std::int64_t /*groups*/) {
  require_meta({x, weight, bias});
  std::vector<std::int64_t> shape = {x.size(0), weight.size(0)};
  for (std::size_t i = 0; i < 2; ++i) {
    const auto dimension = static_cast<std::int64_t>(i) + 2;
    const std::int64_t reach = dilation[i] * (weight.size(dimension) - 1) + 1;
    shape.push_back((x.size(dimension) + 2 * padding[i] - reach) / stride[i] + 1);
  }
  return at::empty(shape, x.options());
}

std::tuple<torch::Tensor, torch::Tensor, torch::Tensor> convolution_backward(
    const torch::Tensor& dy, const torch::Tensor& x, const torch::Tensor& weight, Ints /*stride*/,
    Ints /*padding*/, Ints /*dilation*/, bool /*transposed*/, Ints /*output_padding*/,
    std::int64_t /*groups*/, std::array<bool, 3> wanted) {
  require_meta({dy, x, weight});
  return {wanted[0] ? at::empty_like(x) : torch::Tensor(),
          wanted[1] ? at::empty_like(weight) : torch::Tensor(),
          wanted[2] ? at::empty({weight.size(0)}, x.options()) : torch::Tensor()};
}

std::tuple<torch::Tensor, torch::Tensor, torch::Tensor> batch_norm(
    const torch::Tensor& x, const MaybeTensor& weight, const MaybeTensor& bias, const MaybeTensor& mean,
    const MaybeTensor& variance, bool /*training*/, double /*momentum*/, double /*epsilon*/) {
  require_meta({x, weight, bias, mean, variance});
  return {at::empty_like(x), at::empty({x.size(1)}, x.options()), at::empty({x.size(1)}, x.options())};
}

std::tuple<torch::Tensor, torch::Tensor, torch::Tensor> batch_norm_backward(
    const torch::Tensor& dy, const torch::Tensor& x, const MaybeTensor& weight, const MaybeTensor& mean,
    const MaybeTensor& variance, const MaybeTensor& saved_mean, const MaybeTensor& saved_deviation,
    bool /*training*/, double /*epsilon*/, std::array<bool, 3> /*wanted*/) {
  require_meta({dy, x, weight, mean, variance, saved_mean, saved_deviation});
  return {at::empty_like(x), at::empty({x.size(1)}, x.options()), at::empty({x.size(1)}, x.options())};
}

/// The shape of the means of what is normalised.
std::vector<std::int64_t> rows_of(const torch::Tensor& x, Ints normalised) {
  std::vector<std::int64_t> shape = x.sizes().vec();
  for (std::size_t i = shape.size() - normalised.size(); i < shape.size(); ++i) shape[i] = 1;
  return shape;
}

std::tuple<torch::Tensor, torch::Tensor, torch::Tensor> layer_norm(const torch::Tensor& x, Ints normalised,
                                                                   const MaybeTensor& weight,
                                                                   const MaybeTensor& bias,
                                                                   double /*epsilon*/) {
  require_meta({x, weight, bias});
  const std::vector<std::int64_t> rows = rows_of(x, normalised);
  return {at::empty_like(x), at::empty(rows, x.options()), at::empty(rows, x.options())};
}

std::tuple<torch::Tensor, torch::Tensor, torch::Tensor> layer_norm_backward(
    const torch::Tensor& dy, const torch::Tensor& x, Ints normalised, const torch::Tensor& mean,
    const torch::Tensor& deviation, const MaybeTensor& weight, const MaybeTensor& bias,
    std::array<bool, 3> /*wanted*/) {
  require_meta({dy, x, mean, deviation, weight, bias});
  return {at::empty_like(x), at::empty(normalised, x.options()), at::empty(normalised, x.options())};
}

TORCH_LIBRARY_IMPL(aten, Meta, library) {
  library.impl("relu", relu);
  library.impl("flip", flip);
  library.impl("roll", roll);
  library.impl("convolution_overrideable", convolution);
  library.impl("convolution_backward_overrideable", convolution_backward);
  library.impl("native_batch_norm", batch_norm);
  library.impl("native_batch_norm_backward", batch_norm_backward);
  library.impl("native_layer_norm", layer_norm);
  library.impl("native_layer_norm_backward", layer_norm_backward);
}

}  // namespace
}  // namespace spatialmamba::test
