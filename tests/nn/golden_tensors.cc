#include "nn/golden_tensors.h"

#include <gtest/gtest.h>

#include <limits>

#include "nn/state_dict.h"

namespace spatialmamba::test {

torch::Tensor GoldenCase::get(const std::string& name, torch::ScalarType type) const {
  return nn::to_torch(tensors_->at(prefix_ + name)).to(type);
}

std::vector<std::string> GoldenCase::names() const {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : *tensors_) {
    if (name.starts_with(prefix_)) names.push_back(name.substr(prefix_.size()));
  }
  return names;
}

double deviation(const torch::Tensor& actual, const torch::Tensor& expected) {
  if (!actual.defined() || actual.sizes() != expected.sizes()) return std::numeric_limits<double>::infinity();
  const torch::Tensor a = actual.detach().cpu().to(torch::kFloat64);
  const torch::Tensor b = expected.detach().cpu().to(torch::kFloat64);
  const double difference = (a - b).abs().max().item<double>();
  if (!std::isfinite(difference)) return std::numeric_limits<double>::infinity();
  const double scale = b.abs().max().item<double>();
  return scale > 0.0 ? difference / scale : difference;
}

void load_module(torch::nn::Module& module, const GoldenCase& parameters) {
  const torch::NoGradGuard no_grad;
  for (auto& entry : module.named_parameters()) {
    entry.value().copy_(parameters.get(entry.key(), entry.value().scalar_type()));
  }
  for (auto& entry : module.named_buffers()) {
    entry.value().copy_(parameters.get(entry.key(), entry.value().scalar_type()));
  }
}

void expect_gradients(const torch::nn::Module& module, const GoldenCase& expected, double tolerance,
                      double zero_tolerance, const std::function<bool(const std::string&)>& cancels) {
  int compared = 0;
  for (const auto& entry : module.named_parameters()) {
    if (!expected.has(entry.key())) continue;
    ++compared;
    const torch::Tensor& gradient = entry.value().grad();
    const torch::Tensor golden = expected.get(entry.key(), torch::kFloat64);
    ASSERT_TRUE(gradient.defined()) << entry.key();
    if (cancels(entry.key())) {
      EXPECT_LE((gradient.cpu().to(torch::kFloat64) - golden).abs().max().item<double>(), zero_tolerance)
          << entry.key();
    } else {
      EXPECT_LE(deviation(gradient, golden), tolerance) << entry.key();
    }
  }
  EXPECT_GT(compared, 0);
}

void expect_buffers(const torch::nn::Module& module, const GoldenCase& expected, double tolerance) {
  for (const auto& entry : module.named_buffers()) {
    if (!expected.has(entry.key())) continue;
    EXPECT_LE(deviation(entry.value(), expected.get(entry.key(), torch::kFloat64)), tolerance) << entry.key();
  }
}

}  // namespace spatialmamba::test
