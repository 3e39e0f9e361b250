#include "engine/network.h"

#include <array>
#include <cmath>
#include <numbers>

#include "base/error.h"
#include "engine/parameters.h"
#include "kernels/depthwise.h"
#include "kernels/sasf.h"

namespace spatialmamba::engine {
namespace {

AlignedVector<float> aligned(const std::vector<float>& values) {
  return {values.begin(), values.end()};
}

class Packer {
 public:
  Packer(const Parameters& parameters, kernels::Isa isa, kernels::Multiply multiply)
      : parameters_(parameters), isa_(isa), multiply_(multiply) {}

  PackedLinear linear(const std::string& name, const std::string& norm = {}) const {
    return pack(read_affine(parameters_, name, norm));
  }
  PackedLinear bare_linear(const std::string& name) const {
    const std::vector<float> weights = parameters_[name];
    const std::int64_t outputs = parameters_.size(name, 0);
    return {outputs, parameters_.size(name, 1), weights.data(), nullptr, isa_, multiply_};
  }
  /// A dense 3x3 convolution without bias and its BatchNorm.
  PackedLinear conv3x3(const std::string& name) const {
    Affine affine = read_affine(parameters_, name + ".conv", name + ".norm");
    affine.weights = channels_last(affine.weights, parameters_.size(name + ".conv.weight", 0),
                                   parameters_.size(name + ".conv.weight", 1));
    return pack(affine);
  }

  Depthwise depthwise(const std::string& name) const {
    const Affine affine = read_affine(parameters_, name);
    Depthwise result{.channels = parameters_.size(name + ".weight", 0),
                     .weights = AlignedVector<float>(affine.weights.size()),
                     .bias = aligned(affine.bias)};
    kernels::depthwise_weights_from_torch(result.channels, affine.weights.data(), result.weights.data());
    return result;
  }

  Norm norm(const std::string& name) const { return {values(name + ".weight"), values(name + ".bias")}; }

  kernels::ScanFusionWeights scan_fusion(const std::string& name) const {
    kernels::ScanFusionWeights weights;
    weights.channels = parameters_.size(name + ".dt_projs_weight", 0);
    weights.rank = parameters_.size(name + ".dt_projs_weight", 1);
    const std::vector<float> dt = parameters_[name + ".dt_projs_weight"];
    weights.dt_weights = {weights.rank, weights.channels, [&](std::int64_t r, std::int64_t c) {
                            return dt[static_cast<std::size_t>(c * weights.rank + r)];
                          }};
    const std::vector<float> taps = fusion_taps(name + ".state_fusion", weights.channels);
    weights.taps = {kernels::kSasfTaps, weights.channels, [&](std::int64_t k, std::int64_t c) {
                      return taps[static_cast<std::size_t>(k * weights.channels + c)];
                    }};
    weights.dt_bias = values(name + ".dt_projs_bias");
    weights.rate = values(name + ".A_logs");
    for (float& rate : weights.rate)
      rate = static_cast<float>(-std::exp(static_cast<double>(rate)) * std::numbers::log2e);
    weights.skip = values(name + ".Ds");
    return weights;
  }

  StateMixing state_mixing(const std::string& name) const {
    return {.in_proj = bare_linear(name + ".in_proj.weight"),
            .conv = depthwise(name + ".conv2d"),
            .x_proj = bare_linear(name + ".x_proj_weight"),
            .scan_fusion = scan_fusion(name),
            .out_norm = norm(name + ".out_norm"),
            .out_proj = bare_linear(name + ".out_proj.weight")};
  }

  Block block(const std::string& name) const {
    return {.dim = parameters_.size(name + ".ln_1.weight", 0),
            .cpe1 = depthwise(name + ".cpe1"),
            .ln_1 = norm(name + ".ln_1"),
            .mixing = state_mixing(name + ".self_attention"),
            .cpe2 = depthwise(name + ".cpe2"),
            .ln_2 = norm(name + ".ln_2"),
            .fc1 = linear(name + ".mlp.fc1"),
            .fc2 = linear(name + ".mlp.fc2")};
  }

  Downsampling downsampling(const std::string& name) const {
    return {.expand = linear(name + ".0.conv"),
            .conv = depthwise(name + ".1.conv"),
            .reduce = linear(name + ".2.conv", name + ".2.norm")};
  }

