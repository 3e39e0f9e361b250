#include "train/trainer.h"

#include <ATen/CPUGeneratorImpl.h>

#include <array>

#include "base/error.h"
#include "base/file.h"
#include "base/progress.h"
#include "data/loader.h"
#include "data/sampling.h"
#include "device/device.h"
#include "launch/lost_rank.h"
#include "nn/state_dict.h"
#include "train/batch.h"
#include "train/checkpoint.h"
#include "train/classifier_start.h"
#include "train/epoch_report.h"
#include "train/evaluate.h"
#include "train/journal.h"
#include "train/plan.h"
#include "train/reference_checkpoint.h"
#include "train/replicas.h"
#include "train/run_conduct.h"
#include "train/run_state.h"

namespace spatialmamba::train {
namespace {

class Run {
 public:
  /// `resumes`: the folder has been accepted, and holds a checkpoint to continue.
  Run(const Recipe& recipe, const data::Dataset& training, const data::Dataset& validation,
      const RunOptions& options, bool resumes)
      : recipe_(recipe),
        training_(recipe.data.balance ? data::balanced(training) : training),
        validation_(validation),
        options_(options),
        folder_(options.out),
        plan_(plan_for(recipe, training, options)),
        identity_{to_yaml(recipe), training.classes, training.size()},
        resumes_(resumes),
        device_(open_device(recipe, options)),
        learner_(start_model(plan_, recipe, options, device_, resumes_), plan_.learner, options.group),
        generator_(at::make_generator<at::CPUGeneratorImpl>(recipe.train.seed)) {
    learner_.model()->set_generator(generator_);
    if (options.group) plan_.train_loader.share.process = options.group->rank();
    if (resumes_) {
      resume();
    } else if (!options.resume_from.empty()) {
      resume_reference();
    }
    take_folder(folder_, options, resumes_);
    skipped_.report(training.problems, options.say);
    skipped_.report(validation.problems, options.say);
    if (!options_.is_writer()) return;
    write_text(folder_.recipe(), to_yaml(recipe, true));
    journal_.emplace(folder_, progress_.updates, progress_.history);
  }

  RunResult execute();

 private:
  enum class Outcome { finished, stopped };

  /// The batches that an update takes, in all processes together.
  std::int64_t batches_per_update() const {
    return plan_.train_loader.share.replicas * plan_.train_loader.share.run;
  }

  void resume();
  void resume_reference();
  Outcome train_epoch();
  void train_batch(const data::Batch& batch);
  bool next_batch(data::Loader& loader, data::Batch& batch);
  std::int64_t next_own_batch() const;
  Outcome update();
  void skip_update(const Update& update);
  void forget_pending();
  Throughput throughput() const;
  bool stop_requested() const;
  bool out_of_patience() const;

  Outcome finish_epoch();
  bool evaluate_both(EpochRecord& record);
  std::optional<Evaluation> evaluate_model(nn::SpatialMambaImpl& model, const std::string& what) const;
  void keep_best(const EpochRecord& record);
  void save(const std::filesystem::path& path);
  void count_time();
  void report_epoch(const EpochRecord& record) const;
  nlohmann::ordered_json summarise();

  std::string epoch_label() const {
    return fmt::format("epoch {}/{}", progress_.epoch + 1, recipe_.train.epochs);
  }
  /// Of the epoch under way; at least 1, to divide by.
  double made_updates() const {
    return static_cast<double>(std::max<std::int64_t>(progress_.epoch_updates - progress_.epoch_skipped, 1));
  }
  std::int64_t batches_per_epoch() const { return data::batch_count(training_.size(), plan_.train_loader); }

  Recipe recipe_;
  data::Dataset training_;
  const data::Dataset& validation_;
  const RunOptions& options_;
  RunFolder folder_;
  Plan plan_;
  RunIdentity identity_;
  bool resumes_;
  torch::Device device_;
  Learner learner_;
  at::Generator generator_;
  Progress progress_;
  std::optional<Journal> journal_;

