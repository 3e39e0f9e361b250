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
  const torch::Tensor dense = tensor.detach().cpu().contiguous();
  spatialmamba::Tensor copy(own_type(dense.scalar_type()), Shape(dense.sizes().begin(), dense.sizes().end()));
  if (copy.bytes() > 0) std::memcpy(copy.mutable_raw(), dense.const_data_ptr(), copy.bytes());
  return copy;
}

NamedState named_state(const SpatialMambaImpl& model) {
  return named_state(model, tensor_specs(model.architecture()));
}

NamedState named_state(const torch::nn::Module& model, const std::vector<TensorSpec>& specs) {
  const auto parameters = model.named_parameters();
  const auto buffers = model.named_buffers();
  NamedState state;
  for (const TensorSpec& spec : specs) {
    const torch::Tensor* found = parameters.find(spec.name);
    state.emplace_back(spec.name, found != nullptr ? *found : buffers[spec.name]);
  }
  return state;
}

void load_state(const NamedState& state, const TensorMap& tensors, const WeightsMismatch& mismatch,
                const std::string& source, const std::string& model, const LoadOptions& options) {
  WeightsMismatch errors = mismatch;
  if (options.allow_missing) errors.missing.clear();
  if (options.allow_unexpected) errors.unexpected.clear();
  if (!errors.empty()) fail("{}: the weights do not fit model {}\n{}", source, model, errors.describe());
  const torch::NoGradGuard no_grad;
  for (const auto& [name, tensor] : state) {
    if (const spatialmamba::Tensor* found = tensors.find(name)) tensor.copy_(to_torch(*found));
  }
}

LoadReport load_weights(SpatialMambaImpl& model, const TensorMap& tensors, const std::string& source,
                        const LoadOptions& options) {
  LoadReport report{.mismatch = compare(model.architecture(), tensors)};
  WeightsMismatch errors = report.mismatch;
  NamedState state = named_state(model);
  if (options.reset_head) {
    report.head_was_reset =
        std::ranges::any_of(errors.missing, is_head) || std::ranges::any_of(errors.misshaped, is_head);
    drop_head(errors.missing);
    drop_head(errors.misshaped);
  }
  if (report.head_was_reset) std::erase_if(state, [](const auto& entry) { return is_head(entry.first); });
  load_state(state, tensors, errors, source, model.architecture().variant, options);
  if (report.head_was_reset) initialise_head(model, options.seed);
  return report;
}

TensorMap to_tensors(const NamedState& state) {
  TensorMap tensors;
  for (const auto& [name, tensor] : state) tensors.add(name, from_torch(tensor));
  return tensors;
}

Weights to_weights(const SpatialMambaImpl& model) {
  Weights weights;
  weights.tensors = to_tensors(named_state(model));
  weights.metadata["task"] = "classification";
  weights.metadata["variant"] = model.architecture().variant;
  return weights;
}

}  // namespace spatialmamba::nn
