#include "train/fusion_ablation.h"

#include <array>
#include <string>

#include "base/error.h"
#include "nn/state_dict.h"

namespace spatialmamba::train {
namespace {

struct FusionEntry {
  Fusion fusion;
  std::string_view name;
  std::int64_t dilations;  ///< how many of 1, 3, 5 take part
};

constexpr std::array<FusionEntry, 5> kFusions = {{{Fusion::full, "full", 3},
                                                  {Fusion::off, "off", 0},
                                                  {Fusion::dilation_1, "dilation_1", 1},
                                                  {Fusion::dilation_1_3, "dilation_1_3", 2},
                                                  {Fusion::shared, "shared", 3}}};

const FusionEntry& entry_of(Fusion fusion) {
  return *std::find_if(kFusions.begin(), kFusions.end(),
                       [&](const FusionEntry& e) { return e.fusion == fusion; });
}

/// The parameters of one block's fusion.
struct FusionParameters {
  std::array<torch::Tensor, 3> kernels;  ///< dilation 1, 3, 5
  torch::Tensor alpha;
};

std::vector<FusionParameters> fusions_of(nn::SpatialMambaImpl& model) {
  std::vector<FusionParameters> found;
  for (const auto& [name, tensor] : nn::named_state(model)) {
    // Each block's fusion lists its kernels first and alpha last.
    if (name.ends_with(".kernel_3")) found.push_back({{tensor, {}, {}}, {}});
    if (name.ends_with(".kernel_3_1")) found.back().kernels[1] = tensor;
    if (name.ends_with(".kernel_3_2")) found.back().kernels[2] = tensor;
    if (name.ends_with(".state_fusion.alpha")) found.back().alpha = tensor;
  }
  return found;
}

void set_identity(torch::Tensor& kernel) {
  kernel.zero_();
  kernel.select(3, 1).select(2, 1).fill_(1);
}

}  // namespace

Fusion fusion_from_name(std::string_view name) {
  std::string known;
  for (const FusionEntry& entry : kFusions) {
    if (entry.name == name) return entry.fusion;
    known += (known.empty() ? "" : ", ") + std::string(entry.name);
  }
  fail_usage("unknown fusion '{}', expected one of: {}", name, known);
}

void constrain_fusion(nn::SpatialMambaImpl& model, Fusion fusion) {
  if (fusion == Fusion::full) return;
  const torch::NoGradGuard no_grad;
  const std::int64_t dilations = entry_of(fusion).dilations;
  for (FusionParameters& block : fusions_of(model)) {
    if (fusion == Fusion::shared) {
      for (torch::Tensor& kernel : block.kernels) kernel.copy_(block.kernels[0]);
      continue;
    }
    block.alpha.slice(0, dilations).zero_();
    for (std::size_t k = static_cast<std::size_t>(dilations); k < block.kernels.size(); ++k) {
      block.kernels[k].set_requires_grad(false);
    }
    if (fusion != Fusion::off) continue;
    set_identity(block.kernels[0]);
    block.alpha[0].fill_(1);
    block.alpha.set_requires_grad(false);
  }
}

void constrain_fusion_gradients(nn::SpatialMambaImpl& model, Fusion fusion) {
  if (fusion == Fusion::full || fusion == Fusion::off) return;
  const torch::NoGradGuard no_grad;
  for (FusionParameters& block : fusions_of(model)) {
    if (!block.alpha.grad().defined()) continue;  // a frozen stage
    if (fusion != Fusion::shared) {
      block.alpha.mutable_grad().slice(0, entry_of(fusion).dilations).zero_();
      continue;
    }
    // Equal kernels with equal gradients get equal updates, so they stay one kernel, bit for bit.
    const torch::Tensor sum = block.kernels[0].grad() + block.kernels[1].grad() + block.kernels[2].grad();
    for (torch::Tensor& kernel : block.kernels) kernel.mutable_grad() = sum.clone();
  }
}

}  // namespace spatialmamba::train
