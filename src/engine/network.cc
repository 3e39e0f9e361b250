#include "engine/network.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <numbers>
#include <span>

#include "base/error.h"
#include "engine/parameters.h"
#include "kernels/sasf.h"
#include "spatialmamba/detector.h"
#include "spatialmamba/segmentor.h"
#include "spatialmamba/task.h"

namespace spatialmamba::engine {
namespace {

using kernels::RowRange;

AlignedVector<float> aligned(const std::vector<float>& values) {
  return {values.begin(), values.end()};
}

constexpr std::size_t kTaps = 9;

class Packer {
 public:
  Packer(const Parameters& parameters, kernels::Isa isa, kernels::Multiply multiply)
      : parameters_(parameters), isa_(isa), multiply_(multiply) {}

  /// mmsegmentation's ConvModule of size 1.
  PackedLinear conv_bn(const std::string& name) const { return linear(name + ".conv", name + ".bn"); }

  /// Its 3x3 one.
  TileConvolution tiled_bn(const std::string& name, kernels::WinogradTile tile) const {
    return tiled(read_affine(parameters_, name + ".conv", name + ".bn"),
                 {0, parameters_.size(name + ".conv.weight", 1)}, tile);
  }
  TileConvolution tiled(const Affine& affine, RowRange inputs, kernels::WinogradTile tile) const {
    TileConvolution convolution{.tile = tile, .places = {}, .bias = aligned(affine.bias)};
    const std::int64_t side = kernels::inputs_of(tile);
    for (std::int64_t i = 0; i < side * side; ++i) {
      convolution.places.push_back(pack(transformed_kernel(affine, inputs, tile, i / side, i % side)));
    }
    return convolution;
  }
  /// Large tiles save products, but have more weights, which small maps do not repay; and what comes of them
  /// is less exact, which bf16 does not bear.
  kernels::WinogradTile tile_for(std::size_t level) const {
    constexpr std::size_t kLargeLevels = 2;
    const bool large = multiply_ == kernels::Multiply::full && level < kLargeLevels;
    return large ? kernels::WinogradTile::four : kernels::WinogradTile::two;
  }
  UpsampledConvolution upsampled(const Affine& affine, RowRange inputs) const {
    UpsampledConvolution convolution;
    const auto outputs = std::ssize(affine.bias);
    for (std::int64_t o = 0; o < outputs; o += kTapChannels) {
      const RowRange block{o, std::min(o + kTapChannels, outputs)};
      convolution.blocks.push_back(pack(kernel_taps(affine, block, inputs)));
    }
    return convolution;
  }
  /// The same, of a map and of enlarged ones of `channels` channels each.
  JoiningConvolution joining_bn(const std::string& name, std::int64_t channels, std::int64_t others,
                                kernels::WinogradTile tile) const {
    const Affine affine = read_affine(parameters_, name + ".conv", name + ".bn");
    std::int64_t begin = parameters_.size(name + ".conv.weight", 1) - others * channels;
    JoiningConvolution convolution{.first = tiled(affine, {0, begin}, tile), .others = {}};
    for (std::int64_t i = 0; i < others; ++i, begin += channels) {
      convolution.others.push_back(upsampled(affine, {begin, begin + channels}));
    }
    return convolution;
  }

  UperHead uper_head(const SegmentorArchitecture& architecture) const {
    const std::string name = "decode_head";
    const std::vector<std::int64_t>& dims = architecture.backbone.dims;
    const std::int64_t channels = architecture.channels;
    UperHead head;
    head.pools = architecture.pools;
    for (std::size_t i = 0; i < head.pools.size(); ++i) {
      head.pooled.push_back(conv_bn(fmt::format("{}.psp_modules.{}.1", name, i)));
    }
    head.bottleneck =
        joining_bn(name + ".bottleneck", channels, std::ssize(head.pools), tile_for(dims.size() - 1));
    for (std::size_t i = 0; i + 1 < dims.size(); ++i) {
      head.laterals.push_back(conv_bn(fmt::format("{}.lateral_convs.{}", name, i)));
      head.fpn.push_back(tiled_bn(fmt::format("{}.fpn_convs.{}", name, i), tile_for(i)));
    }
    head.fuse = joining_bn(name + ".fpn_bottleneck", channels, std::ssize(dims) - 1, tile_for(0));
    head.classifier = linear(name + ".conv_seg");
    return head;
  }

