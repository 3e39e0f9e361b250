#include "train/batch.h"

#include <span>

#include "base/error.h"
#include "device/device.h"

namespace spatialmamba::train {
namespace {

/// (N, H, W, C) in memory, seen as (N, C, H, W).
torch::Tensor channels_first_view(const torch::Tensor& images) {
  return images.permute({0, 3, 1, 2});
}

template <typename T>
TrainBatch mix(const data::Batch& batch, const data::Mixture& mixture, std::int64_t classes,
               double smoothing) {
  constexpr auto kType = c10::CppTypeToScalarType<T>::value;
  torch::Tensor images = torch::empty({batch.n, batch.h, batch.w, batch.c}, kType);
  const std::span<T> values(images.mutable_data_ptr<T>(), static_cast<std::size_t>(images.numel()));
  std::copy(batch.images.begin(), batch.images.end(), values.begin());
  data::mix_images<T>(values, {.n = batch.n, .h = batch.h, .w = batch.w, .c = batch.c, .channels_last = true},
                      mixture);
  std::vector<T> targets = data::soft_targets<T>(batch.labels, classes, smoothing, mixture.lam);
  return {channels_first_view(images), torch::from_blob(targets.data(), {batch.n, classes}, kType).clone()};
}

/// A copy of the values on a device.
template <typename T>
torch::Tensor sent(const std::vector<T>& values, at::IntArrayRef shape, const torch::Device& device) {
  const torch::Tensor staged = device::staging(shape, c10::CppTypeToScalarType<T>::value, device);
  std::copy(values.begin(), values.end(), staged.mutable_data_ptr<T>());
  return device::send(staged, device);
}

TrainBatch mix_there(const data::Batch& batch, const data::Mixture& mixture, std::int64_t classes,
                     double smoothing, torch::ScalarType type, const torch::Device& device) {
  torch::Tensor images = sent(batch.images, {batch.n, batch.h, batch.w, batch.c}, device).to(type);
  mix_images(images, mixture);
  const auto targets = data::soft_targets<double>(batch.labels, classes, smoothing, mixture.lam);
  return {channels_first_view(images), sent(targets, {batch.n, classes}, device).to(type)};
}

}  // namespace

void mix_images(torch::Tensor& images, const data::Mixture& mixture) {
  if (mixture.cutmix) {
    const torch::Tensor box =
        images.slice(1, mixture.top, mixture.bottom).slice(2, mixture.left, mixture.right);
    box.copy_(box.flip(0));
  } else if (mixture.lam != 1.0) {
    const torch::Tensor partners = images.flip(0);
    images.mul_(mixture.lam).add_(partners.mul_(1.0 - mixture.lam));
  }
}

TrainBatch mix_batch(const data::Batch& batch, const data::Mixture& mixture, std::int64_t classes,
                     double smoothing, torch::ScalarType type, const torch::Device& device) {
  if (!device.is_cpu()) return mix_there(batch, mixture, classes, smoothing, type, device);
  if (type == torch::kFloat64) return mix<double>(batch, mixture, classes, smoothing);
  return mix<float>(batch, mixture, classes, smoothing);
}

torch::Tensor batch_images(data::Batch& batch, torch::ScalarType type) {
  const torch::Tensor images =
      torch::from_blob(batch.images.data(), {batch.n, batch.h, batch.w, batch.c}, torch::kFloat32);
  return channels_first_view(images.to(type));
}

}  // namespace spatialmamba::train
