#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>

#include "data/dataset.h"
#include "distributed/group.h"
#include "train/recipe.h"

namespace spatialmamba::train {

/// How a run behaves beyond its recipe.
struct RunOptions {
  std::filesystem::path out;
  bool resume = false;             ///< continue the run in `out`; starts a new one where there is none
  bool force = false;              ///< remove the run in `out` first
  std::filesystem::path finetune;  ///< weights to start from; empty: initialise
  bool finetune_ema = false;       ///< their averaged version
  /// A .pth that the reference's training code saved, to continue in a new run; empty: none.
  std::filesystem::path resume_from;
  bool strict = false;       ///< stop at the first broken image
  double max_minutes = 0.0;  ///< stop as Ctrl-C does after this long; 0: never
  /// The processes that share this run, `out` being a folder that all of them see; null: this one alone. The
  /// writer alone writes and reports; what stops one process stops all after the same update.
  std::shared_ptr<distributed::Group> group = nullptr;
  /// Asked after each update; true stops the run as Ctrl-C does.
  std::function<bool()> stop = [] { return false; };
  /// Told of each validation sample and its logits when the best weights are evaluated at the end.
  std::function<void(std::int64_t, std::span<const float>)> observe = [](std::int64_t,
                                                                         std::span<const float>) {};
  /// One line for the user.
  std::function<void(const std::string&)> say = [](const std::string&) {};

  bool is_writer() const { return !group || group->is_writer(); }
  int rank() const { return group ? group->rank() : 0; }
  int processes() const { return group ? group->size() : 1; }
  int local_rank() const { return group ? group->local_rank() : 0; }
};

struct RunResult {
  bool interrupted = false;             ///< stopped early; `resume` continues
  nlohmann::ordered_json summary = {};  ///< what summary.json holds; empty when interrupted or not the writer
};

/// Trains a recipe on `training`, evaluates on `validation` after each epoch and leaves in `out`:
///   recipe.yaml            the recipe with every key
///   checkpoint.safetensors the last state, to resume from; checkpoint_epoch_N.safetensors every so often
///   best.safetensors       the weights with the best top-1; best_ema.safetensors the best averaged ones
///   log.csv, log.jsonl, events.out.tfevents.*, curves.png, summary.json
/// Throws Error for a folder that holds another run, data that does not fit, a loss that is not finite, …:
/// files written before that stay whole.
RunResult train(const Recipe& recipe, const data::Dataset& training, const data::Dataset& validation,
                const RunOptions& options);

}  // namespace spatialmamba::train
