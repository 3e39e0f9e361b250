#include "train/replicas.h"

#include "base/error.h"
#include "nn/layers.h"
#include "train/run_conduct.h"
#include "train/run_state.h"

namespace spatialmamba::train {
namespace {

Recipe with_replicas(Recipe recipe, const RunFolder& folder, bool resumes, int processes) {
  if (recipe.train.replicas != 0) return recipe;
  if (resumes) {
    const std::filesystem::path path = folder.checkpoint();
    const RunIdentity saved = saved_identity(read_safetensors(path), path);
    recipe.train.replicas = parse_recipe(saved.recipe, path.string()).train.replicas;
  } else if (processes > 1) {
    recipe.train.replicas = processes;
  }
  return recipe;
}

}  // namespace

Cut cut_update(const Recipe& recipe, std::int64_t processes) {
  const std::int64_t wanted = replicas_of(recipe);
  const bool together = recipe.train.sync_batch_norm;
  if (wanted == processes || (processes < wanted && !together)) return {recipe.train.batch, wanted};
  const std::int64_t images = recipe.train.batch * wanted;
  if (images % processes != 0) {
    fail_usage(
        "{} processes cannot share an update evenly: the {} images of train.batch {} times train.replicas {} "
        "are not a multiple",
        processes, images, recipe.train.batch, wanted);
  }
  return {images / processes, processes};
}

std::int64_t ReplicaShare::batches(std::int64_t pictures) const {
  if (pictures >= images()) return pictures / images();
  if (cut.replicas > 1) {
    fail_usage("there are {} training images, fewer than the {} that {} replicas share in one pass", pictures,
               images(), cut.replicas);
  }
  return 1;
}

std::vector<ReplicaShare> own_shares(const Cut& cut, const RunOptions& options) {
  std::vector<ReplicaShare> shares;
  for (std::int64_t replica = options.rank(); replica < cut.replicas; replica += options.processes()) {
    shares.push_back({replica, cut});
  }
  return shares;
}

RunStart start_run(const Recipe& recipe, const RunOptions& options) {
  const RunFolder folder(options.out);
  const auto accept = [&] { return accept_folder(folder, options); };
  const bool resumes = options.group ? options.group->ask_writer(accept) : accept();
  return {with_replicas(recipe, folder, resumes, options.processes()), resumes};
}

void synchronise_batch_norm(const torch::nn::Module& model,
                            const std::shared_ptr<distributed::Group>& group) {
  for (const auto& module : model.modules()) {
    if (auto* norm = module->as<nn::BatchNormImpl>()) {
      norm->sum_over_processes = [group](torch::Tensor& values) { group->sum(values); };
    }
  }
}

EvaluationShare evaluation_share(const RunOptions& options) {
  if (!options.group) return {};
  return {.process = options.group->rank(),
          .processes = options.group->size(),
          .gather = [group = options.group](const std::string& bytes) { return group->gather(bytes); }};
}

}  // namespace spatialmamba::train
