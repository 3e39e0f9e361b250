#include "train/reference_checkpoint.h"

#include <cmath>
#include <map>
#include <optional>

#include "base/error.h"
#include "nn/state_dict.h"
#include "weights/checkpoint.h"

namespace spatialmamba::train {
namespace {

using pickle::Value;

struct Moments {
  torch::Tensor mean;
  torch::Tensor variance;
  std::int64_t step = 0;
};

const Value& entry(const Value& value, const char* key, const std::string& where) {
  const Value* found = value.find(key);
  if (found == nullptr) fail("{} has no '{}'", where, key);
  return *found;
}

/// The moments by PyTorch's number of the parameter.
std::map<std::int64_t, const Value*> optimizer_states(const Value& optimizer, const std::string& where) {
  const auto states = entry(optimizer, "state", where).entries();
  if (!states) fail("{}: 'state' is no dictionary", where);
  std::map<std::int64_t, const Value*> numbered;
  for (const auto& [number, state] : *states) {
    if (const auto index = number->integer()) numbered.emplace(*index, state);
  }
  return numbered;
}

torch::Tensor moment(Checkpoint& file, const Value& state, const char* key, const AdamW::Slot& slot,
                     const std::string& where) {
  const torch::Tensor tensor = nn::to_torch(file.tensor(entry(state, key, where), key));
  if (tensor.sizes() != slot.parameter.sizes()) {
    fail("{}: {} of {} has shape {}, expected {}", where, key, slot.name, to_string(tensor.sizes().vec()),
         to_string(slot.parameter.sizes().vec()));
  }
  return tensor.to(slot.parameter.scalar_type());
}

/// Older PyTorch keeps a number, newer a tensor of one element.
std::int64_t read_step(Checkpoint& file, const Value& state, const std::string& where) {
  const Value& step = entry(state, "step", where);
  if (const auto number = step.number()) return static_cast<std::int64_t>(*number);
  const torch::Tensor tensor = nn::to_torch(file.tensor(step, "step"));
  if (tensor.numel() != 1) fail("{}: 'step' is no single number", where);
  return tensor.to(torch::kFloat64).to(torch::kInt64).item<std::int64_t>();
}

std::vector<Moments> read_moments(Checkpoint& file, const AdamW& optimizer, const std::string& source) {
  const std::string where = source + ": the optimizer";
  const auto states = optimizer_states(entry(file.root(), "optimizer", source), where);
  if (states.size() != optimizer.slots().size()) {
    fail("{} has a state for {} parameters, the model has {}", where, states.size(),
         optimizer.slots().size());
  }
  std::vector<Moments> moments;
  for (const AdamW::Slot& slot : optimizer.slots()) {
    const auto state = states.find(static_cast<std::int64_t>(moments.size()));
    if (state == states.end()) fail("{} has no state number {} (of {})", where, moments.size(), slot.name);
    moments.push_back({moment(file, *state->second, "exp_avg", slot, where),
                       moment(file, *state->second, "exp_avg_sq", slot, where),
                       read_step(file, *state->second, where)});
  }
  return moments;
}

/// What torch.amp.GradScaler says of itself; nothing where the file has none, or one that was switched off.
std::optional<LossScale::State> read_loss_scale(const Value& root, const std::string& source) {
  const Value* scaler = root.find("scaler");
  if (scaler == nullptr || scaler->find("scale") == nullptr) return std::nullopt;
  const std::string where = source + ": the scaler";
  const auto scale = entry(*scaler, "scale", where).number();
  const auto good_updates = entry(*scaler, "_growth_tracker", where).integer();
  if (!scale || !(*scale > 0.0) || !std::isfinite(*scale) || !good_updates || *good_updates < 0) {
    fail("{}: 'scale' and '_growth_tracker' are no scale above 0 and no number of updates", where);
  }
  return LossScale::State{.value = *scale, .good_updates = *good_updates};
}

}  // namespace

std::int64_t load_reference_checkpoint(const std::filesystem::path& path, Learner& learner) {
  const std::string source = path.string();
  Checkpoint file = Checkpoint::open(path);
  const auto epoch = entry(file.root(), "epoch", source).integer();
  if (!epoch || *epoch < 0) fail("{}: 'epoch' is no epoch", source);
  const TensorMap model = file.state_dict_at("model");
  const bool has_ema = file.root().find("model_ema") != nullptr;
  const TensorMap ema = has_ema ? file.state_dict_at("model_ema") : model;
  const std::vector<Moments> moments = read_moments(file, learner.optimizer(), source);
  const auto loss_scale = read_loss_scale(file.root(), source);

  nn::load_weights(*learner.model(), model, source);
  if (learner.ema_model()) nn::load_weights(*learner.ema_model(), ema, source + " (model_ema)");
  for (std::size_t i = 0; i < moments.size(); ++i) {
    learner.optimizer().slots()[i].mean.copy_(moments[i].mean);
    learner.optimizer().slots()[i].variance.copy_(moments[i].variance);
  }
  learner.optimizer().set_updates(moments.front().step);
  std::optional<LossScale>& own_scale = learner.updater().loss_scale();
  if (own_scale && loss_scale) own_scale->restore(*loss_scale);
  return *epoch + 1;
}

}  // namespace spatialmamba::train