  /// A 3x3 convolution with bias of one map.
  TileConvolution conv(const std::string& name, kernels::WinogradTile tile) const {
    return tiled(read_affine(parameters_, name), {0, parameters_.size(name + ".weight", 1)}, tile);
  }

  MaskRcnn mask_rcnn(const DetectorArchitecture& architecture) const {
    // Proposals are ranked: small tiles are nearly as exact as plain sums, large ones swap more near ties.
    constexpr auto kRankingTile = kernels::WinogradTile::two;
    MaskRcnn detector;
    for (std::size_t i = 0; i < architecture.backbone.dims.size(); ++i) {
      detector.laterals.push_back(linear(fmt::format("neck.lateral_convs.{}.conv", i)));
      detector.pyramid.push_back(conv(fmt::format("neck.fpn_convs.{}.conv", i), kRankingTile));
    }
    detector.rpn = conv("rpn_head.rpn_conv", kRankingTile);
    detector.rpn_scores = linear("rpn_head.rpn_cls");
    detector.rpn_deltas = linear("rpn_head.rpn_reg");
    const std::string box = "roi_head.bbox_head.";
    detector.shared = {pack(bins_first(read_affine(parameters_, box + "shared_fcs.0"), kBoxBins * kBoxBins)),
                       linear(box + "shared_fcs.1")};
    detector.scores = linear(box + "fc_cls");
    detector.deltas = linear(box + "fc_reg");
    const std::string mask = "roi_head.mask_head.";
    for (std::int64_t i = 0; i < kMaskConvolutions; ++i) {
      detector.mask.push_back(conv(fmt::format("{}convs.{}.conv", mask, i), tile_for(0)));
    }
    detector.upsample = pack(transposed_2x2(parameters_, mask + "upsample"));
    detector.mask_weights = values(mask + "conv_logits.weight");
    detector.mask_bias = values(mask + "conv_logits.bias");
    return detector;
  }

  PackedLinear linear(const std::string& name, const std::string& batch_norm = {}) const {
    return pack(read_affine(parameters_, name, batch_norm));
  }
  PackedLinear bare_linear(const std::string& name) const { return pack(bare_affine(name)); }

  /// A dense 3x3 convolution of the stem without bias, and its BatchNorm. The images have padding channels
  /// like all else; outputs are padded where `pad_outputs`.
  Affine stem_conv(const std::string& name, bool pad_outputs) const {
    const std::string weight = name + ".conv.weight";
    const std::int64_t outputs = parameters_.size(weight, 0);
    const std::int64_t inputs = parameters_.size(weight, 1);
    return padded(read_affine(parameters_, name + ".conv", name + ".norm"),
                  {outputs, inputs, pad_outputs ? stem_padded(outputs) : outputs, stem_padded(inputs)});
  }
  /// The same with stride 1, from as many channels to as many.
  StemConvolution stem_conv_in_place(const std::string& name, bool by_tiles) const {
    const Affine affine = stem_conv(name, true);
    if (!by_tiles) return pack(channels_last(affine));
    return tiled(affine, {0, std::ssize(affine.bias)}, tile_for(0));
  }

