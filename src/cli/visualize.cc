#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <numeric>
#include <optional>

#include "base/error.h"
#include "cli/model_card.h"
#include "cli/network.h"
#include "cli/verbs.h"
#include "draw/heat_maps.h"
#include "image/codec.h"
#include "kernels/sasf.h"
#include "spatialmamba/weights.h"

namespace spatialmamba::cli {
namespace {

struct StatesOptions {
  NetworkOptions network;
  CardOptions card;
  std::filesystem::path picture;
  std::filesystem::path out;
  std::vector<std::string> blocks;
  std::vector<std::int64_t> channels;
};

struct KernelsOptions {
  std::filesystem::path weights;
  bool ema = false;
  std::filesystem::path out;
  std::vector<std::string> blocks;
};

/// The chosen blocks, or the last one of each stage.
std::vector<std::string> chosen_blocks(const Architecture& architecture,
                                       const std::vector<std::string>& wanted) {
  std::vector<std::string> all;
  std::vector<std::string> last;
  for (std::size_t stage = 0; stage < architecture.depths.size(); ++stage) {
    for (std::int64_t block = 0; block < architecture.depths[stage]; ++block) {
      all.push_back(fmt::format("layers.{}.blocks.{}", stage, block));
    }
    last.push_back(all.back());
  }
  for (const std::string& name : wanted) {
    if (std::ranges::find(all, name) == all.end()) {
      fail_usage("--block {}: the network's blocks are {} to {}", name, all.front(), all.back());
    }
  }
  return wanted.empty() ? last : wanted;
}

/// One channel of the first image of (N, H, W, E), or the mean over all of them.
draw::HeatMap map_of(const Tensor& states, std::optional<std::int64_t> channel, std::string title) {
  const Shape& shape = states.shape();
  const std::int64_t channels = shape[3];
  if (channel && (*channel < 0 || *channel >= channels)) {
    fail_usage("--channels {}: the states of this block have {} channels (0 to {})", *channel, channels,
               channels - 1);
  }
  const std::vector<float> values = states.values<float>();
  draw::HeatMap map{.title = std::move(title), .height = shape[1], .width = shape[2], .values = {}};
  for (std::int64_t token = 0; token < shape[1] * shape[2]; ++token) {
    const auto row = values.begin() + token * channels;
    map.values.push_back(channel ? row[*channel]
                                 : std::accumulate(row, row + channels, 0.0F) / static_cast<float>(channels));
  }
  return map;
}

draw::HeatMapRow row_of(const StateMaps& states, const std::vector<std::int64_t>& channels) {
  const Shape& shape = states.before.shape();
  draw::HeatMapRow row;
  row.title = fmt::format("{}: {} x {} states of {} channels", states.block, shape[1], shape[2], shape[3]);
  const auto add = [&](std::optional<std::int64_t> channel) {
    const std::string what = channel ? fmt::format(", channel {}", *channel) : "";
    row.maps.push_back(map_of(states.before, channel, "before fusion" + what));
    row.maps.push_back(map_of(states.after, channel, "after fusion" + what));
  };
  for (const std::int64_t channel : channels) add(channel);
  if (channels.empty()) add(std::nullopt);
  return row;
}

void visualize_states(const StatesOptions& options) {
  NetworkOptions how = options.network;
  how.backend = Backend::torch;  // which alone keeps the states
  const Network network = Network::open(how);
  const ModelCard card =
      model_card(network.architecture(), network.metadata(), options.network.weights.string(), options.card);
  const image::InputFormat& format = card.transform.format;
  const image::Image picture =
      image::read_image(options.picture, {.channels = format.channels, .apply_orientation = true});
  const std::vector<std::string> blocks = chosen_blocks(network.architecture(), options.blocks);
  const std::vector<float> input = image::eval_input(picture, card.transform);
  std::vector<draw::HeatMapRow> rows;
  for (const StateMaps& states : network.states(input, 1, {format.height, format.width})) {
    if (std::ranges::find(blocks, states.block) == blocks.end()) continue;
    rows.push_back(row_of(states, options.channels));
  }
  const std::string subtitle =
      fmt::format("{}; {}{}", options.picture.filename().string(),
                  options.channels.empty() ? "mean over the channels" : "chosen channels",
                  options.network.untrained ? "; untrained weights" : "");
  image::write_image(options.out, draw::draw_heat_maps(rows, "States before and after fusion", subtitle,
                                                       image::eval_crop(picture, card.transform)));
}

/// The mean over the channels of `count` weights per channel, each kernel weighted by its alpha.
std::vector<float> mean_kernel(const std::vector<float>& kernel, float alpha) {
  std::vector<float> mean(9);
  const auto channels = static_cast<float>(kernel.size() / 9);
  for (std::size_t i = 0; i < kernel.size(); ++i) mean[i % 9] += alpha * kernel[i] / channels;
  return mean;
}

draw::HeatMap merged_map(const std::array<std::vector<float>, 3>& kernels) {
  constexpr int kSide = 2 * kernels::kSasfReach + 1;
  draw::HeatMap map{
      .title = "merged", .height = kSide, .width = kSide, .values = std::vector<float>(kSide * kSide)};
  for (std::size_t k = 0; k < kernels.size(); ++k) {
    for (int tap = 0; tap < 9; ++tap) {
      const int y = kernels::kSasfReach + (tap / 3 - 1) * kernels::kSasfDilations[k];
      const int x = kernels::kSasfReach + (tap % 3 - 1) * kernels::kSasfDilations[k];
      map.values[static_cast<std::size_t>(y * kSide + x)] += kernels[k][static_cast<std::size_t>(tap)];
    }
  }
  return map;
}

std::vector<float> floats(const TensorMap& tensors, const std::string& name) {
  const Tensor& tensor = tensors.at(name);
  if (tensor.dtype() != DType::f32) fail("{} is of type {}, expected F32", name, name_of(tensor.dtype()));
  return tensor.values<float>();
}

std::vector<draw::HeatMapRow> kernel_rows(const TensorMap& tensors, const std::vector<std::string>& blocks) {
  std::vector<draw::HeatMapRow> rows;
  for (const std::string& block : blocks) {
    const std::string prefix = block + ".self_attention.state_fusion.";
    const std::vector<float> alpha = floats(tensors, prefix + "alpha");
    std::array<std::vector<float>, 3> kernels;
    draw::HeatMapRow row;
    row.title = block;
    for (std::size_t k = 0; k < kernels.size(); ++k) {
      const std::string suffix = k == 0 ? "" : fmt::format("_{}", k);
      kernels[k] = mean_kernel(floats(tensors, prefix + "kernel_3" + suffix), alpha[k]);
      row.maps.push_back({fmt::format("dilation {} (alpha {:.3g})", kernels::kSasfDilations[k], alpha[k]), 3,
                          3, kernels[k], true});
    }
    row.maps.push_back(merged_map(kernels));
    rows.push_back(std::move(row));
  }
  return rows;
}

std::vector<draw::HeatMapRow> kernel_rows(const KernelsOptions& options) {
  const Weights weights = read_weights(options.weights, options.ema ? "model_ema" : "");
  try {
    const Architecture architecture = infer_architecture(weights.tensors);
    const WeightsMismatch mismatch = compare(architecture, weights.tensors);
    if (!mismatch.empty()) fail("{}", mismatch.describe());
    return kernel_rows(weights.tensors, chosen_blocks(architecture, options.blocks));
  } catch (const UsageError&) {
    throw;
  } catch (const Error& error) {
    fail("{}: {}", options.weights.string(), error.what());
  }
}

void visualize_kernels(const KernelsOptions& options) {
  image::write_image(options.out, draw::draw_heat_maps(kernel_rows(options), "Kernels of the state fusion",
                                                       "alpha times kernel, mean over the channels"));
}

void add_out_and_blocks(CLI::App& app, std::filesystem::path& out, std::vector<std::string>& blocks) {
  app.add_option("-o,--out", out, "The picture to write, .png or .jpg")
      ->required()
      ->check(picture_name())
      ->type_name("FILE");
  app.add_option("--block", blocks,
                 "Blocks to show, e.g. layers.0.blocks.1 (default: the last of each stage)")
      ->delimiter(',')
      ->type_name("NAME");
}

}  // namespace

Run add_visualize(CLI::App& app) {
  app.require_subcommand(1);
  auto states = std::make_shared<StatesOptions>();
  CLI::App* states_app = app.add_subcommand("states", "State maps of an image before and after fusion");
  add_network(*states_app, states->network);
  add_card(*states_app, states->card);
  states_app->add_option("--image", states->picture, "The picture to look at; - is standard input")
      ->required()
      ->type_name("FILE");
  states_app->add_option("--channels", states->channels, "Channels to show, e.g. 0,5 (default: their mean)")
      ->delimiter(',')
      ->type_name("N");
  add_out_and_blocks(*states_app, states->out, states->blocks);

  auto kernels = std::make_shared<KernelsOptions>();
  CLI::App* kernels_app = app.add_subcommand("kernels", "The fusion kernels of a weights file");
  add_weights(*kernels_app, kernels->weights)->required();
  add_ema(*kernels_app, kernels->ema);
  add_out_and_blocks(*kernels_app, kernels->out, kernels->blocks);

  return [states, kernels, states_app] {
    if (states_app->parsed()) {
      visualize_states(*states);
    } else {
      visualize_kernels(*kernels);
    }
  };
}

}  // namespace spatialmamba::cli
