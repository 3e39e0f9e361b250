#include "train/finetune.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "model/scan_order.h"

namespace spatialmamba::train {
namespace {

/// Where the metadata have the entry, the recipe's key takes its value.
void adopt(Recipe& recipe, const std::map<std::string, std::string>& metadata, const std::string& source,
           const char* entry, const char* key) {
  const auto found = metadata.find(entry);
  if (found == metadata.end()) return;
  std::string value = found->second;
  if (const std::size_t cross = value.find('x'); cross != std::string::npos) {
    value = fmt::format("[{}, {}]", value.substr(0, cross), value.substr(cross + 1));  // a size of HxW
  }
  try {
    override_key(recipe, std::string(key) + "=" + value);
  } catch (const Error& error) {
    fail("{}: the metadata entry '{}' cannot be read: {}", source, entry, error.what());
  }
}

void adopt_input(Recipe& recipe, const Architecture& architecture,
                 const std::map<std::string, std::string>& metadata, const std::string& source) {
  recipe.data.channels = architecture.in_channels;
  if (architecture.in_channels == 1) {
    recipe.data.mean.resize(1);
    recipe.data.std.resize(1);
  }
  adopt(recipe, metadata, source, "size", "data.size");
  adopt(recipe, metadata, source, "mean", "data.mean");
  adopt(recipe, metadata, source, "std", "data.std");
  adopt(recipe, metadata, source, "crop", "data.eval_crop");
  adopt(recipe, metadata, source, "interpolation", "data.interpolation");
}

void choose_model(Recipe& recipe, const Architecture& architecture,
                  const std::map<std::string, std::string>& metadata, const std::string& source) {
  recipe.model.variant = architecture.variant;
  if (architecture.variant == "custom") {
    recipe.model.dims = architecture.dims;
    recipe.model.depths = architecture.depths;
  }
  adopt(recipe, metadata, source, kScanEntry, "model.scan");
  recipe.model.drop_path = 0.1;
  recipe.train.mesa = 0.0;
}

/// The largest class has more than twice the images of the smallest.
bool is_uneven(std::span<const std::int64_t> counts) {
  std::int64_t smallest = std::ranges::max(counts);
  for (const std::int64_t count : counts) {
    if (count > 0) smallest = std::min(smallest, count);
  }
  return std::ranges::max(counts) > 2 * smallest;
}

}  // namespace

Recipe finetune_recipe(const Architecture& architecture, const std::map<std::string, std::string>& metadata,
                       const std::string& source, std::span<const std::int64_t> counts) {
  constexpr std::int64_t kFew = 1000;
  constexpr std::int64_t kMany = 10'000;
  constexpr std::int64_t kImagesToSee = 60'000;
  const std::int64_t images = std::reduce(counts.begin(), counts.end(), std::int64_t{0});
  if (images < 1) fail("there are no training images to fine-tune on");

  Recipe recipe;
  choose_model(recipe, architecture, metadata, source);
  adopt_input(recipe, architecture, metadata, source);
  recipe.data.balance = is_uneven(counts);
  recipe.data.cache = images <= kMany;

  recipe.train.batch = std::clamp<std::int64_t>(images / 8, 2, images < kFew ? 16 : 32);
  recipe.train.epochs = std::clamp<std::int64_t>(kImagesToSee / images, 10, 100);
  recipe.train.patience = std::max<std::int64_t>(5, recipe.train.epochs / 4);
  recipe.train.frozen_stages = images < kFew ? 1 : 0;
  const auto updates = static_cast<double>(std::max<std::int64_t>(1, images / recipe.train.batch));
  recipe.train.ema_decay = 1.0 - 1.0 / std::clamp(updates, 10.0, 2000.0);  // forgets in an epoch

  recipe.optimizer.rate = 2e-4;
  recipe.optimizer.warmup_rate = 1e-6;
  recipe.optimizer.minimum_rate = 1e-6;
  recipe.optimizer.rate_batch = 0;
  recipe.optimizer.warmup_epochs = 0.1 * static_cast<double>(recipe.train.epochs);
  recipe.optimizer.layer_decay = 0.8;

  recipe.augment.area = {0.25, 1.0};
  recipe.augment.rand_layers = 2;
  recipe.augment.erasing = images < kMany ? 0.1 : 0.25;
  if (images < kMany) recipe.augment.mixup = recipe.augment.cutmix = 0.0;
  validate(recipe);
  return recipe;
}

}  // namespace spatialmamba::train