  DepthwiseWeights depthwise(const std::string& name, kernels::Activation activation,
                             std::int64_t stride = 1) const {
    return depthwise_of(read_affine(parameters_, name), activation, stride);
  }
  /// x + conv(x) as one convolution.
  DepthwiseWeights residual_depthwise(const std::string& name) const {
    Affine affine = read_affine(parameters_, name);
    for (std::size_t c = 0; c < affine.bias.size(); ++c) affine.weights[c * kTaps + kTaps / 2] += 1.0F;
    return depthwise_of(affine, kernels::Activation::none, 1);
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

  StateMixing state_mixing(const std::string& name, const std::string& norm_name) const {
    const Affine in_proj = normalised(bare_affine(name + ".in_proj.weight"), norm_name);
    const std::size_t half = in_proj.bias.size() / 2;
    return {.in_x = pack(part_of(in_proj, 0, half)),
            .in_z = pack(part_of(in_proj, half, 2 * half)),
            .conv = depthwise(name + ".conv2d", kernels::Activation::silu),
            .x_proj = bare_linear(name + ".x_proj_weight"),
            .scan_fusion = scan_fusion(name),
            .out_norm = norm(name + ".out_norm"),
            .out_proj = bare_linear(name + ".out_proj.weight")};
  }

  Block block(const std::string& name) const {
    return {.dim = parameters_.size(name + ".ln_1.weight", 0),
            .cpe1 = residual_depthwise(name + ".cpe1"),
            .mixing = state_mixing(name + ".self_attention", name + ".ln_1"),
            .cpe2 = residual_depthwise(name + ".cpe2"),
            .fc1 = pack(normalised(read_affine(parameters_, name + ".mlp.fc1"), name + ".ln_2")),
            .fc2 = linear(name + ".mlp.fc2")};
  }

  Downsampling downsampling(const std::string& name) const {
    return {.expand = linear(name + ".0.conv"),
            .conv = depthwise(name + ".1.conv", kernels::Activation::relu, 2),
            .reduce = linear(name + ".2.conv", name + ".2.norm")};
  }

  /// A detector ranks proposals by what comes of it, so it sums plainly; see mask_rcnn().
  Stem stem(const std::string& name, Task task) const {
    const bool by_tiles = multiply_ == kernels::Multiply::full && task != Task::detection;
    return {.conv1 = pack(channels_last(stem_conv(name + ".conv1", true))),
            .conv2_0 = stem_conv_in_place(name + ".conv2.0", by_tiles),
            .conv2_1 = stem_conv_in_place(name + ".conv2.1", by_tiles),
            .conv3_0 = pack(channels_last(stem_conv(name + ".conv3.0", false))),
            .conv3_1 = linear(name + ".conv3.1.conv", name + ".conv3.1.norm")};
  }

 private:
  AlignedVector<float> values(const std::string& name) const { return aligned(parameters_[name]); }

  PackedLinear pack(const Affine& affine) const {
    const auto outputs = std::ssize(affine.bias);
    const std::int64_t inputs = std::ssize(affine.weights) / outputs;
    return {outputs, inputs, affine.weights.data(), affine.bias.data(), isa_, multiply_};
  }

  /// A weight that stands alone, without a module.
  Affine bare_affine(const std::string& name) const {
    return {.weights = parameters_[name],
            .bias = std::vector<float>(static_cast<std::size_t>(parameters_.size(name, 0)))};
  }

  Affine normalised(Affine affine, const std::string& norm_name) const {
    fold_norm(affine, parameters_[norm_name + ".weight"], parameters_[norm_name + ".bias"]);
    return affine;
  }

  static DepthwiseWeights depthwise_of(const Affine& affine, kernels::Activation activation,
                                       std::int64_t stride) {
    const auto channels = std::ssize(affine.bias);
    const auto tap = [&](std::int64_t k, std::int64_t c) {
      return affine.weights[static_cast<std::size_t>(c) * kTaps + static_cast<std::size_t>(k)];
    };
    return {.channels = channels,
            .stride = stride,
            .activation = activation,
            .taps = {kTaps, channels, tap},
            .bias = aligned(affine.bias)};
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
std::int64_t bytes_of(const DepthwiseWeights& conv) {
  return bytes_of(conv.taps.values) + bytes_of(conv.bias);
}
std::int64_t bytes_of(const StateMixing& m) {
  const kernels::ScanFusionWeights& s = m.scan_fusion;
  return m.in_x.bytes() + m.in_z.bytes() + bytes_of(m.conv) + m.x_proj.bytes() +
         bytes_of(s.dt_weights.values) + bytes_of(s.taps.values) + bytes_of(s.dt_bias) + bytes_of(s.rate) +
         bytes_of(s.skip) + bytes_of(m.out_norm) + m.out_proj.bytes();
}
std::int64_t bytes_of(const Block& b) {
  return bytes_of(b.cpe1) + bytes_of(b.mixing) + bytes_of(b.cpe2) + b.fc1.bytes() + b.fc2.bytes();
}

std::int64_t bytes_of(std::span<const PackedLinear> layers) {
  std::int64_t total = 0;
  for (const PackedLinear& layer : layers) total += layer.bytes();
  return total;
}
std::int64_t bytes_of(const TileConvolution& convolution) {
  return bytes_of(convolution.places) + bytes_of(convolution.bias);
}

std::int64_t bytes_of(const StemConvolution& convolution) {
  const auto* patches = std::get_if<PackedLinear>(&convolution);
  return patches == nullptr ? bytes_of(std::get<TileConvolution>(convolution)) : patches->bytes();
}
std::int64_t bytes_of(const JoiningConvolution& convolution) {
  std::int64_t total = bytes_of(convolution.first);
  for (const UpsampledConvolution& other : convolution.others) total += bytes_of(other.blocks);
  return total;
}
std::int64_t bytes_of(const UperHead& head) {
  std::int64_t total = bytes_of(head.pooled) + bytes_of(head.bottleneck) + bytes_of(head.laterals) +
                       bytes_of(head.fuse) + head.classifier.bytes();
  for (const TileConvolution& convolution : head.fpn) total += bytes_of(convolution);
  return total;
}

std::int64_t bytes_of(const MaskRcnn& detector) {
  std::int64_t total = bytes_of(detector.laterals) + bytes_of(detector.rpn) + detector.rpn_scores.bytes() +
                       detector.rpn_deltas.bytes() + detector.scores.bytes() + detector.deltas.bytes() +
                       detector.upsample.bytes() + bytes_of(detector.mask_weights) +
                       bytes_of(detector.mask_bias);
  for (const PackedLinear& layer : detector.shared) total += layer.bytes();
  for (const TileConvolution& convolution : detector.pyramid) total += bytes_of(convolution);
  for (const TileConvolution& convolution : detector.mask) total += bytes_of(convolution);
  return total;
}

}  // namespace

std::int64_t Network::bytes() const {
  std::int64_t total = stem.conv1.bytes() + bytes_of(stem.conv2_0) + bytes_of(stem.conv2_1) +
                       stem.conv3_0.bytes() + stem.conv3_1.bytes() + bytes_of(norm) + head.bytes();
  if (decode_head) total += bytes_of(*decode_head);
  if (detector) total += bytes_of(*detector);
  for (const Stage& stage : stages) {
    total += bytes_of(stage.out_norm);
    for (const Block& block : stage.blocks) total += bytes_of(block);
    for (const Downsampling& down : stage.downsample) {
      total += down.expand.bytes() + bytes_of(down.conv) + down.reduce.bytes();
    }
  }
  return total;
}

Network pack_network(const TensorMap& tensors, const std::string& source, kernels::Isa isa,
                     kernels::Multiply multiply, const ParallelFor& parallel) {
  Network network;
  network.isa = isa;
  const Parameters parameters(tensors, source);
  const Packer packer(parameters, isa, multiply);
  std::vector<std::function<void()>> parts;
  std::string prefix;
  SegmentorArchitecture segmentor;
  DetectorArchitecture detector;
  const Task task = infer_task(tensors);
  switch (task) {
    case Task::classification:
      network.architecture = require_architecture(tensors, source);
      network.num_classes = network.architecture.num_classes;
      parts.emplace_back([&] { network.norm = packer.norm("norm"); });
      parts.emplace_back([&] { network.head = packer.linear("head"); });
      break;
    case Task::segmentation:
      segmentor = require_segmentor(tensors, source);
      network.architecture = segmentor.backbone;
      network.num_classes = segmentor.num_classes;
      prefix = "backbone.";
      parts.emplace_back([&] { network.decode_head = packer.uper_head(segmentor); });
      break;
    case Task::detection:
      detector = require_detector(tensors, source);
      network.architecture = detector.backbone;
      network.num_classes = detector.num_classes;
      prefix = "backbone.";
      parts.emplace_back([&] { network.detector = packer.mask_rcnn(detector); });
      break;
  }
  const Architecture& architecture = network.architecture;
  network.stages.resize(architecture.dims.size());

  // Each part reads and packs tensors of its own, so that they can be made in any order.
  parts.emplace_back([&] { network.stem = packer.stem(prefix + "patch_embed", task); });
  for (std::size_t i = 0; i < architecture.dims.size(); ++i) {
    Stage& stage = network.stages[i];
    const std::string name = fmt::format("{}layers.{}", prefix, i);
    stage.dim = architecture.dims[i];
    if (architecture.backbone) stage.out_norm = packer.norm(fmt::format("{}outnorm{}", prefix, i));
    stage.blocks.resize(static_cast<std::size_t>(architecture.depths[i]));
    for (std::size_t j = 0; j < stage.blocks.size(); ++j) {
      parts.emplace_back([&packer, &block = stage.blocks[j], path = fmt::format("{}.blocks.{}", name, j)] {
        block = packer.block(path);
      });
    }
    if (i + 1 == architecture.dims.size()) continue;
    stage.downsample.resize(1);
    parts.emplace_back([&packer, &down = stage.downsample[0], path = name + ".downsample.conv"] {
      down = packer.downsampling(path);
    });
  }
  std::ranges::reverse(parts);  // the last blocks are the largest
  parallel(std::ssize(parts), 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) parts[static_cast<std::size_t>(i)]();
  });
  return network;
}

}  // namespace spatialmamba::engine
