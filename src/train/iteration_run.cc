#include "train/iteration_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "base/progress.h"
#include "launch/lost_rank.h"
#include "train/iteration_position.h"
#include "train/recipe.h"
#include "train/run_state.h"

namespace spatialmamba::train {
namespace {

using nlohmann::ordered_json;

constexpr const char* kAveragePrefix = "ema_";

std::string text_of(const NamedValues& values) {
  std::string text;
  for (const auto& [name, value] : values) text += fmt::format("  {} {:.4f}", name, value);
  return text;
}

void add(NamedValues& sums, const NamedValues& values) {
  if (sums.empty()) {
    sums = values;
    return;
  }
  for (std::size_t i = 0; i < values.size(); ++i) sums[i].second += values[i].second;
}

double best_of(const IterationRecord& record, const std::string& score) {
  double best = -1.0;
  for (const auto& [name, value] : record.scores) {
    if (name == score || name == kAveragePrefix + score) best = std::max(best, value);
  }
  return best;
}

class IterationRun {
 public:
  IterationRun(const IterationTask& task, const IterationPlan& plan, const RunIdentity& identity,
               const RunOptions& options, bool resumes)
      : task_(task), plan_(plan), identity_(identity), options_(options), folder_(options.out) {
    if (resumes) resume();
    take_folder(folder_, options, resumes);
    skipped_.report(task.problems, options.say);
    if (!options.is_writer()) return;
    write_text(folder_.recipe(), to_yaml(parse_recipe(identity.recipe, "recipe"), true));
    log_.emplace(folder_, position_.iteration, position_.history);
  }

  RunResult execute();

 private:
  bool has_average() const { return !task_.updater->average().empty(); }
  bool stop_requested() const {
    const bool late = options_.max_minutes > 0.0 && since_start_.seconds() > 60.0 * options_.max_minutes;
    return late || options_.stop();
  }
  Throughput throughput() const {
    return throughput_of(position_.images, position_.stretch_seconds, position_.wait_seconds);
  }
  /// Of the stretch; at least 1, to divide by.
  double made_updates() const {
    return static_cast<double>(std::max<std::int64_t>(position_.stretch_updates, 1));
  }

  void resume();
  void save(const std::filesystem::path& path);
  bool out_of_patience() const;
  bool train_stretch();
  bool train_iteration();
  void count_time();
  void count_update(const Update& update, const NamedValues& losses);
  bool finish_stretch();
  std::optional<NamedValues> evaluate(bool average);
  bool evaluate_both(IterationRecord& record);
  void keep_best(const std::filesystem::path& path, const NamedTensors& state, double score, double& best);
  RunResult stopped();
  ordered_json summarise();

