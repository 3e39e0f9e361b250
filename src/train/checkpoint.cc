#include "train/checkpoint.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "nn/state_dict.h"
#include "weights/checksums.h"

namespace spatialmamba::train {
namespace {

// Sections of a checkpoint: what stands before the slash in a tensor's name.
constexpr const char* kModel = "model/";
constexpr const char* kEma = "model_ema/";
constexpr const char* kMean = "exp_avg/";
constexpr const char* kVariance = "exp_avg_sq/";
// Metadata beside the description of the weights.
constexpr const char* kProgress = "progress";
constexpr const char* kRecipe = "recipe";
constexpr const char* kData = "training_data";

nlohmann::ordered_json progress_json(const Progress& progress) {
  nlohmann::ordered_json history = nlohmann::ordered_json::array();
  for (const EpochRecord& record : progress.history) history.push_back(to_json(record));
  return {{"epoch", progress.epoch},
          {"next_batch", progress.next_batch},
          {"epoch_updates", progress.epoch_updates},
          {"updates", progress.updates},
          {"loss_sum", progress.loss_sum},
          {"norm_sum", progress.norm_sum},
          {"images", progress.images},
          {"epoch_seconds", progress.epoch_seconds},
          {"train_seconds", progress.train_seconds},
          {"wait_seconds", progress.wait_seconds},
          {"epoch_skipped", progress.epoch_skipped},
          {"skipped", progress.skipped},
          {"skipped_in_a_row", progress.skipped_in_a_row},
          {"best_top1", progress.best_top1},
          {"best_ema_top1", progress.best_ema_top1},
          {"history", history}};
}

Progress parse_progress(const nlohmann::json& json) {
  Progress progress;
  json.at("epoch").get_to(progress.epoch);
  json.at("next_batch").get_to(progress.next_batch);
  json.at("epoch_updates").get_to(progress.epoch_updates);
  json.at("updates").get_to(progress.updates);
  json.at("loss_sum").get_to(progress.loss_sum);
  json.at("norm_sum").get_to(progress.norm_sum);
  json.at("images").get_to(progress.images);
  json.at("epoch_seconds").get_to(progress.epoch_seconds);
  json.at("train_seconds").get_to(progress.train_seconds);
  // Checkpoints of earlier versions have none of these.
  progress.wait_seconds = json.value("wait_seconds", 0.0);
  progress.epoch_skipped = json.value("epoch_skipped", std::int64_t{0});
  progress.skipped = json.value("skipped", std::int64_t{0});
  progress.skipped_in_a_row = json.value("skipped_in_a_row", std::int64_t{0});
  json.at("best_top1").get_to(progress.best_top1);
  json.at("best_ema_top1").get_to(progress.best_ema_top1);
  for (const nlohmann::json& record : json.at("history")) progress.history.push_back(epoch_record(record));
  return progress;
}

const std::string& metadata_at(const Weights& file, const std::filesystem::path& path, const char* key) {
  const auto found = file.metadata.find(key);
  if (found == file.metadata.end()) {
    fail("{}: no checkpoint of a training run (its metadata has no '{}')", path.string(), key);
  }
  return found->second;
}

void add_section(TensorMap& tensors, const char* section, const nn::SpatialMambaImpl& model) {
  for (const auto& [name, tensor] : nn::named_state(model))
    tensors.add(section + name, nn::from_torch(tensor));
}

/// The tensors of one section under their plain names; throws unless each has the model's type.
TensorMap section_of(const Weights& file, const std::string& path, std::string_view section,
                     const nn::SpatialMambaImpl& model) {
  TensorMap tensors;
  for (const auto& [name, tensor] : file.tensors) {
    if (name.starts_with(section)) tensors.add(name.substr(section.size()), tensor);
  }
  const WeightsMismatch mismatch = compare(model.architecture(), tensors);
  if (!mismatch.empty()) fail("{}: {} does not fit the model\n{}", path, section, mismatch.describe());
  return tensors;
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

}  // namespace

void save_checkpoint(const std::filesystem::path& path, const Learner& learner, const SavedRun& run,
                     const Description& description) {
  Weights file;
  file.metadata = description;
  file.metadata[kProgress] = progress_json(run.progress).dump();
  file.metadata[kRecipe] = run.identity.recipe;
  file.metadata[kData] =
      nlohmann::json{{"classes", run.identity.classes}, {"images", run.identity.train_images}}.dump();
  add_section(file.tensors, kModel, *learner.model());
  if (learner.ema_model()) add_section(file.tensors, kEma, *learner.ema_model());
  for (const AdamW::Slot& slot : learner.optimizer().slots()) {
    file.tensors.add(kMean + slot.name, nn::from_torch(slot.mean));
    file.tensors.add(kVariance + slot.name, nn::from_torch(slot.variance));
  }
  add_checksums(file);
  write_safetensors(path, file);
}

SavedRun read_saved_run(const std::filesystem::path& path) {
  const Weights file = read_safetensors(path);
  SavedRun run;
  run.identity.recipe = metadata_at(file, path, kRecipe);
  try {
    const auto data = nlohmann::json::parse(metadata_at(file, path, kData));
    data.at("classes").get_to(run.identity.classes);
    data.at("images").get_to(run.identity.train_images);
    run.progress = parse_progress(nlohmann::json::parse(metadata_at(file, path, kProgress)));
  } catch (const nlohmann::json::exception& error) {
    fail("{}: its record of the training run cannot be read: {}", path.string(), error.what());
  }
  return run;
}

void load_checkpoint(const std::filesystem::path& path, Learner& learner) {
  const Weights file = read_safetensors(path);
  const std::string source = path.string();
  verify_checksums(file, source);
  const TensorMap model = section_of(file, source, kModel, *learner.model());
  TensorMap ema;
  if (learner.ema_model()) ema = section_of(file, source, kEma, *learner.ema_model());
  std::vector<std::pair<torch::Tensor, torch::Tensor>> moments;
  for (const AdamW::Slot& slot : learner.optimizer().slots()) {
    moments.emplace_back(moment(file, source, kMean, slot), moment(file, source, kVariance, slot));
  }
  const std::int64_t updates = read_saved_run(path).progress.updates;

  nn::load_weights(*learner.model(), model, source);
  if (learner.ema_model()) nn::load_weights(*learner.ema_model(), ema, source);
  for (std::size_t i = 0; i < moments.size(); ++i) {
    learner.optimizer().slots()[i].mean.copy_(moments[i].first);
    learner.optimizer().slots()[i].variance.copy_(moments[i].second);
  }
  learner.optimizer().set_updates(updates);
}

void export_weights(const std::filesystem::path& path, const nn::SpatialMambaImpl& model,
                    const Description& description) {
  Weights file = nn::to_weights(model);
  for (const auto& [key, value] : description) file.metadata[key] = value;
  add_checksums(file);
  write_safetensors(path, file);
}

}  // namespace spatialmamba::train
