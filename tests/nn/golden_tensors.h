#pragma once

#include <torch/torch.h>

#include <functional>
#include <string>
#include <vector>

#include "support/golden.h"

namespace spatialmamba::test {

/// One case of a golden file: what stands below "case0/" (or below a deeper prefix).
class GoldenCase {
 public:
  GoldenCase(const TensorMap& tensors, std::string prefix) : tensors_(&tensors), prefix_(std::move(prefix)) {}

  GoldenCase below(const std::string& folder) const { return {*tensors_, prefix_ + folder + "/"}; }
  bool has(const std::string& name) const { return tensors_->contains(prefix_ + name); }
  /// In the given type, on its own storage.
  torch::Tensor get(const std::string& name, torch::ScalarType type) const;
  /// The names below this prefix, without it.
  std::vector<std::string> names() const;

 private:
  const TensorMap* tensors_;
  std::string prefix_;
};

/// The golden result of a run in `type`: folder "f64" or "f32" (which is compared with the double run, the
/// truth). max|a-b| / max|b| over all elements; infinite for NaN or another shape.
double deviation(const torch::Tensor& actual, const torch::Tensor& expected);

/// Copies `parameters/NAME` into every parameter and buffer of the module; fails the test for a missing one.
void load_module(torch::nn::Module& module, const GoldenCase& parameters);

/// A bias in front of a BatchNorm has gradient 0 in theory.
inline bool is_in_front_of_batch_norm(const std::string& name) {
  return name.ends_with("conv.2.conv.bias");
}

/// Expects every parameter's gradient to be within `tolerance` of `expected/NAME` where that is given, at
/// least one. Those that cancel are what rounding leaves of larger numbers: absolutely within
/// `zero_tolerance`.
void expect_gradients(const torch::nn::Module& module, const GoldenCase& expected, double tolerance,
                      double zero_tolerance,
                      const std::function<bool(const std::string&)>& cancels = is_in_front_of_batch_norm);

/// Expects buffers to be within `tolerance` of `expected/NAME`.
void expect_buffers(const torch::nn::Module& module, const GoldenCase& expected, double tolerance);

/// Both types with the tolerance for each.
struct TypedTolerance {
  torch::ScalarType type;
  double tolerance;
};

}  // namespace spatialmamba::test