  const IterationTask& task_;
  const IterationPlan& plan_;
  const RunIdentity& identity_;
  const RunOptions& options_;
  RunFolder folder_;
  IterationPosition position_;
  std::optional<IterationLog> log_;
  SkippedFiles skipped_;
  Stopwatch since_start_;
  Stopwatch since_save_;
  Stopwatch since_counted_;  ///< training time that is not in the position yet
};

RunResult IterationRun::execute() {
  try {
    // A run that was stopped behind its last iteration has yet to be evaluated.
    while ((position_.iteration < plan_.iterations && !out_of_patience()) || position_.stretch > 0) {
      if (!train_stretch() || !finish_stretch()) return stopped();
    }
  } catch (const launch::LostRank&) {
    throw;
  } catch (const Error& error) {
    fail("iteration {}: {}", position_.iteration + 1, error.what());
  }
  RunResult result{.summary = summarise()};
  if (!options_.is_writer()) return {};
  write_text(folder_.summary(), result.summary.dump(2) + "\n");
  return result;
}

void IterationRun::resume() {
  const std::filesystem::path path = folder_.checkpoint();
  const Weights file = read_safetensors(path);
  IterationPosition position = saved_position(file, path);
  require_same_run(path, saved_identity(file, path), identity_);
  load_run_state(path, *task_.updater);
  task_.updater->optimizer().set_updates(position.updates);
  position_ = std::move(position);
  options_.say(
      fmt::format("continuing {} in iteration {}", folder_.path().string(), position_.iteration + 1));
}

void IterationRun::save(const std::filesystem::path& path) {
  since_save_.lap();
  if (!options_.is_writer()) return;
  std::map<std::string, std::string> metadata = task_.description;
  note_identity(metadata, identity_);
  note_position(metadata, position_);
  save_run_state(path, *task_.updater, metadata);
}

/// True when the best score, plain or averaged, is older than the recipe's patience.
bool IterationRun::out_of_patience() const {
  const auto& history = position_.history;
  if (plan_.patience == 0 || position_.stretch > 0 || history.empty()) return false;
  const std::string& score = history.front().scores.front().first;
  const auto best = std::ranges::max_element(
      history, {}, [&](const IterationRecord& record) { return best_of(record, score); });
  if (history.end() - 1 - best < plan_.patience) return false;
  options_.say(fmt::format("stopped early: the best {}, {:.4f}, is of iteration {}", score,
                           best_of(*best, score), best->iteration));
  return true;
}

void IterationRun::count_time() {
  const double seconds = since_counted_.lap();
  position_.stretch_seconds += seconds;
  position_.train_seconds += seconds;
}

void IterationRun::count_update(const Update& update, const NamedValues& losses) {
  ++position_.updates;
  ++position_.stretch_updates;
  position_.skipped.in_a_row = 0;
  add(position_.loss_sums, losses);
  position_.norm_sum += update.gradient_norm;
  if (log_ && position_.iteration % plan_.log_every == 0) {
    log_->add_iteration(position_.iteration, update, losses, throughput());
  }
}

/// True when any of the processes wants to stop.
bool IterationRun::train_iteration() {
  IterationStep step = task_.step(position_.iteration);
  skipped_.report(step.skipped, options_.say);
  std::vector<double> totals = {stop_requested() ? 1.0 : 0.0, static_cast<double>(step.images)};
  for (const auto& [name, value] : step.losses) totals.push_back(value);
  const Update update = task_.updater->apply(task_.learning_rate(position_.iteration), totals);
  for (std::size_t i = 0; i < step.losses.size(); ++i) step.losses[i].second = totals[i + 2];
  const std::int64_t number = position_.iteration + 1;
  count_time();
  position_.images += static_cast<std::int64_t>(totals[1]);
  position_.wait_seconds += step.wait_seconds;
  if (!update.problem.empty()) {
    if (log_) log_->add_skipped(number, update.problem);
    count_skipped(position_.skipped, number, update, plan_.bad_steps, options_.say, task_.bad_layer);
  }
  position_.iteration = number;
  ++position_.stretch;
  if (update.problem.empty()) count_update(update, step.losses);
  return totals[0] > 0.0;
}

/// Up to the next evaluation; false when stopped.
bool IterationRun::train_stretch() {
  const std::int64_t next = (position_.iteration - position_.stretch) / plan_.evaluate_every + 1;
  const std::int64_t end = std::min(next * plan_.evaluate_every, plan_.iterations);
  ProgressBar bar(fmt::format("iteration {}/{}", end, plan_.iterations), end - position_.iteration, "it",
                  options_.is_writer());
  since_counted_.lap();
  while (position_.iteration < end) {
    const bool stops = train_iteration();
    const double sum = position_.loss_sums.empty() ? 0.0 : position_.loss_sums.front().second;
    bar.advance(1, fmt::format("loss {:.4f}  data wait {:.0f} %", sum / made_updates(),
                               100.0 * throughput().data_wait));
    if (stops) return false;
    if (plan_.checkpoint_minutes > 0.0 && since_save_.seconds() > 60.0 * plan_.checkpoint_minutes) {
      save(folder_.checkpoint());
    }
  }
  return true;
}

std::optional<NamedValues> IterationRun::evaluate(bool average) {
  std::vector<std::string> skipped;
  auto scores = task_.evaluate(
      average, [this] { return stop_requested(); }, skipped);
  if (!average) skipped_.report(skipped, options_.say);
  return scores;
}

void IterationRun::keep_best(const std::filesystem::path& path, const NamedTensors& state, double score,
                             double& best) {
  if (score <= best) return;
  if (options_.is_writer()) export_state(path, state, task_.description);
  best = score;
}

/// Scores the weights and keeps them where they are the best so far; false when stopped.
bool IterationRun::evaluate_both(IterationRecord& record) {
  const auto plain = evaluate(false);
  if (!plain) return false;
  std::optional<NamedValues> average;
  if (has_average()) {
    average = evaluate(true);
    if (!average) return false;
  }
  record.scores = *plain;
  keep_best(folder_.best(), task_.updater->value(), plain->front().second, position_.best);
  if (!average) return true;
  for (const auto& [name, value] : *average) record.scores.emplace_back(kAveragePrefix + name, value);
  keep_best(folder_.best_ema(), task_.updater->average(), average->front().second, position_.best_average);
  return true;
}

bool IterationRun::finish_stretch() {
  const Throughput pace = throughput();
  IterationRecord record{.iteration = position_.iteration,
                         .learning_rate = task_.learning_rate(position_.iteration - 1),
                         .gradient_norm = position_.norm_sum / made_updates(),
                         .seconds = position_.stretch_seconds,
                         .images_per_second = pace.images_per_second,
                         .losses = position_.loss_sums,
                         .scores = {}};
  for (auto& [name, value] : record.losses) value /= made_updates();
  if (!evaluate_both(record)) return false;
  const std::int64_t lost = position_.stretch - position_.stretch_updates;
  options_.say(fmt::format(
      "iteration {}/{}{}{}  lr {:.2e}  {:.1f} img/s  data wait {:.0f} %  peak {:.0f} MiB  {}{}",
      record.iteration, plan_.iterations, text_of(record.losses), text_of(record.scores),
      record.learning_rate, record.images_per_second, 100.0 * pace.data_wait, pace.peak_memory,
      format_duration(record.seconds), lost > 0 ? fmt::format("  {} updates skipped", lost) : ""));
  position_.history.push_back(record);
  position_.begin_stretch();
  const std::int64_t evaluations = std::ssize(position_.history);
  if (plan_.keep_every > 0 && evaluations % plan_.keep_every == 0) {
    save(folder_.checkpoint_at(record.iteration));
  }
  save(folder_.checkpoint());
  if (log_) log_->add_evaluation(position_.history);
  return true;
}

RunResult IterationRun::stopped() {
  save(folder_.checkpoint());
  options_.say(fmt::format("stopped after iteration {}; --resume continues from {}", position_.iteration,
                           folder_.checkpoint().string()));
  return {.interrupted = true};
}

/// Evaluates the better of the two exported weights once more, from their file.
ordered_json IterationRun::summarise() {
  const bool average = position_.best_average > position_.best;
  const std::filesystem::path best = average ? folder_.best_ema() : folder_.best();
  if (options_.group) options_.group->wait_for_all();  // the writer has written it by then
  load_state_file(best, task_.updater->value());
  std::vector<std::string> known;
  const auto scores = task_.evaluate(
      false, [] { return false; }, known);
  ordered_json summary = to_json(scores.value_or(NamedValues{}));
  summary["weights"] = best.filename().string();
  summary["best"] = position_.best;
  if (has_average()) summary["best_ema"] = position_.best_average;
  summary["train_seconds"] = position_.train_seconds;
  summary["iterations"] = position_.iteration;
  summary["updates"] = position_.updates;
  summary["skipped_updates"] = position_.skipped.total;
  if (task_.updater->loss_scale()) summary["overflowed_updates"] = position_.skipped.overflowed;
  summary["broken_files"] = skipped_.count();
  summary["peak_memory_mib"] = peak_memory();
  summary["train_images"] = identity_.train_images;
  summary.update(task_.facts());
  return summary;
}

}  // namespace

RunResult run_iterations(const IterationTask& task, const IterationPlan& plan, const RunIdentity& identity,
                         const RunOptions& options, bool resumes) {
  return IterationRun(task, plan, identity, options, resumes).execute();
}

}  // namespace spatialmamba::train
