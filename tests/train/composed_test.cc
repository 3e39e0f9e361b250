// Training through LibTorch's operators: whole runs beside the fused ones, a step on a device that holds no
// values, batches mixed on a device, one sentence where there is no GPU.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include "device/cuda.h"
#include "device/device.h"
#include "nn/initialise.h"
#include "nn/state_dict.h"
#include "nn/ways.h"
#include "support/message_of.h"
#include "support/temporary_folder.h"
#include "train/batch.h"
#include "train/composed_update.h"
#include "train/ema.h"
#include "train/losses.h"
#include "train/run_folder.h"
#include "train/running_statistics.h"
#include "train/small_run.h"

namespace spatialmamba::train {
namespace {

using testing::HasSubstr;

constexpr std::array kPrecisions = {"fp64", "fp32"};

/// As far as two orders of summation lead apart in 12 updates of training: measured are 1e-10 and 3e-2. One
/// update that goes another way counts for more.
double rounding_of(const std::string& precision) {
  return precision == "fp64" ? 1e-9 : 5e-2;
}

class ComposedRuns : public testing::Test {
 protected:
  ComposedRuns() { at::set_num_threads(1); }

  RunFolder folder(const std::string& name) const { return RunFolder(temporary_.path() / name); }

  /// Stops after so many updates where `updates` is above 0.
  RunResult run(const std::string& name, Recipe recipe, const test::Way& way, std::int64_t updates = 0) {
    recipe.train.device = way.device.is_cpu() ? "cpu" : "cuda";
    recipe.train.operators = way.operators == nn::Operators::composed ? "composed" : "fused";
    RunOptions options;
    options.out = folder(name).path();
    options.resume = true;
    if (updates > 0)
      options.stop = [updates, asked = std::int64_t{0}]() mutable { return ++asked >= updates; };
    return train(recipe, data_.training, data_.validation, options);
  }

  /// How far apart the weights of two checkpoints are, beside the way that they went since the checkpoint
  /// `start`; or a tensor of BatchNorm's statistics, beside itself, if that is more.
  double deviation(const std::string& first, const std::string& second, const std::string& start) const {
    const Weights a = read_safetensors(folder(first).checkpoint());
    const Weights b = read_safetensors(folder(second).checkpoint());
    const Weights begin = read_safetensors(folder(start).checkpoint());
    EXPECT_EQ(a.tensors.size(), b.tensors.size());
    const auto length_of = [](const Tensor& x, const Tensor& y) {
      return (nn::to_torch(x).to(torch::kFloat64) - nn::to_torch(y).to(torch::kFloat64))
          .norm()
          .item<double>();
    };
    double distance = 0.0;
    double way = 0.0;
    double of_statistics = 0.0;
    for (const auto& [name, x] : a.tensors) {
      if (name.starts_with("exp_avg")) continue;  // of gradients that cancel nothing but rounding is left
      const Tensor& y = b.tensors.at(name);
      if (name.find("running_") != std::string::npos || !nn::to_torch(y).is_floating_point()) {
        const double size = nn::to_torch(y).to(torch::kFloat64).norm().item<double>();
        of_statistics = std::max(of_statistics, length_of(x, y) / std::max(size, 1e-12));
      } else {
        distance = std::hypot(distance, length_of(x, y));
        way = std::hypot(way, length_of(y, begin.tensors.at(name)));
      }
    }
    EXPECT_GT(way, 0.0);
    return std::max(distance / way, of_statistics);
  }

