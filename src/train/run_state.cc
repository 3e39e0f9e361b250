#include "train/run_state.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "model/inference.h"
#include "nn/state_dict.h"
#include "weights/checksums.h"

namespace spatialmamba::train {
namespace {

// Sections of a checkpoint: what stands before the slash in a tensor's name.
constexpr const char* kModel = "model/";
constexpr const char* kEma = "model_ema/";
constexpr const char* kMean = "exp_avg/";
constexpr const char* kVariance = "exp_avg_sq/";
// Metadata that say what a run was started with.
constexpr const char* kRecipe = "recipe";
constexpr const char* kData = "training_data";
constexpr const char* kLossScale = "loss_scale";

void add_section(TensorMap& tensors, const char* section, const NamedTensors& state) {
  for (const auto& [name, tensor] : state) tensors.add(section + name, nn::from_torch(tensor));
}

constexpr const char* kThisModel = "under training";

std::vector<TensorSpec> specs_of(const NamedTensors& state) {
  std::vector<TensorSpec> specs;
  for (const auto& [name, tensor] : state) {
    specs.push_back({name, Shape(tensor.sizes().begin(), tensor.sizes().end()), tensor.requires_grad(),
                     DType::f32});  // of which only names and shapes are compared
  }
  return specs;
}

/// The tensors of one section under their plain names; throws unless each fits.
TensorMap section_of(const Weights& file, const std::string& path, std::string_view section,
                     const NamedTensors& state) {
  TensorMap tensors;
  for (const auto& [name, tensor] : file.tensors) {
    if (name.starts_with(section)) tensors.add(name.substr(section.size()), tensor);
  }
  const WeightsMismatch mismatch = compare(specs_of(state), kThisModel, tensors);
  if (!mismatch.empty()) fail("{}: {} does not fit the model\n{}", path, section, mismatch.describe());
  return tensors;
}

void copy_section(const TensorMap& tensors, const NamedTensors& state) {
  for (const auto& [name, tensor] : state) tensor.copy_(nn::to_torch(tensors.at(name)));
}

torch::Tensor moment(const Weights& file, const std::string& path, const char* section,
                     const AdamW::Slot& slot) {
  const Tensor* stored = file.tensors.find(section + slot.name);
  if (stored == nullptr) fail("{}: {}{} is missing", path, section, slot.name);
  torch::Tensor tensor = nn::to_torch(*stored);
  if (tensor.sizes() != slot.parameter.sizes() || tensor.scalar_type() != slot.parameter.scalar_type()) {
    fail("{}: {}{} has shape {} and type {}, expected those of the parameter, {} and {}", path, section,
         slot.name, to_string(stored->shape()), name_of(stored->dtype()),
         to_string(slot.parameter.sizes().vec()), c10::toString(slot.parameter.scalar_type()));
  }
  return tensor;
}

nlohmann::json to_json(const LossScale::State& scale) {
  return {{"value", scale.value}, {"good_updates", scale.good_updates}};
}

LossScale::State saved_loss_scale(const Weights& file, const std::filesystem::path& path) {
  LossScale::State scale;
  try {
    const auto json = nlohmann::json::parse(run_metadata(file, path, kLossScale));
    json.at("value").get_to(scale.value);
    json.at("good_updates").get_to(scale.good_updates);
  } catch (const nlohmann::json::exception& error) {
    fail_unreadable_record(path, error);
  }
  return scale;
}

}  // namespace

void save_run_state(const std::filesystem::path& path, const Updater& updater,
                    const std::map<std::string, std::string>& metadata) {
  Weights file;
  file.metadata = metadata;
  if (updater.loss_scale()) file.metadata[kLossScale] = to_json(updater.loss_scale()->state()).dump();
  add_section(file.tensors, kModel, updater.value());
  add_section(file.tensors, kEma, updater.average());
  for (const AdamW::Slot& slot : updater.optimizer().slots()) {
    file.tensors.add(kMean + slot.name, nn::from_torch(slot.mean));
    file.tensors.add(kVariance + slot.name, nn::from_torch(slot.variance));
  }
  add_checksums(file);
  write_safetensors(path, file);
}

void load_run_state(const std::filesystem::path& path, Updater& updater) {
  const Weights file = read_safetensors(path);
  const std::string source = path.string();
  verify_checksums(file, source);
  const TensorMap model = section_of(file, source, kModel, updater.value());
  TensorMap average;
  if (!updater.average().empty()) average = section_of(file, source, kEma, updater.average());
  const std::vector<AdamW::Slot>& slots = updater.optimizer().slots();
  std::vector<std::pair<torch::Tensor, torch::Tensor>> moments;
  for (const AdamW::Slot& slot : slots) {
    moments.emplace_back(moment(file, source, kMean, slot), moment(file, source, kVariance, slot));
  }
  if (updater.loss_scale()) updater.loss_scale()->restore(saved_loss_scale(file, path));
  const torch::NoGradGuard no_grad;
  copy_section(model, updater.value());
  copy_section(average, updater.average());
  for (std::size_t i = 0; i < moments.size(); ++i) {
    slots[i].mean.copy_(moments[i].first);
    slots[i].variance.copy_(moments[i].second);
  }
}

const std::string& run_metadata(const Weights& file, const std::filesystem::path& path, const char* key) {
  const auto found = file.metadata.find(key);
  if (found == file.metadata.end()) {
    fail("{}: no checkpoint of a training run (its metadata has no '{}')", path.string(), key);
  }
  return found->second;
}

void note_identity(std::map<std::string, std::string>& metadata, const RunIdentity& identity) {
  metadata[kRecipe] = identity.recipe;
  metadata[kData] = nlohmann::json{{"classes", identity.classes}, {"images", identity.train_images}}.dump();
}

RunIdentity saved_identity(const Weights& file, const std::filesystem::path& path) {
  RunIdentity identity{.recipe = run_metadata(file, path, kRecipe), .classes = {}, .train_images = 0};
  try {
    const auto data = nlohmann::json::parse(run_metadata(file, path, kData));
    data.at("classes").get_to(identity.classes);
    data.at("images").get_to(identity.train_images);
  } catch (const nlohmann::json::exception& error) {
    fail_unreadable_record(path, error);
  }
  return identity;
}

void fail_unreadable_record(const std::filesystem::path& path, const std::exception& cause) {
  fail("{}: its record of the training run cannot be read: {}", path.string(), cause.what());
}

void export_state(const std::filesystem::path& path, const NamedTensors& state,
                  const std::map<std::string, std::string>& metadata) {
  Weights file;
  file.metadata = metadata;
  add_section(file.tensors, "", state);
  add_checksums(file);
  write_safetensors(path, file);
}

Weights read_start(const RunOptions& options) {
  Weights weights = read_weights(options.finetune, options.finetune_ema ? "model_ema" : "");
  verify_checksums(weights, options.finetune.string());
  return weights;
}

void load_state_file(const std::filesystem::path& path, const NamedTensors& state) {
  const Weights file = read_weights(path);
  verify_checksums(file, path.string());
  nn::load_state(state, file.tensors, compare(specs_of(state), kThisModel, file.tensors), path.string(),
                 kThisModel);
}

}  // namespace spatialmamba::train
