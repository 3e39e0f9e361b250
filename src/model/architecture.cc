#include "spatialmamba/architecture.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <set>

#include "base/error.h"
#include "model/inference.h"

namespace spatialmamba {
namespace {

constexpr std::int64_t kMaxBlocks = 4096;

/// The paper's three, and a small one of our own for pictures of about 32 pixels.
std::array<Architecture, 4> make_variants() {
  return {{
      {.variant = "micro", .dims = {32, 64, 128}, .depths = {1, 2, 1}, .drop_path_rate = 0.0, .mesa = 0.0},
      {.variant = "tiny",
       .dims = {64, 128, 256, 512},
       .depths = {2, 4, 8, 4},
       .drop_path_rate = 0.2,
       .mesa = 1.0},
      {.variant = "small",
       .dims = {64, 128, 256, 512},
       .depths = {2, 4, 21, 5},
       .drop_path_rate = 0.3,
       .mesa = 1.5},
      {.variant = "base",
       .dims = {96, 192, 384, 768},
       .depths = {2, 4, 21, 5},
       .drop_path_rate = 0.5,
       .mesa = 2.0},
  }};
}

constexpr std::string_view kClassifier = "a Spatial-Mamba classifier";

std::string block_name(const std::string& prefix, std::size_t stage, std::int64_t block) {
  return fmt::format("{}layers.{}.blocks.{}.ln_1.weight", prefix, stage, block);
}

void append_list(std::string& text, std::string_view title, const std::vector<std::string>& names) {
  if (names.empty()) return;
  text += fmt::format("{} ({}):\n", title, names.size());
  for (const std::string& name : names) text += fmt::format("  {}\n", name);
}

/// Dims, depths and channels of the network whose names begin with `prefix`.
Architecture infer_stages(const TensorMap& tensors, const std::string& prefix, std::string_view what) {
  Architecture architecture;
  architecture.variant = "custom";
  architecture.in_channels = size_from(tensors, prefix + "patch_embed.conv1.conv.weight", 4, 1, what);
  // Probing name by name is bounded by the tensors that there are, whatever indices the names claim.
  for (std::size_t stage = 0; stage == 0 || tensors.contains(block_name(prefix, stage, 0)); ++stage) {
    architecture.dims.push_back(size_from(tensors, block_name(prefix, stage, 0), 1, 0, what));
    std::int64_t depth = 1;
    while (tensors.contains(block_name(prefix, stage, depth))) ++depth;
    architecture.depths.push_back(depth);
  }
  return architecture;
}

/// Checks what was inferred, and takes over a built-in variant's name and rates where it is one.
void finish_inference(Architecture& architecture, std::string_view what) {
  try {
    validate(architecture);
  } catch (const UsageError& error) {
    fail("these are not the weights of {}: {}", what, error.what());
  }
  for (const Architecture& known : make_variants()) {
    if (known.dims == architecture.dims && known.depths == architecture.depths) {
      architecture.variant = known.variant;
      architecture.drop_path_rate = known.drop_path_rate;
      architecture.mesa = known.mesa;
    }
  }
}

}  // namespace

void require_between(std::string_view what, std::int64_t value, std::int64_t low, std::int64_t high) {
  if (value < low || value > high) fail_usage("{} must be between {} and {}, not {}", what, low, high, value);
}

std::int64_t size_from(const TensorMap& tensors, const std::string& name, std::size_t rank,
                       std::size_t dimension, std::string_view what) {
  const Tensor* tensor = tensors.find(name);
  if (tensor == nullptr) fail("no tensor '{}': these are not the weights of {}", name, what);
  if (tensor->shape().size() != rank) {
    fail("{} has shape {}, expected {} dimensions", name, to_string(tensor->shape()), rank);
  }
  return tensor->shape()[dimension];
}

std::vector<std::string> variant_names() {
  std::vector<std::string> names;
  for (const Architecture& architecture : make_variants()) names.push_back(architecture.variant);
  return names;
}

Architecture architecture_of(std::string_view variant) {
  for (Architecture& architecture : make_variants()) {
    if (architecture.variant == variant) return architecture;
  }
  fail_usage("unknown variant '{}': expected one of {}", variant, fmt::join(variant_names(), ", "));
}

void validate(const Architecture& architecture) {
  require_between("the number of stages", architecture.stages(), 1, kMaxStages);
  if (architecture.depths.size() != architecture.dims.size()) {
    fail_usage("dims names {} stages, depths {}", architecture.dims.size(), architecture.depths.size());
  }
  std::int64_t blocks = 0;
  for (std::size_t i = 0; i < architecture.dims.size(); ++i) {
    require_between(fmt::format("dims of stage {}", i), architecture.dims[i], 2, kMaxChannels);
    require_between(fmt::format("depths of stage {}", i), architecture.depths[i], 1, kMaxBlocks);
    blocks += architecture.depths[i];
  }
  if (architecture.dims[0] % 2 != 0) {
    fail_usage("dims of stage 0 must be even (the stem starts with half of them), not {}",
               architecture.dims[0]);
  }
  require_between("the number of blocks", blocks, 1, kMaxBlocks);
  require_between("the number of input channels", architecture.in_channels, 1, kMaxChannels);
  require_between("the number of classes", architecture.num_classes, 1, kMaxClasses);
  if (!(architecture.drop_path_rate >= 0.0 && architecture.drop_path_rate < 1.0)) {
    fail_usage("the drop path rate must be in [0, 1), not {}", architecture.drop_path_rate);
  }
}

std::vector<double> drop_path_rates(const Architecture& architecture) {
  std::int64_t blocks = 0;
  for (const std::int64_t depth : architecture.depths) blocks += depth;
  std::vector<double> rates(static_cast<std::size_t>(blocks), 0.0);
  if (blocks < 2) return rates;
  // As torch.linspace in single precision: counted from both ends, the upper half with one rounding.
  const auto last = static_cast<float>(architecture.drop_path_rate);
  const float step = last / static_cast<float>(blocks - 1);
  for (std::int64_t i = 0; i < blocks; ++i) {
    const float rate = i < blocks / 2 ? step * static_cast<float>(i)
                                      : std::fma(-step, static_cast<float>(blocks - 1 - i), last);
    rates[static_cast<std::size_t>(i)] = static_cast<double>(rate);
  }
  return rates;
}

Architecture infer_architecture(const TensorMap& tensors) {
  Architecture architecture = infer_stages(tensors, "", kClassifier);
  architecture.num_classes = size_from(tensors, "head.weight", 2, 0, kClassifier);
  finish_inference(architecture, kClassifier);
  return architecture;
}

Architecture infer_backbone(const TensorMap& tensors, const std::string& prefix, std::string_view what) {
  Architecture architecture = infer_stages(tensors, prefix, what);
  architecture.backbone = true;
  finish_inference(architecture, what);
  return architecture;
}

WeightsMismatch compare(const Architecture& architecture, const TensorMap& tensors) {
  return compare(tensor_specs(architecture), architecture.variant, tensors);
}

WeightsMismatch compare(const std::vector<TensorSpec>& specs, std::string_view model,
                        const TensorMap& tensors) {
  WeightsMismatch mismatch;
  std::set<std::string, std::less<>> expected;
  for (const TensorSpec& spec : specs) {
    expected.insert(spec.name);
    const Tensor* found = tensors.find(spec.name);
    if (found == nullptr) {
      mismatch.missing.push_back(spec.name);
    } else if (found->shape() != spec.shape) {
      mismatch.misshaped.push_back(fmt::format("{} has shape {}, model {} expects {}", spec.name,
                                               to_string(found->shape()), model, to_string(spec.shape)));
    }
  }
  for (const auto& [name, tensor] : tensors) {
    if (!expected.contains(name)) mismatch.unexpected.push_back(name);
  }
  return mismatch;
}

Architecture require_architecture(const TensorMap& tensors, const std::string& source) {
  return require_fitting(tensors, source, [](const TensorMap& map) { return infer_architecture(map); });
}

std::string WeightsMismatch::describe() const {
  std::string text;
  append_list(text, "missing", missing);
  append_list(text, "unexpected", unexpected);
  append_list(text, "of another shape", misshaped);
  return text;
}

}  // namespace spatialmamba