  test::TemporaryFolder temporary_;
  test::SmallData data_;
};

Recipe recipe_of(const std::string& precision) {
  Recipe recipe = test::small_recipe();
  recipe.train.precision = precision;
  return recipe;
}

/// Mixing, drop path, MESA, EMA, clipping and evaluation included.
TEST_F(ComposedRuns, EqualFusedOnes) {
  for (const std::string precision : kPrecisions) {
    const std::string start = precision + "start";
    run(start, recipe_of(precision), test::ways().front(), 1);
    for (const test::Way& way : test::ways()) {
      const std::string name = precision + way.identifier();
      const RunResult result = run(name, recipe_of(precision), way);
      EXPECT_EQ(result.summary.contains("peak_device_memory_mib"), way.device.is_cuda());
      EXPECT_LE(deviation(name, precision + "cpu_fused", start), rounding_of(precision)) << name;
    }
  }
}

/// What was begun in one way goes on in every other.
TEST_F(ComposedRuns, ResumeOneAnother) {
  const Recipe recipe = recipe_of("fp64");
  const std::vector<test::Way> ways = test::ways();
  run("whole", recipe, ways.front());
  run("start", recipe, ways.front(), 1);
  for (const test::Way& first : ways) {
    for (const test::Way& second : ways) {
      const std::string name = first.identifier() + second.identifier();
      ASSERT_TRUE(run(name, recipe, first, 6).interrupted);
      ASSERT_FALSE(run(name, recipe, second).interrupted);
      EXPECT_LE(deviation(name, "whole", "start"), rounding_of("fp64")) << name;
    }
  }
}

TEST_F(ComposedRuns, HalfPrecisionsLearn) {
  for (const std::string precision : {"bf16", "fp16"}) {
    for (const test::Way& way : test::ways()) {
      Recipe recipe = recipe_of(precision);
      recipe.train.epochs = 12;
      const RunResult result = run(precision + way.identifier(), recipe, way);
      EXPECT_GT(result.summary.at("top1").get<double>(), 0.6) << precision << way.name();
    }
  }
}

TEST_F(ComposedRuns, WithoutAGpuOneSentenceSaysSo) {
  if (torch::cuda::is_available()) GTEST_SKIP() << "there is one";
  const test::Way gpu{torch::Device(torch::kCUDA, 0), nn::Operators::composed};
  const std::string message = test::message_of([&] { run("gpu", recipe_of("fp32"), gpu); });
  EXPECT_THAT(message, HasSubstr(device::built_with_cuda() ? "no GPU was found" : "this build has no CUDA"));
  EXPECT_FALSE(std::filesystem::exists(folder("gpu").checkpoint()));
}

/// Gives each tensor the shape and type it has, on a device that holds no values. (set_data() refuses to.)
void move_to_meta(const NamedTensors& state) {
  for (const auto& [name, tensor] : state) {
    const torch::Tensor there = tensor.detach().to(torch::kMeta);
    tensor.unsafeGetTensorImpl()->shallow_copy_from(there.getIntrusivePtr());
  }
}

bool all_on_meta(const NamedTensors& state) {
  return std::ranges::all_of(state, [](const auto& entry) { return entry.second.is_meta(); });
}

nn::SpatialMamba meta_model(nn::Precision precision) {
  nn::SpatialMamba model(Architecture{.variant = "custom",
                                      .dims = {8, 16},
                                      .depths = {1, 1},
                                      .in_channels = 3,
                                      .num_classes = 3,
                                      .drop_path_rate = 0.5},
                         nn::ModelOptions{.precision = precision});
  nn::initialise(*model, 3);
  move_to_meta(nn::named_state(*model));
  return model;
}

/// A batch that was mixed there.
TrainBatch meta_batch() {
  data::Batch batch;
  batch.n = 4;
  batch.h = 33;
  batch.w = 37;
  batch.c = 3;
  batch.images.resize(static_cast<std::size_t>(batch.n * batch.h * batch.w * batch.c));
  batch.labels = {0, 1, 2, 1};
  const data::Mixture mixture{.cutmix = true, .lam = 0.5, .top = 3, .bottom = 9, .left = 4, .right = 20};
  return mix_batch(batch, mixture, 3, 0.1, torch::kFloat32, torch::kMeta);
}

/// A device other than the CPU: whatever mixes the two throws, and so does whatever wants to see a value.
TEST(OnADeviceWithoutValues, AStepTouchesNoTensorOfTheCpu) {
  for (const nn::Precision precision : {nn::Precision::full, nn::Precision::bf16, nn::Precision::fp16}) {
    for (const bool checkpoint : {false, true}) {
      nn::SpatialMamba model = meta_model(precision);
      const nn::SpatialMamba average = meta_model(precision);
      const NamedTensors state = nn::named_state(*model);
      model->set_checkpoint_blocks(checkpoint);
      model->train();

      NamedTensors parameters;
      std::vector<torch::Tensor> buffers;
      for (const auto& entry : state) {
        if (entry.second.requires_grad()) {
          parameters.push_back(entry);
        } else {
          buffers.push_back(entry.second);
        }
      }
      RunningStatistics statistics(buffers);
      statistics.remember();
      const TrainBatch batch = meta_batch();
      soft_target_cross_entropy(model->forward(batch.images), batch.targets).backward();
      statistics.collect();
      statistics.apply_mean_change(2);
      EXPECT_TRUE(statistics.changes().is_meta());

      std::vector<torch::Tensor> gradients;
      for (const auto& entry : parameters) {
        gradients.push_back(entry.second.grad());
        EXPECT_TRUE(gradients.back().is_meta()) << entry.first;
      }
      EXPECT_TRUE(composed::norm(gradients).is_meta());
      AdamW(group_parameters(parameters), {}).step(1e-3, 0.5);
      update_ema(0.9, nn::named_state(*average), state, kernels::default_isa());
      EXPECT_TRUE(all_on_meta(state));
      EXPECT_TRUE(all_on_meta(nn::named_state(*average)));
    }
  }
}

/// The device does tell: a network of which one tensor stayed behind does not run there.
TEST(OnADeviceWithoutValues, ATensorOfTheCpuIsNoticed) {
  for (const char* left_behind :
       {"norm.weight", "layers.0.blocks.0.self_attention.A_logs", "layers.0.blocks.0.self_attention.Ds"}) {
    nn::SpatialMamba model = meta_model(nn::Precision::full);
    const torch::Tensor stray = model->named_parameters()[left_behind];
    const torch::Tensor real = torch::ones(stray.sizes());
    stray.unsafeGetTensorImpl()->shallow_copy_from(real.getIntrusivePtr());
    EXPECT_ANY_THROW(model->forward(torch::empty({2, 3, 32, 32}, torch::kMeta))) << left_behind;
  }
}

TEST(DeviceBatches, AreMixedAsOnTheCpu) {
  torch::manual_seed(4);
  for (const std::int64_t samples : {4, 5}) {
    const torch::Tensor images = torch::randn({samples, 9, 7, 3});
    for (const data::Mixture& mixture :
         {data::Mixture{}, data::Mixture{.lam = 0.3},
          data::Mixture{.cutmix = true, .lam = 0.5, .top = 2, .bottom = 7, .left = 0, .right = 4}}) {
      const torch::Tensor expected = images.clone();
      data::mix_images<float>(
          {expected.mutable_data_ptr<float>(), static_cast<std::size_t>(expected.numel())},
          {.n = samples, .h = 9, .w = 7, .c = 3}, mixture);
      for (const torch::Device& device : test::devices()) {
        torch::Tensor mixed = images.clone().to(device);
        mix_images(mixed, mixture);
        EXPECT_LE((mixed.cpu() - expected).abs().max().item<double>(), 1e-6);
        EXPECT_EQ(torch::equal(mixed.cpu(), images), mixture.lam == 1.0);
      }
    }
  }
}

}  // namespace
}  // namespace spatialmamba::train
