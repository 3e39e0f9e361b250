#include "nn/state_dict.h"

#include <cstring>

#include "base/error.h"
#include "nn/initialise.h"

namespace spatialmamba::nn {
namespace {

torch::ScalarType torch_type(DType dtype) {
  switch (dtype) {
    case DType::f64:
      return torch::kFloat64;
    case DType::f32:
      return torch::kFloat32;
    case DType::f16:
      return torch::kFloat16;
    case DType::bf16:
      return torch::kBFloat16;
    case DType::i64:
      return torch::kInt64;
    case DType::i32:
      return torch::kInt32;
    case DType::i16:
      return torch::kInt16;
    case DType::i8:
      return torch::kInt8;
    case DType::u8:
      return torch::kUInt8;
    case DType::boolean:
      return torch::kBool;
  }
  fail("a tensor has an unknown element type");
}

DType own_type(torch::ScalarType type) {
  for (const DType dtype : {DType::f64, DType::f32, DType::f16, DType::bf16, DType::i64, DType::i32,
                            DType::i16, DType::i8, DType::u8, DType::boolean}) {
    if (torch_type(dtype) == type) return dtype;
  }
  fail("a tensor of type {} cannot be written to a weights file", c10::toString(type));
}

bool is_head(std::string_view entry) {
  return entry.starts_with("head.");
}

void drop_head(std::vector<std::string>& names) {
  std::erase_if(names, is_head);
}

}  // namespace

torch::Tensor to_torch(const spatialmamba::Tensor& tensor) {
  torch::Tensor copy = torch::empty(tensor.shape(), torch_type(tensor.dtype()));
  if (tensor.bytes() > 0) std::memcpy(copy.data_ptr(), tensor.raw(), tensor.bytes());
  return copy;
}

spatialmamba::Tensor from_torch(const torch::Tensor& tensor) {
  const torch::Tensor dense = tensor.detach().contiguous();
  spatialmamba::Tensor copy(own_type(dense.scalar_type()), Shape(dense.sizes().begin(), dense.sizes().end()));
  if (copy.bytes() > 0) std::memcpy(copy.mutable_raw(), dense.const_data_ptr(), copy.bytes());
  return copy;
}

std::vector<std::pair<std::string, torch::Tensor>> named_state(const SpatialMambaImpl& model) {
  const auto parameters = model.named_parameters();
  const auto buffers = model.named_buffers();
  std::vector<std::pair<std::string, torch::Tensor>> state;
  for (const TensorSpec& spec : tensor_specs(model.architecture())) {
    const torch::Tensor* found = parameters.find(spec.name);
    state.emplace_back(spec.name, found != nullptr ? *found : buffers[spec.name]);
  }
  return state;
}

LoadReport load_weights(SpatialMambaImpl& model, const TensorMap& tensors, const std::string& source,
                        const LoadOptions& options) {
  LoadReport report{.mismatch = compare(model.architecture(), tensors)};
  WeightsMismatch errors = report.mismatch;
  if (options.reset_head) {
    report.head_was_reset =
        std::ranges::any_of(errors.missing, is_head) || std::ranges::any_of(errors.misshaped, is_head);
    drop_head(errors.missing);
    drop_head(errors.misshaped);
  }
  if (options.allow_missing) errors.missing.clear();
  if (options.allow_unexpected) errors.unexpected.clear();
  if (!errors.empty()) {
    fail("{}: the weights do not fit model {}\n{}", source, model.architecture().variant, errors.describe());
  }

  const torch::NoGradGuard no_grad;
  for (auto& [name, parameter] : named_state(model)) {
    const spatialmamba::Tensor* tensor = tensors.find(name);
    if (tensor == nullptr || (report.head_was_reset && is_head(name))) continue;
    parameter.copy_(to_torch(*tensor));
  }
  if (report.head_was_reset) initialise_head(model, options.seed);
  return report;
}

Weights to_weights(const SpatialMambaImpl& model) {
  Weights weights;
  for (const auto& [name, tensor] : named_state(model)) weights.tensors.add(name, from_torch(tensor));
  weights.metadata["task"] = "classification";
  weights.metadata["variant"] = model.architecture().variant;
  return weights;
}

}  // namespace spatialmamba::nn
