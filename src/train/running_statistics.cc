#include "train/running_statistics.h"

namespace spatialmamba::train {

RunningStatistics::RunningStatistics(const std::vector<torch::Tensor>& buffers) {
  std::int64_t values = 0;
  for (const torch::Tensor& buffer : buffers) {
    buffers_.push_back({buffer, buffer.clone()});
    if (buffer.is_floating_point()) values += buffer.numel();
  }
  const torch::Device device = buffers.empty() ? torch::Device(torch::kCPU) : buffers.front().device();
  changes_ = torch::zeros({values}, torch::TensorOptions().dtype(torch::kFloat64).device(device));
}

void RunningStatistics::remember() {
  const torch::NoGradGuard no_grad;
  for (Buffer& buffer : buffers_) buffer.before.copy_(buffer.value);
  changes_.zero_();
}

void RunningStatistics::restore() {
  const torch::NoGradGuard no_grad;
  for (Buffer& buffer : buffers_) buffer.value.copy_(buffer.before);
}

void RunningStatistics::collect() {
  const torch::NoGradGuard no_grad;
  std::int64_t begin = 0;
  for (const Buffer& buffer : buffers_) {
    if (!buffer.value.is_floating_point()) continue;
    const torch::Tensor change = buffer.value.to(torch::kFloat64) - buffer.before;
    changes_.narrow(0, begin, change.numel()).add_(change.flatten());
    begin += change.numel();
  }
}

void RunningStatistics::apply_mean_change(std::int64_t batches) {
  const torch::NoGradGuard no_grad;
  std::int64_t begin = 0;
  for (Buffer& buffer : buffers_) {
    if (!buffer.value.is_floating_point()) continue;
    const torch::Tensor sum = changes_.narrow(0, begin, buffer.value.numel()).view(buffer.value.sizes());
    buffer.value.copy_(buffer.before.to(torch::kFloat64) + sum / static_cast<double>(batches));
    begin += buffer.value.numel();
  }
}

}  // namespace spatialmamba::train
