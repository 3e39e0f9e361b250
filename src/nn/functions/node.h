#pragma once

#include <torch/torch.h>

#include <optional>
#include <utility>

#include "base/error.h"
#include "nn/compute.h"
#include "nn/parallel.h"

namespace spatialmamba::nn {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// Anything that an autograd node keeps for backward beside tensors.
template <typename T>
struct Kept : torch::CustomClassHolder {
  explicit Kept(T kept) : value(std::move(kept)) {}
  T value;
};

/// One such value per node.
template <typename T>
void keep(AutogradContext* ctx, T value) {
  ctx->saved_data["kept"] = c10::IValue::make_capsule(c10::make_intrusive<Kept<T>>(std::move(value)));
}

template <typename T>
T kept(AutogradContext* ctx) {
  return static_cast<const Kept<T>&>(*ctx->saved_data["kept"].toCapsule()).value;
}

/// body(float{}) or body(double{}), by the type of the tensor.
template <typename Body>
auto with_type(const torch::Tensor& tensor, const Body& body) {
  switch (tensor.scalar_type()) {
    case torch::kFloat32:
      return body(float{});
    case torch::kFloat64:
      return body(double{});
    default:
      fail("the model computes in float32 or float64, not in {}", c10::toString(tensor.scalar_type()));
  }
}

/// How many vectors there are along the last dimension.
inline std::int64_t rows_of(const torch::Tensor& tensor) {
  return tensor.numel() / tensor.size(-1);
}

inline kernels::Multiply multiply_of(Precision precision) {
  switch (precision) {
    case Precision::bf16:
      return kernels::Multiply::bf16;
    case Precision::fp16:
      return kernels::Multiply::fp16;
    case Precision::full:
      break;
  }
  return kernels::Multiply::full;
}

inline kernels::GemmContext gemm_context(Compute& compute) {
  return {compute.isa, torch_parallel(), compute.scratch, multiply_of(compute.precision)};
}

/// A tensor (..., C) of another last dimension.
inline torch::Tensor empty_rows(const torch::Tensor& like, std::int64_t channels) {
  std::vector<std::int64_t> shape = like.sizes().vec();
  shape.back() = channels;
  return torch::empty(shape, like.options());
}

/// `scale` (N) shaped so that it multiplies a tensor (N, ...).
inline torch::Tensor per_sample(const torch::Tensor& scale, const torch::Tensor& tensor) {
  std::vector<std::int64_t> shape(static_cast<std::size_t>(tensor.dim()), 1);
  shape[0] = scale.size(0);
  return scale.view(shape);
}

/// An autograd function takes what may be undefined as an optional.
inline std::optional<torch::Tensor> if_defined(const torch::Tensor& tensor) {
  return tensor.defined() ? std::optional(tensor) : std::nullopt;
}

/// nullptr for an undefined tensor.
template <typename T>
const T* read(const torch::Tensor& tensor) {
  return tensor.defined() ? tensor.const_data_ptr<T>() : nullptr;
}
template <typename T>
T* write(const torch::Tensor& tensor) {
  return tensor.defined() ? tensor.mutable_data_ptr<T>() : nullptr;
}

}  // namespace spatialmamba::nn