  Stopwatch since_start_;
  Stopwatch since_save_;
  Stopwatch since_counted_;    ///< training time that is not in the progress yet
  double pending_loss_ = 0.0;  ///< of the micro-batches since the last update
  std::int64_t pending_ = 0;   ///< how many these are
  std::int64_t pending_images_ = 0;
  SkippedFiles skipped_;
};

void Run::resume() {
  const SavedRun saved = read_saved_run(folder_.checkpoint());
  require_same_run(folder_.checkpoint(), saved.identity, identity_);
  load_checkpoint(folder_.checkpoint(), learner_);
  progress_ = saved.progress;
  // Another number of processes may have cut the updates into other batches.
  if (batches_per_update() > recipe_.train.accumulation) {
    progress_.next_batch = progress_.epoch_updates * batches_per_update();
  }
  options_.say(fmt::format("continuing {} in {}, update {}", folder_.path().string(), epoch_label(),
                           progress_.updates + 1));
}

void Run::resume_reference() {
  const std::string source = options_.resume_from.string();
  const std::int64_t epochs = load_reference_checkpoint(options_.resume_from, learner_);
  const std::int64_t expected = epochs * plan_.updates_per_epoch;
  if (learner_.updates() != expected) {
    fail(
        "{}: stands after {} epochs and {} updates, this recipe makes {} updates by then; are train.batch, "
        "train.accumulation and the images those of that run?",
        source, epochs, learner_.updates(), expected);
  }
  progress_.epoch = epochs;
  progress_.updates = learner_.updates();
  options_.say(fmt::format("continuing {} with epoch {}", source, epochs + 1));
}

bool Run::stop_requested() const {
  const bool late = options_.max_minutes > 0.0 && since_start_.seconds() > 60.0 * options_.max_minutes;
  return late || options_.stop();
}

/// True when the best top-1, plain or averaged, is older than the recipe's patience.
bool Run::out_of_patience() const {
  if (recipe_.train.patience == 0 || progress_.history.empty() || !progress_.history.back().top1)
    return false;
  const BestEpoch best = best_epoch(progress_.history);
  if (progress_.epoch - best.epoch < recipe_.train.patience) return false;
  options_.say(
      fmt::format("stopped early: the best top-1, {}, is of epoch {}", percent(best.top1), best.epoch));
  return true;
}

void Run::count_time() {
  const double seconds = since_counted_.lap();
  progress_.epoch_seconds += seconds;
  progress_.train_seconds += seconds;
}

void Run::save(const std::filesystem::path& path) {
  if (options_.is_writer()) save_checkpoint(path, learner_, {progress_, identity_}, plan_.description);
  since_save_.lap();
}

/// How fast the epoch under way has gone so far.
Throughput Run::throughput() const {
  Throughput result = throughput_of(progress_.images, progress_.epoch_seconds, progress_.wait_seconds);
  result.device_memory = device::peak_memory(device_);
  return result;
}

void Run::train_batch(const data::Batch& batch) {
  const std::int64_t micro_batch = progress_.epoch * batches_per_epoch() + batch.number;
  Random random = stream_of(recipe_.train.seed, Stream::mixture, micro_batch);
  generator_.set_current_seed(stream_of(recipe_.train.seed, Stream::drop_path, micro_batch).bits());
  const data::Mixture mixture = data::draw_mixture(plan_.mixup, batch.h, batch.w, random);
  const TrainBatch mixed = mix_batch(batch, mixture, plan_.architecture.num_classes,
                                     recipe_.augment.label_smoothing, plan_.element_type, device_);
  const MicroStep step =
      learner_.accumulate(mixed.images, mixed.targets, progress_.epoch >= plan_.first_mesa_epoch);
  pending_loss_ += step.loss;
  ++pending_;
  pending_images_ += batch.n;
  progress_.next_batch = batch.number + 1;
}

/// The first batch from progress_.next_batch on that is this process's.
std::int64_t Run::next_own_batch() const {
  std::int64_t number = progress_.next_batch;
  while (!plan_.train_loader.share.has(number)) ++number;
  return number;
}

bool Run::next_batch(data::Loader& loader, data::Batch& batch) {
  const Stopwatch waiting;
  const bool there_is_one = loader.next(batch);
  progress_.wait_seconds += waiting.seconds();
  // A process that passed over a batch of broken images would be out of step with the others.
  if (batches_per_update() > recipe_.train.accumulation &&
      (!there_is_one || batch.number != next_own_batch())) {
    fail("batch {}: none of its images could be read, and it is a replica's whole share", next_own_batch());
  }
  return there_is_one;
}

/// Ends the run when nothing but skipping has been going on.
void Run::skip_update(const Update& update) {
  ++progress_.epoch_skipped;
  if (journal_) journal_->add_skipped(progress_.updates + 1, update.problem);
  count_skipped(progress_.skipped, progress_.updates + 1, update, recipe_.train.bad_steps, options_.say,
                [this] { return learner_.first_non_finite_layer(); });
}

/// Ends with what all processes together have seen, and want: they stop after the same update.
Run::Outcome Run::update() {
  std::array<double, 3> totals = {pending_loss_, static_cast<double>(pending_images_),
                                  stop_requested() ? 1.0 : 0.0};
  const Update made = learner_.update(totals);
  const auto [loss, images, stops] = totals;
  ++progress_.epoch_updates;
  progress_.images += static_cast<std::int64_t>(images);
  if (batches_per_update() > recipe_.train.accumulation) {
    progress_.next_batch = progress_.epoch_updates * batches_per_update();
  }
  count_time();
  if (!made.problem.empty()) {
    skip_update(made);
  } else {
    progress_.loss_sum += loss;
    progress_.norm_sum += made.gradient_norm;
    progress_.skipped.in_a_row = 0;
    ++progress_.updates;
    if (journal_ && progress_.updates % recipe_.output.log_every == 0) {
      journal_->add_update(progress_.updates, made, loss, throughput());
    }
  }
  forget_pending();
  return stops > 0.0 ? Outcome::stopped : Outcome::finished;
}

void Run::forget_pending() {
  pending_loss_ = 0.0;
  pending_ = 0;
  pending_images_ = 0;
}

Run::Outcome Run::train_epoch() {
  if (progress_.epoch_updates == plan_.updates_per_epoch) return Outcome::finished;
  data::LoaderOptions loading = plan_.train_loader;
  loading.epoch = progress_.epoch;
  loading.start_batch = progress_.next_batch;
  loading.strict = options_.strict;
  data::Loader loader(training_, data::sample_transform(plan_.train_transform), loading);
  ProgressBar bar(epoch_label(),
                  (batches_per_epoch() - progress_.next_batch) * loading.batch_size / options_.processes(),
                  "img", options_.is_writer());
  since_counted_.lap();
  data::Batch batch;
  while (progress_.epoch_updates < plan_.updates_per_epoch && next_batch(loader, batch)) {
    skipped_.report(batch.skipped, options_.say);
    train_batch(batch);
    if (pending_ == learner_.updater().passes_per_update()) {
      if (update() == Outcome::stopped) return Outcome::stopped;
      const double minutes = since_save_.seconds() / 60.0;
      if (recipe_.output.checkpoint_minutes > 0.0 && minutes > recipe_.output.checkpoint_minutes) {
        save(folder_.checkpoint());
      }
    }
    bar.advance(batch.n, fmt::format("loss {:.4f}  data wait {:.0f} %", progress_.loss_sum / made_updates(),
                                     100.0 * throughput().data_wait));
  }
  // Micro-batches that do not fill an update are dropped, as the reference does.
  learner_.drop_gradients();
  forget_pending();
  progress_.epoch_updates = plan_.updates_per_epoch;
  return Outcome::finished;
}

std::optional<Evaluation> Run::evaluate_model(nn::SpatialMambaImpl& model, const std::string& what) const {
  EvaluateOptions options{.batch = recipe_.train.batch,
                          .workers = static_cast<int>(recipe_.data.workers),
                          .strict = options_.strict,
                          .label = fmt::format("{}: {}", epoch_label(), what),
                          .group = options_.group,
                          .stop = [this] { return stop_requested(); }};
  return evaluate(model, validation_, plan_.eval_transform, options);
}

bool Run::evaluate_both(EpochRecord& record) {
  const std::optional<Evaluation> plain = evaluate_model(*learner_.model(), "evaluate");
  if (!plain) return false;
  skipped_.report(plain->skipped, options_.say);
  record.validation_loss = plain->loss;
  record.top1 = plain->meter.top1();
  record.top5 = plain->meter.top5();
  if (!learner_.ema_model()) return true;
  const std::optional<Evaluation> ema = evaluate_model(*learner_.ema_model(), "evaluate EMA");
  if (!ema) return false;
  record.ema_loss = ema->loss;
  record.ema_top1 = ema->meter.top1();
  record.ema_top5 = ema->meter.top5();
  return true;
}

void Run::keep_best(const EpochRecord& record) {
  if (record.top1.value_or(-1.0) > progress_.best_top1) {
    if (options_.is_writer()) export_weights(folder_.best(), *learner_.model(), plan_.description);
    progress_.best_top1 = *record.top1;
  }
  if (record.ema_top1.value_or(-1.0) > progress_.best_ema_top1) {
    if (options_.is_writer()) export_weights(folder_.best_ema(), *learner_.ema_model(), plan_.description);
    progress_.best_ema_top1 = *record.ema_top1;
  }
}

void Run::report_epoch(const EpochRecord& record) const {
  options_.say(fmt::format("{}  {}", epoch_label(), describe(record, throughput(), progress_.epoch_skipped)));
}

Run::Outcome Run::finish_epoch() {
  EpochRecord record{
      .epoch = progress_.epoch + 1,
      .update = progress_.updates,
      .learning_rate = plan_.learner.schedule.for_update(std::max<std::int64_t>(progress_.updates - 1, 0)),
      .train_loss = progress_.loss_sum / made_updates(),
      .gradient_norm = progress_.norm_sum / made_updates(),
      .seconds = progress_.epoch_seconds,
      .images_per_second = throughput().images_per_second};
  const bool due = record.epoch % recipe_.output.evaluate_every == 0 || record.epoch == recipe_.train.epochs;
  if (due && !evaluate_both(record)) return Outcome::stopped;
  keep_best(record);
  report_epoch(record);

  progress_.history.push_back(record);
  ++progress_.epoch;
  progress_.next_batch = 0;
  progress_.epoch_updates = 0;
  progress_.loss_sum = 0.0;
  progress_.norm_sum = 0.0;
  progress_.images = 0;
  progress_.epoch_seconds = 0.0;
  progress_.wait_seconds = 0.0;
  progress_.epoch_skipped = 0;
  if (recipe_.output.keep_every > 0 && record.epoch % recipe_.output.keep_every == 0) {
    save(folder_.checkpoint_of(record.epoch));
  }
  save(folder_.checkpoint());
  if (journal_) journal_->add_epoch(progress_.history);
  return Outcome::finished;
}

RunResult Run::execute() {
  try {
    while (progress_.epoch < recipe_.train.epochs && !out_of_patience()) {
      if (train_epoch() == Outcome::stopped || finish_epoch() == Outcome::stopped) {
        save(folder_.checkpoint());
        options_.say(fmt::format("stopped in {} after update {}; --resume continues from {}", epoch_label(),
                                 progress_.updates, folder_.checkpoint().string()));
        return {.interrupted = true};
      }
    }
  } catch (const launch::LostRank&) {
    throw;
  } catch (const Error& error) {
    fail("{}: {}", epoch_label(), error.what());
  }
  if (!options_.is_writer()) return {};
  RunResult result{.summary = summarise()};
  write_text(folder_.summary(), result.summary.dump(2) + "\n");
  return result;
}

/// Evaluates the better of the two exported weights once more, from their file.
nlohmann::ordered_json Run::summarise() {
  const bool ema = progress_.best_ema_top1 > progress_.best_top1;
  const std::filesystem::path best = ema ? folder_.best_ema() : folder_.best();
  nn::SpatialMamba& model = learner_.model();
  nn::load_weights(*model, read_weights(best).tensors, best.string());
  EvaluateOptions evaluation{.batch = recipe_.train.batch,
                             .workers = static_cast<int>(recipe_.data.workers),
                             .strict = options_.strict,
                             .label = "evaluate " + best.filename().string(),
                             .observe = options_.observe};
  const auto result = evaluate(*model, validation_, plan_.eval_transform, evaluation);

  nlohmann::ordered_json per_class;
  const auto accuracies = result->meter.confusion().per_class_accuracy();
  for (std::size_t c = 0; c < accuracies.size(); ++c) {
    nlohmann::ordered_json& entry = per_class[validation_.classes[c]];
    if (accuracies[c]) entry = *accuracies[c];
  }
  nlohmann::ordered_json summary = {{"top1", result->meter.top1()},
                                    {"top5", result->meter.top5()},
                                    {"weights", best.filename().string()},
                                    {"best_top1", progress_.best_top1},
                                    {"last_top1", *progress_.history.back().top1}};
  if (learner_.ema_model()) summary["best_ema_top1"] = progress_.best_ema_top1;
  summary["train_seconds"] = progress_.train_seconds;
  summary["epochs"] = progress_.epoch;
  summary["updates"] = progress_.updates;
  summary["skipped_updates"] = progress_.skipped.total;
  if (learner_.updater().loss_scale()) summary["overflowed_updates"] = progress_.skipped.overflowed;
  summary["broken_files"] = skipped_.count();
  summary["peak_memory_mib"] = peak_memory();
  if (const auto memory = device::peak_memory(device_)) summary["peak_device_memory_mib"] = *memory;
  summary["variant"] = plan_.architecture.variant;
  summary["parameters"] = count_parameters(plan_.architecture);
  summary["train_images"] = training_.size();
  summary["validation_images"] = validation_.size();
  summary["per_class_accuracy"] = per_class;
  return summary;
}

}  // namespace

RunResult train(const Recipe& recipe, const data::Dataset& training, const data::Dataset& validation,
                const RunOptions& options) {
  if (training.classes != validation.classes) {
    fail("the training data has {} classes, the validation data {}, or in another order",
         training.classes.size(), validation.classes.size());
  }
  const RunStart start = start_run(recipe, options);
  return Run(start.recipe, training, validation, options, start.resumes).execute();
}

}  // namespace spatialmamba::train