  Stem stem() const {
    const std::string name = "patch_embed";
    return {.conv1 = conv3x3(name + ".conv1"),
            .conv2_0 = conv3x3(name + ".conv2.0"),
            .conv2_1 = conv3x3(name + ".conv2.1"),
            .conv3_0 = conv3x3(name + ".conv3.0"),
            .conv3_1 = linear(name + ".conv3.1.conv", name + ".conv3.1.norm")};
  }

 private:
  AlignedVector<float> values(const std::string& name) const { return aligned(parameters_[name]); }

  PackedLinear pack(const Affine& affine) const {
    const auto outputs = std::ssize(affine.bias);
    const std::int64_t inputs = std::ssize(affine.weights) / outputs;
    return {outputs, inputs, affine.weights.data(), affine.bias.data(), isa_, multiply_};
  }

  std::vector<float> fusion_taps(const std::string& name, std::int64_t channels) const {
    const std::array<std::vector<float>, 3> dilated = {parameters_[name + ".kernel_3"],
                                                       parameters_[name + ".kernel_3_1"],
                                                       parameters_[name + ".kernel_3_2"]};
    const std::vector<float> alpha = parameters_[name + ".alpha"];
    std::vector<float> taps(static_cast<std::size_t>(kernels::kSasfTaps * channels));
    kernels::sasf_merge<float>(channels, {dilated[0].data(), dilated[1].data(), dilated[2].data()},
                               alpha.data(), taps.data());
    return taps;
  }

  const Parameters& parameters_;
  kernels::Isa isa_;
  kernels::Multiply multiply_;
};

std::int64_t bytes_of(const AlignedVector<float>& values) {
  return static_cast<std::int64_t>(values.size() * sizeof(float));
}
std::int64_t bytes_of(const Norm& norm) {
  return bytes_of(norm.gamma) + bytes_of(norm.beta);
}
std::int64_t bytes_of(const Depthwise& conv) {
  return bytes_of(conv.weights) + bytes_of(conv.bias);
}
std::int64_t bytes_of(const StateMixing& m) {
  const kernels::ScanFusionWeights& s = m.scan_fusion;
  return m.in_proj.bytes() + bytes_of(m.conv) + m.x_proj.bytes() + bytes_of(s.dt_weights.values) +
         bytes_of(s.taps.values) + bytes_of(s.dt_bias) + bytes_of(s.rate) + bytes_of(s.skip) +
         bytes_of(m.out_norm) + m.out_proj.bytes();
}
std::int64_t bytes_of(const Block& b) {
  return bytes_of(b.cpe1) + bytes_of(b.ln_1) + bytes_of(b.mixing) + bytes_of(b.cpe2) + bytes_of(b.ln_2) +
         b.fc1.bytes() + b.fc2.bytes();
}

}  // namespace

std::int64_t Network::bytes() const {
  std::int64_t total = stem.conv1.bytes() + stem.conv2_0.bytes() + stem.conv2_1.bytes() +
                       stem.conv3_0.bytes() + stem.conv3_1.bytes() + bytes_of(norm) + head.bytes();
  for (const Stage& stage : stages) {
    for (const Block& block : stage.blocks) total += bytes_of(block);
    for (const Downsampling& down : stage.downsample) {
      total += down.expand.bytes() + bytes_of(down.conv) + down.reduce.bytes();
    }
  }
  return total;
}

Network pack_network(const TensorMap& tensors, const std::string& source, kernels::Isa isa,
                     kernels::Multiply multiply) {
  Network network;
  network.architecture = require_architecture(tensors, source);
  network.isa = isa;
  const Parameters parameters(tensors, source);
  const Packer packer(parameters, isa, multiply);
  network.stem = packer.stem();
  const Architecture& architecture = network.architecture;
  for (std::size_t i = 0; i < architecture.dims.size(); ++i) {
    Stage& stage = network.stages.emplace_back();
    stage.dim = architecture.dims[i];
    const std::string name = fmt::format("layers.{}", i);
    for (std::int64_t j = 0; j < architecture.depths[i]; ++j) {
      stage.blocks.push_back(packer.block(fmt::format("{}.blocks.{}", name, j)));
    }
    if (i + 1 < architecture.dims.size()) {
      stage.downsample.push_back(packer.downsampling(name + ".downsample.conv"));
    }
  }
  network.norm = packer.norm("norm");
  network.head = packer.linear("head");
  return network;
}

}  // namespace spatialmamba::engine
