#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "train/iteration_log.h"
#include "train/run_conduct.h"
#include "train/trainer.h"
#include "train/updater.h"

namespace spatialmamba::train {

/// What one iteration did.
struct IterationStep {
  NamedValues losses;  ///< always the same names; the first is what was differentiated
  std::int64_t images = 0;
  double wait_seconds = 0.0;              ///< spent waiting for images
  std::vector<std::string> skipped = {};  ///< one sentence for each broken file
};

/// What a task brings to a run that counts iterations. All of it refers to objects of the caller's.
struct IterationTask {
  Updater* updater = nullptr;
  /// Leaves the gradients of iteration `number` (from 0) in the parameters, see make_passes(). What it
  /// computes depends on the weights and the number alone.
  std::function<IterationStep(std::int64_t number)> step;
  /// Scores from 0 to 1 of the model or of its average on the validation data, the first of which decides
  /// what is best, the same in all processes; nothing when stopped. Broken files go to `skipped`.
  std::function<std::optional<NamedValues>(bool average, const std::function<bool()>& stop,
                                           std::vector<std::string>& skipped)>
      evaluate;
  /// The learning rate of an iteration.
  std::function<double(std::int64_t number)> learning_rate;
  /// After a skipped iteration: the first layer whose output was not finite, or empty.
  std::function<std::string()> bad_layer;
  /// Of the weights files.
  std::map<std::string, std::string> description;
  /// One sentence for each file that the data sets left out from the start.
  std::vector<std::string> problems = {};
  /// What summary.json says beside the scores; asked after the best weights were evaluated last.
  std::function<nlohmann::ordered_json()> facts;
};

struct IterationPlan {
  std::int64_t iterations = 0;
  std::int64_t evaluate_every = 1;  ///< the last iteration is always evaluated
  std::int64_t patience = 0;        ///< stop when the best score is so many evaluations old; 0: never
  std::int64_t bad_steps = 10;      ///< skipped iterations in a row that end the run
  std::int64_t keep_every = 0;      ///< a checkpoint of its own after so many evaluations; 0: none
  std::int64_t log_every = 10;
  double checkpoint_minutes = 0.0;  ///< 0: after evaluations only
};

/// Trains until the last iteration, or continues a run (`resumes`), and leaves in options.out what train()
/// leaves: the recipe, a checkpoint to resume from bit for bit, the best weights (plain and averaged), logs
/// as CSV, JSON lines and TensorBoard events, curves, and summary.json with the scores of the best weights.
/// An iteration whose loss or gradient is not usable counts as done, without an update. Of several processes
/// each makes its passes; they stop after the same iteration. Throws Error as train() does.
RunResult run_iterations(const IterationTask& task, const IterationPlan& plan, const RunIdentity& identity,
                         const RunOptions& options, bool resumes);

}  // namespace spatialmamba::train
