// The reference's own training run of 40 updates, repeated: mixing, losses, MESA, clipping, AdamW, schedule
// and EMA.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "data/mixup.h"
#include "nn/state_dict.h"
#include "nn/ways.h"
#include "support/golden.h"
#include "train/batch.h"
#include "train/csv_table.h"
#include "train/learner.h"

namespace spatialmamba::train {
namespace {

using nlohmann::json;
using test::CsvTable;
using test::golden;

/// ImageNet's, which the reference normalises with.
constexpr std::array<float, 3> kMean = {0.485F, 0.456F, 0.406F};
constexpr std::array<float, 3> kStd = {0.229F, 0.224F, 0.225F};

struct Trace {
  json facts = json::parse(read_text(golden("classification/train/trace.json")));
  CsvTable micro = CsvTable::read(golden("classification/train/trace_micro.csv"));
  CsvTable steps = CsvTable::read(golden("classification/train/trace_steps.csv"));
  Weights data = read_safetensors(golden("classification/train/train_data.safetensors"));
  Weights final = read_safetensors(golden("classification/train/final.safetensors"));

  template <typename T = std::int64_t>
  T fact(const char* key) const {
    return facts.at(key).get<T>();
  }
};

nn::SpatialMamba start_model(const Trace& trace, torch::ScalarType type, const test::Way& way) {
  const Weights weights = read_safetensors(golden("classification/nano/nano_weights.safetensors"));
  nn::SpatialMamba model(infer_architecture(weights.tensors), nn::ModelOptions{.operators = way.operators});
  nn::load_weights(*model, weights.tensors, "nano");
  const torch::NoGradGuard no_grad;
  model->named_parameters()["head.weight"].mul_(trace.fact<float>("head_weight_scale"));
  set_element_type(*model, type);
  model->to(way.device);
  return model;
}

CosineSchedule schedule_of(const Trace& trace) {
  const std::int64_t updates = trace.fact("micro_batches_per_epoch") / trace.fact("accumulation_steps");
  const json& rates = trace.facts.at("scaled_lr");
  return {.base_rate = rates.at("BASE_LR"),
          .warmup_rate = rates.at("WARMUP_LR"),
          .minimum_rate = rates.at("MIN_LR"),
          .total_updates = trace.fact("epochs_for_schedule") * updates,
          .warmup_updates = trace.fact("warmup_epochs") * updates};
}

LearnerOptions options_of(const Trace& trace, const test::Way& way) {
  const json& adamw = trace.facts.at("adamw");
  return {.adamw = {.beta1 = adamw.at("betas").at(0),
                    .beta2 = adamw.at("betas").at(1),
                    .epsilon = adamw.at("eps"),
                    .weight_decay = adamw.at("weight_decay").at(0),
                    .operators = way.operators},
          .schedule = schedule_of(trace),
          .clip_norm = trace.fact<double>("clip_grad"),
          .accumulation = trace.fact("accumulation_steps"),
          .ema = true,
          .ema_decay = trace.fact<double>("ema_decay"),
          .mesa = trace.fact<double>("mesa")};
}

/// Images `first` … of the stored order, normalised, channels last.
data::Batch load_images(const Trace& trace, const std::vector<std::int64_t>& indices) {
  const Tensor& pictures = trace.data.tensors.at("images_u8");  // (images, C, H, W)
  const std::vector<std::int64_t> labels = trace.data.tensors.at("labels").values<std::int64_t>();
  data::Batch batch;
  batch.n = static_cast<std::int64_t>(indices.size());
  batch.c = pictures.shape()[1];
  batch.h = pictures.shape()[2];
  batch.w = pictures.shape()[3];
  const std::int64_t plane = batch.h * batch.w;
  for (const std::int64_t index : indices) {
    const std::uint8_t* picture = pictures.data<std::uint8_t>() + index * batch.c * plane;
    batch.labels.push_back(labels.at(static_cast<std::size_t>(index)));
    for (std::int64_t i = 0; i < plane * batch.c; ++i) {
      const auto c = static_cast<std::size_t>(i % batch.c);
      const auto value = static_cast<float>(picture[i % batch.c * plane + i / batch.c]);
      batch.images.push_back((value / 255.0F - kMean[c]) / kStd[c]);
    }
  }
  return batch;
}

std::vector<std::int64_t> indices_of(const Trace& trace, std::int64_t micro) {
  const std::int64_t per_epoch = trace.fact("micro_batches_per_epoch");
  const std::int64_t size = trace.fact("batch");
  const Tensor& order = trace.data.tensors.at("order");  // (epochs, images)
  const std::int64_t* row = order.data<std::int64_t>() + micro / per_epoch * order.shape()[1];
  return {row + micro % per_epoch * size, row + (micro % per_epoch + 1) * size};
}

data::Mixture mixture_of(const CsvTable& table, std::size_t row) {
  data::Mixture mixture{.cutmix = table.integer(row, "use_cutmix") != 0, .lam = table.number(row, "lam")};
  if (mixture.cutmix) {
    mixture.top = table.integer(row, "yl");
    mixture.bottom = table.integer(row, "yh");
    mixture.left = table.integer(row, "xl");
    mixture.right = table.integer(row, "xh");
  }
  return mixture;
}

TrainBatch micro_batch(const Trace& trace, std::int64_t micro, torch::ScalarType type,
                       const torch::Device& device = torch::Device(torch::kCPU)) {
  return mix_batch(load_images(trace, indices_of(trace, micro)),
                   mixture_of(trace.micro, static_cast<std::size_t>(micro)), trace.fact("num_classes"),
                   trace.fact<double>("label_smoothing"), type, device);
}

std::vector<double> to_doubles(const torch::Tensor& tensor) {
  return test::as_double(nn::from_torch(tensor.cpu().to(torch::kFloat64)));
}

double largest_difference(const std::vector<double>& a, const std::vector<double>& b) {
  double largest = a.size() == b.size() ? 0.0 : std::numeric_limits<double>::infinity();
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i)
    largest = std::max(largest, std::abs(a[i] - b[i]));
  return largest;
}

/// What holds a step's numbers to the reference's.
struct Allowance {
  const char* suffix;  ///< of the columns to compare with
  double loss;         ///< of a loss, absolute in single and relative in double
  double norm;         ///< of a gradient norm, relative
  bool relative_loss;
};

void expect_loss(double actual, double expected, const Allowance& allowed, std::int64_t micro) {
  const double tolerance = allowed.relative_loss ? allowed.loss * std::abs(expected) : allowed.loss;
  EXPECT_NEAR(actual, expected, tolerance) << "micro-batch " << micro;
}

/// Runs the whole trace; `allowed(step)` says what each update may differ by.
template <typename Allowed>
Learner run_trace(const Trace& trace, torch::ScalarType type, const test::Way& way, const Allowed& allowed) {
  SCOPED_TRACE(way.name());
  at::set_num_threads(1);  // a model this small gains nothing from more
  Learner learner(start_model(trace, type, way), options_of(trace, way));
  const std::int64_t accumulation = trace.fact("accumulation_steps");
  for (std::size_t step = 0; step < trace.steps.rows(); ++step) {
    const Allowance allowance = allowed(static_cast<std::int64_t>(step));
    const bool mesa = trace.steps.integer(step, "epoch") >= trace.fact("mesa_first_epoch");
    for (std::int64_t i = 0; i < accumulation; ++i) {
      const std::int64_t micro = static_cast<std::int64_t>(step) * accumulation + i;
      const TrainBatch batch = micro_batch(trace, micro, type, way.device);
      const MicroStep made = learner.accumulate(batch.images, batch.targets, mesa);
      const std::string column = fmt::format("loss_micro{}{}", i, allowance.suffix);
      expect_loss(made.loss, trace.steps.number(step, column), allowance, micro);
    }
    const Update update = learner.update();
    const double norm = trace.steps.number(step, std::string("grad_norm") + allowance.suffix);
    EXPECT_NEAR(update.gradient_norm, norm, allowance.norm * norm) << "step " << step;
    EXPECT_EQ(update.clipped, trace.steps.integer(step, "clipped") != 0) << "step " << step;
    for (const char* group : {"lr_group0", "lr_group1"}) {
      const double rate = trace.steps.number(step, group);
      EXPECT_NEAR(update.learning_rate, rate, 1e-14 * rate) << "step " << step;
    }
  }
  const double next = trace.facts.at("lr_after_last_step").at(0);
  EXPECT_NEAR(learner.options().schedule.for_update(learner.updates()), next, 1e-14 * next);
  return learner;
}

torch::Tensor all_images(const Trace& trace, torch::ScalarType type) {
  std::vector<std::int64_t> indices(static_cast<std::size_t>(trace.fact("images")));
  std::iota(indices.begin(), indices.end(), 0);
  data::Batch batch = load_images(trace, indices);
  return batch_images(batch, type).clone();
}

/// Entries of the golden's `section/` against a model's state. Returns how many there were.
int expect_state(const Trace& trace, const std::string& section, const nn::SpatialMambaImpl& model,
                 const std::function<double(const std::string&)>& tolerance) {
  int compared = 0;
  for (const auto& [name, tensor] : nn::named_state(model)) {
    const Tensor* expected = trace.final.tensors.find(section + name);
    if (expected == nullptr) continue;
    ++compared;
    const double difference = largest_difference(to_doubles(tensor), to_doubles(nn::to_torch(*expected)));
    EXPECT_LE(difference, tolerance(name)) << section << name;
  }
  return compared;
}

/// Relative deviation of the logits of a model in evaluation mode on all images, in the stored order.
double logits_deviation(const Trace& trace, nn::SpatialMambaImpl& model, const char* name,
                        torch::ScalarType type) {
  const torch::Device device = model.parameters().front().device();
  const torch::Tensor logits = evaluate_logits(model, all_images(trace, type).to(device));
  return test::relative_deviation(to_doubles(logits), test::as_double(trace.final.tensors.at(name)));
}

TEST(Trace, MixedMicroBatchesMatch) {
  const Trace trace;
  int compared = 0;
  for (std::int64_t micro = 0;; ++micro) {
    const Tensor* input = trace.data.tensors.find(fmt::format("micro{}/mixed_input", micro));
    if (input == nullptr) break;
    const TrainBatch batch = micro_batch(trace, micro, torch::kFloat32);
    const Tensor& target = trace.data.tensors.at(fmt::format("micro{}/target", micro));
    EXPECT_LE(test::relative_deviation(to_doubles(batch.images), test::as_double(*input)), 1e-6);
    EXPECT_LE(test::relative_deviation(to_doubles(batch.targets), test::as_double(target)), 1e-6);
    ++compared;
  }
  EXPECT_GT(compared, 0);
}

TEST(Trace, ParameterGroupsMatchByName) {
  const Trace trace;
  const nn::SpatialMamba model = start_model(trace, torch::kFloat32, test::ways().front());
  NamedTensors parameters;
  for (const auto& entry : nn::named_state(*model)) {
    if (entry.second.requires_grad()) parameters.push_back(entry);
  }
  const auto names = [](const NamedTensors& group) {
    std::vector<std::string> list;
    for (const auto& entry : group) list.push_back(entry.first);
    return list;
  };
  const ParameterGroups groups = group_parameters(parameters);
  EXPECT_EQ(names(parameters), trace.fact<std::vector<std::string>>("order_of_parameters"));
  EXPECT_EQ(names(groups.decay), trace.fact<std::vector<std::string>>("group0_decay"));
  EXPECT_EQ(names(groups.no_decay), trace.fact<std::vector<std::string>>("group1_no_decay"));
}

/// In each of the ways of this machine.
class TraceOfWay : public testing::TestWithParam<test::Way> {};

TEST_P(TraceOfWay, DoublePrecisionRepeatsTheReference) {
  constexpr double kSteps = 1e-8;
  constexpr double kWeights = 1e-6;  // stored as float32
  const Trace trace;
  Learner learner = run_trace(trace, torch::kFloat64, GetParam(), [](std::int64_t) {
    return Allowance{.suffix = "_f64", .loss = kSteps, .norm = kSteps, .relative_loss = true};
  });
  const auto tolerance = [](const std::string&) { return kWeights; };
  EXPECT_GT(expect_state(trace, "final_f64/", *learner.model(), tolerance), 0);
  EXPECT_GT(expect_state(trace, "ema_f64/", *learner.ema_model(), tolerance), 0);
  EXPECT_LE(logits_deviation(trace, *learner.model(), "eval_logits_f64", torch::kFloat64), kSteps);
  EXPECT_LE(logits_deviation(trace, *learner.ema_model(), "ema_eval_logits_f64", torch::kFloat64), kSteps);
}

TEST_P(TraceOfWay, SinglePrecisionStaysAsCloseAsTheReferences) {
  constexpr std::int64_t kEarlySteps = 10;
  constexpr double kEarlyLoss = 1e-4;
  constexpr double kLoss = 2e-3;
  constexpr double kNorm = 0.03;
  constexpr double kFactor = 5.0;
  const Trace trace;
  Learner learner = run_trace(trace, torch::kFloat32, GetParam(), [](std::int64_t step) {
    return Allowance{
        .suffix = "", .loss = step < kEarlySteps ? kEarlyLoss : kLoss, .norm = kNorm, .relative_loss = false};
  });
  const json& spread = trace.facts.at("max_abs_weight_diff_float32_vs_float64");
  EXPECT_GT(expect_state(trace, "final_f64/", *learner.model(),
                         [&](const std::string& name) { return kFactor * spread.at(name).get<double>(); }),
            0);
  EXPECT_LE(logits_deviation(trace, *learner.model(), "eval_logits_f64", torch::kFloat32),
            kFactor * trace.fact<double>("eval_logits_rel_dev_f32_f64"));
}

INSTANTIATE_TEST_SUITE_P(Ways, TraceOfWay, testing::ValuesIn(test::ways()),
                         [](const auto& each) { return each.param.identifier(); });

}  // namespace
}  // namespace spatialmamba::train
