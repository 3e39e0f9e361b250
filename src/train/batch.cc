#include "train/batch.h"

#include <span>

#include "base/error.h"

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

}  // namespace

TrainBatch mix_batch(const data::Batch& batch, const data::Mixture& mixture, std::int64_t classes,
                     double smoothing, torch::ScalarType type) {
  if (type == torch::kFloat64) return mix<double>(batch, mixture, classes, smoothing);
  return mix<float>(batch, mixture, classes, smoothing);
}

torch::Tensor batch_images(data::Batch& batch, torch::ScalarType type) {
  const torch::Tensor images =
      torch::from_blob(batch.images.data(), {batch.n, batch.h, batch.w, batch.c}, torch::kFloat32);
  return channels_first_view(images.to(type));
}

}  // namespace spatialmamba::train
