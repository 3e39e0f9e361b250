#include "train/layer_decay.h"

#include <charconv>
#include <cmath>
#include <numeric>
#include <string_view>

namespace spatialmamba::train {
namespace {

/// The number behind `prefix`, or -1.
std::int64_t number_after(std::string_view name, std::string_view prefix) {
  const std::size_t at = name.find(prefix);
  if (at == std::string_view::npos) return -1;
  std::int64_t number = -1;
  std::from_chars(name.data() + at + prefix.size(), name.data() + name.size(), number);
  return number;
}

/// 0 for the stem, then the blocks from 1 on, then the head.
std::int64_t layer_of(const std::string& name, const Architecture& architecture) {
  const std::vector<std::int64_t>& depths = architecture.depths;
  if (name.starts_with("patch_embed.")) return 0;
  const std::int64_t stage = name.starts_with("layers.") ? number_after(name, "layers.") : -1;
  if (stage < 0) return std::accumulate(depths.begin(), depths.end(), std::int64_t{1});
  const std::int64_t before = std::accumulate(depths.begin(), depths.begin() + stage, std::int64_t{0});
  const std::int64_t block = number_after(name, ".blocks.");
  return before + (block < 0 ? depths[static_cast<std::size_t>(stage)] : block + 1);
}

}  // namespace

double layer_rate_scale(const std::string& name, const Architecture& architecture, double decay) {
  const std::int64_t last = layer_of("head.", architecture);
  return std::pow(decay, static_cast<double>(last - layer_of(name, architecture)));
}

bool is_frozen(const std::string& name, std::int64_t stages) {
  if (stages < 1) return false;
  if (name.starts_with("patch_embed")) return true;
  return name.starts_with("layers.") && number_after(name, "layers.") < stages;
}

}  // namespace spatialmamba::train
