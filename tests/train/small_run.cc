#include "train/small_run.h"

#include <cstring>

#include "base/error.h"
#include "base/random.h"
#include "spatialmamba/weights.h"

namespace spatialmamba::test {
namespace {

constexpr std::int64_t kClasses = 3;
constexpr int kSide = 18;

image::Image picture(std::int64_t label, Random random) {
  image::Image image(kSide, kSide, 3);
  for (int y = 0; y < kSide; ++y) {
    for (int i = 0; i < kSide * 3; ++i) {
      const bool bright = y * kClasses / kSide == label;
      image.row(y)[i] = static_cast<std::uint8_t>((bright ? 150 : 30) + random.below(100));
    }
  }
  return image;
}

template <typename T>
void compare(std::string& found, const char* what, const T& a, const T& b) {
  if (found.empty() && a != b) found = fmt::format("{}: {} and {}", what, a, b);
}

std::string difference(const train::Progress& a, const train::Progress& b) {
  std::string found;
  compare(found, "epoch", a.epoch, b.epoch);
  compare(found, "next_batch", a.next_batch, b.next_batch);
  compare(found, "updates", a.updates, b.updates);
  compare(found, "loss_sum", a.loss_sum, b.loss_sum);
  compare(found, "best_top1", a.best_top1, b.best_top1);
  compare(found, "best_ema_top1", a.best_ema_top1, b.best_ema_top1);
  compare(found, "epochs in the history", a.history.size(), b.history.size());
  for (std::size_t i = 0; i < std::min(a.history.size(), b.history.size()); ++i) {
    compare(found, "train_loss", a.history[i].train_loss, b.history[i].train_loss);
    compare(found, "gradient_norm", a.history[i].gradient_norm, b.history[i].gradient_norm);
    compare(found, "validation_loss", a.history[i].validation_loss.value(),
            b.history[i].validation_loss.value());
    compare(found, "ema_loss", a.history[i].ema_loss.value(), b.history[i].ema_loss.value());
  }
  return found;
}

}  // namespace

data::Dataset make_pictures(std::int64_t count, std::uint64_t seed) {
  data::Dataset dataset;
  dataset.classes = {"top", "middle", "bottom"};
  for (std::int64_t i = 0; i < count; ++i) dataset.labels.push_back(i % kClasses);
  dataset.load = [seed](std::int64_t i) {
    return picture(i % kClasses, Random(seed, static_cast<std::uint64_t>(i)));
  };
  dataset.name = [](std::int64_t i) { return fmt::format("picture #{}", i); };
  return dataset;
}

train::Recipe small_recipe() {
  return train::parse_recipe(R"(
model: {variant: custom, dims: [8, 16], depths: [1, 1], drop_path: 0.2}
data: {size: 16, workers: 1}
train: {epochs: 3, batch: 4, accumulation: 2, seed: 11, ema_decay: 0.8, mesa: 1.0, mesa_start: 0.4}
optimizer: {rate: 5e-3, rate_batch: 0, warmup_rate: 1e-4, minimum_rate: 1e-4, warmup_epochs: 1}
output: {log_every: 1}
)",
                             "small recipe");
}

std::string difference(const std::filesystem::path& first, const std::filesystem::path& second) {
  const Weights a = read_safetensors(first);
  const Weights b = read_safetensors(second);
  if (a.tensors.size() != b.tensors.size()) return "numbers of tensors";
  for (const auto& [name, tensor] : a.tensors) {
    const Tensor* other = b.tensors.find(name);
    if (other == nullptr || other->bytes() != tensor.bytes()) return name;
    if (std::memcmp(other->raw(), tensor.raw(), tensor.bytes()) != 0) return name;
  }
  return difference(train::read_saved_run(first).progress, train::read_saved_run(second).progress);
}

}  // namespace spatialmamba::test
