#include <fmt/format.h>
#include <torch/torch.h>

#include <cstdlib>
#include <fstream>
#include <memory>
#include <optional>

#include "base/error.h"
#include "base/file.h"
#include "base/heap.h"
#include "base/interrupt.h"
#include "cli/options.h"
#include "cli/training_report.h"
#include "cli/verbs.h"
#include "data/detection_dataset.h"
#include "data/sampling.h"
#include "data/segmentation_dataset.h"
#include "launch/lost_rank.h"
#include "launch/place.h"
#include "spatialmamba/architecture.h"
#include "spatialmamba/task.h"
#include "spatialmamba/weights.h"
#include "train/detection_trainer.h"
#include "train/finetune.h"
#include "train/recipe.h"
#include "train/run_folder.h"
#include "train/segmentation_trainer.h"
#include "train/trainer.h"

namespace spatialmamba::cli {
namespace {

struct Options {
  std::filesystem::path config;
  std::filesystem::path data;
  train::RunOptions run;
  bool show_config = false;
  std::optional<std::uint64_t> seed;
  std::optional<std::string> precision;
  int threads = 1;
  bool threads_given = false;
  int timeout = 300;  ///< seconds
  bool json = false;
  std::vector<std::string> overrides;
};

data::DatasetOptions reading_options(const Options& options, const train::Recipe& recipe) {
  return {.channels = static_cast<int>(recipe.data.channels),
          .cache = recipe.data.cache,
          .shuffle_buffer = recipe.data.shuffle_buffer,
          .strict = options.run.strict};
}

/// The data's two parts; where it has none, a fifth of the training images is put aside.
data::Parts open_parts(const Options& options, const train::Recipe& recipe) {
  constexpr double kHeldOut = 0.2;
  data::DatasetOptions reading = reading_options(options, recipe);
  if (!data::has_parts(options.data)) {
    return data::hold_out(data::image_folder(options.data, reading), kHeldOut, recipe.train.seed);
  }
  data::Parts parts;
  parts.training = data::open_dataset(options.data, data::Split::train, reading);
  reading.classes = parts.training.classes;
  parts.validation = data::open_dataset(options.data, data::Split::validation, reading);
  return parts;
}

/// What --finetune without --config trains with: chosen from the weights and the size of the data.
train::Recipe recipe_for_finetuning(const Options& options) {
  const std::string source = options.run.finetune.string();
  const Weights weights = read_weights(options.run.finetune, options.run.finetune_ema ? "model_ema" : "");
  if (const Task task = infer_task(weights.tensors); task != Task::classification) {
    fail_usage("{}: weights for {}; which recipe they are to be trained with, --config must say", source,
               name_of(task));
  }
  const Architecture architecture = infer_architecture(weights.tensors);
  train::Recipe unchosen;
  unchosen.data.channels = architecture.in_channels;
  if (options.seed) unchosen.train.seed = *options.seed;
  const data::Parts parts = open_parts(options, unchosen);
  return train::finetune_recipe(architecture, weights.metadata, source, data::class_counts(parts.training));
}

bool chooses_recipe(const Options& options) {
  return options.config.empty() && !options.run.resume && !options.run.finetune.empty() &&
         !options.data.empty();
}

/// The keys of a chosen recipe that a user may want to choose otherwise.
std::string choice_text(const train::Recipe& recipe) {
  return fmt::format(
      "chosen for them: train.epochs={} train.patience={} train.batch={} train.frozen_stages={} "
      "optimizer.rate={} optimizer.layer_decay={} data.balance={} augment.mixup={}; --show-config prints all",
      recipe.train.epochs, recipe.train.patience, recipe.train.batch, recipe.train.frozen_stages,
      recipe.optimizer.rate, recipe.optimizer.layer_decay, recipe.data.balance, recipe.augment.mixup);
}

/// The recipe file; on --resume without one that of the run; with --finetune alone a chosen one. Then what
/// the command line says.
train::Recipe choose_recipe(const Options& options) {
  const train::RunFolder folder(options.run.out);
  const bool from_run =
      options.run.resume && options.config.empty() && std::filesystem::exists(folder.recipe());
  train::Recipe recipe;
  if (from_run) {
    recipe = train::read_recipe(folder.recipe());
  } else if (!options.config.empty()) {
    recipe = train::read_recipe(options.config);
  } else if (!options.run.finetune.empty() && !options.data.empty()) {
    recipe = recipe_for_finetuning(options);
  }
  if (options.seed) recipe.train.seed = *options.seed;
  if (options.precision) recipe.train.precision = *options.precision;
  for (const std::string& assignment : options.overrides) train::override_key(recipe, assignment);
  train::validate(recipe);
  return recipe;
}

void require(bool given, const char* option) {
  if (!given) fail_usage("{} is needed; see `spatialmamba train --help`", option);
}

Task task_of(const train::Recipe& recipe) {
  return task_from_name(recipe.model.task);
}

void announce(const Options& options, const train::Recipe& recipe, std::int64_t training,
              std::int64_t validation, std::size_t classes) {
  options.run.say(fmt::format("{} training and {} validation images of {} classes, model {}, {} threads",
                              training, validation, classes, recipe.model.variant, options.threads));
}

/// Joins the processes that were started together with this one; null where it is alone.
std::shared_ptr<distributed::Group> join_group(Options& options) {
  const auto place = launch::place_from_environment([](const char* name) { return std::getenv(name); });
  if (!place || place->ranks == 1) return nullptr;
  if (!options.threads_given) options.threads = std::max(1, options.threads / place->local_ranks);
  at::set_num_threads(options.threads);
  return distributed::Group::join(*place, std::chrono::seconds(options.timeout));
}

/// Where a process says what it does: the writer on standard error, any other in a file of its own.
std::function<void(const std::string&)> choose_log(const Options& options) {
  const std::shared_ptr<distributed::Group>& group = options.run.group;
  if (!group || group->is_writer()) return [](const std::string& line) { fmt::print(stderr, "{}\n", line); };
  make_folder(options.run.out);
  const train::RunFolder folder(options.run.out);
  // A run that is there already may yet turn out to stay.
  const auto mode = folder.holds_run() ? std::ios::app : std::ios::trunc;
  const auto file = std::make_shared<std::ofstream>(folder.rank_log(group->rank()), mode);
  return [file](const std::string& line) { *file << line << std::endl; };
}

train::RunResult train_classifier(Options& options, const train::Recipe& recipe) {
  const auto [training, validation] = open_parts(options, recipe);
  TrainingReport report(validation);
  options.run.observe = [&](std::int64_t sample, std::span<const float> logits) {
    report.observe(sample, logits);
  };
  announce(options, recipe, training.size(), validation.size(), training.classes.size());
  if (!data::has_parts(options.data)) {
    options.run.say(
        "the data are not divided into train/ and val/: a fifth of each class is put aside for validation");
  }
  if (chooses_recipe(options)) options.run.say(choice_text(recipe));
  train::RunResult result = train::train(recipe, training, validation, options.run);
  if (!result.summary.empty()) report.write(options.run.out, result.summary);
  return result;
}

train::RunResult train_segmentor(const Options& options, const train::Recipe& recipe) {
  data::SegmentationOptions how;
  if (recipe.segmentation.zero_label == "background") how.zero = data::ZeroLabel::first_class;
  const auto training = data::open_segmentation(options.data, data::Split::train, how);
  const auto validation = data::open_segmentation(options.data, data::Split::validation, how);
  announce(options, recipe, training.size(), validation.size(), training.classes.size());
  return train::train_segmentation(recipe, training, validation, options.run);
}

data::DetectionDataset open_detection(const Options& options, data::Split split,
                                      const data::DetectionDatasetOptions& how) {
  const data::CocoPlace place = data::find_coco(options.data, split);
  return data::detection_dataset(std::make_shared<const data::CocoFile>(data::read_coco(place.annotations)),
                                 place.images, how);
}

train::RunResult train_detector(const Options& options, const train::Recipe& recipe) {
  const auto training = open_detection(options, data::Split::train,
                                       {.only_annotated = true, .least_side = recipe.detection.least_side});
  const auto validation = open_detection(options, data::Split::validation, {.classes = training.classes});
  announce(options, recipe, training.size(), validation.size(), training.classes.size());
  return train::train_detection(recipe, training, validation, options.run);
}

std::string percent(const nlohmann::ordered_json& summary, const char* key) {
  return fmt::format("{:.2f} %", 100.0 * summary[key].get<double>());
}

std::string classification_line(const nlohmann::ordered_json& summary) {
  return fmt::format("top-1 {}, top-5 {}", percent(summary, "top1"), percent(summary, "top5"));
}

std::string segmentation_line(const nlohmann::ordered_json& summary) {
  return fmt::format("mIoU {}, mAcc {}, aAcc {}", percent(summary, "mIoU"), percent(summary, "mAcc"),
                     percent(summary, "aAcc"));
}

std::string detection_line(const nlohmann::ordered_json& summary) {
  return fmt::format("box AP {}, AP50 {}; mask AP {}, AP50 {}", percent(summary, "box_AP"),
                     percent(summary, "box_AP50"), percent(summary, "mask_AP"),
                     percent(summary, "mask_AP50"));
}

/// What training and its summary are for each task.
train::RunResult train_task(Options& options, const train::Recipe& recipe) {
  switch (task_of(recipe)) {
    case Task::segmentation:
      return train_segmentor(options, recipe);
    case Task::detection:
      return train_detector(options, recipe);
    case Task::classification:
      break;
  }
  return train_classifier(options, recipe);
}

std::string summary_line(Task task, const nlohmann::ordered_json& summary) {
  switch (task) {
    case Task::segmentation:
      return segmentation_line(summary);
    case Task::detection:
      return detection_line(summary);
    case Task::classification:
      break;
  }
  return classification_line(summary);
}

void train_and_report(Options& options, const train::Recipe& recipe) {
  const InterruptGuard guard;
  options.run.stop = InterruptGuard::requested;
  options.run.say = choose_log(options);
  const train::RunResult result = train_task(options, recipe);
  if (result.interrupted && InterruptGuard::requested()) throw Interrupted{};
  if (result.interrupted || result.summary.empty()) return;
  if (options.json) {
    print_json(result.summary);
  } else {
    fmt::print("{}: {}\n", summary_line(task_of(recipe), result.summary),
               (options.run.out / result.summary["weights"].get<std::string>()).string());
  }
}

/// One of several processes: the others learn why it ends, the user which one it was.
void train_in_group(Options& options, const train::Recipe& recipe) {
  distributed::Group& group = *options.run.group;
  const auto leave = [&](const char* reason) {
    group.leave(reason);
    return fmt::format("rank {}: {}", group.rank(), reason);
  };
  try {
    train_and_report(options, recipe);
    group.finish();
  } catch (const launch::LostRank& error) {
    group.leave({});
    throw launch::LostRank(fmt::format("rank {}: {}", group.rank(), error.what()));
  } catch (const UsageError& error) {
    throw UsageError(leave(error.what()));
  } catch (const Error& error) {
    throw Error(leave(error.what()));
  } catch (const std::exception& error) {
    group.leave(error.what());
    throw;
  } catch (const Interrupted&) {
    group.leave({});
    throw;
  }
}

void run(Options& options) {
  const train::Recipe recipe = choose_recipe(options);
  if (options.show_config) {
    fmt::print("{}", train::to_yaml(recipe, true));
    return;
  }
  require(!options.config.empty() || options.run.resume || !options.run.finetune.empty(),
          "--config or --finetune");
  require(!options.data.empty(), "--data");
  require(!options.run.out.empty(), "--out");
  options.run.group = join_group(options);
  at::set_num_threads(options.threads);
  keep_freed_memory();
  if (options.run.group) {
    train_in_group(options, recipe);
  } else {
    train_and_report(options, recipe);
  }
}

}  // namespace

Run add_train(CLI::App& app) {
  auto options = std::make_shared<Options>();
  train::RunOptions& run_options = options->run;
  app.add_option("-c,--config", options->config, "Recipe (YAML); configs/ has some")->type_name("FILE");
  add_data(app, options->data);
  app.add_option("-o,--out", run_options.out, "Folder for checkpoints, logs and pictures")
      ->type_name("FOLDER");
  CLI::Option* resume = app.add_flag("--resume", run_options.resume,
                                     "Continue the run in --out where it was saved last, bit for bit");
  app.add_flag("--force", run_options.force, "Replace the run that --out holds by a new one")
      ->excludes(resume);
  app.add_option("--resume-from", run_options.resume_from,
                 "Start by continuing a run of the reference's PyTorch code from a .pth that it saved")
      ->type_name("FILE");
  CLI::Option* finetune =
      app.add_option(
             "--finetune", run_options.finetune,
             "Weights to start from; a head of another class count is initialised anew. Without --config the "
             "recipe is chosen from the weights and the size of the data")
          ->type_name("FILE");
  app.add_flag("--ema", run_options.finetune_ema, "Start from the averaged (EMA) weights of --finetune")
      ->needs(finetune);
  app.add_option("--seed", options->seed, "Seed of all random numbers, as train.seed=N")->type_name("N");
  app.add_option("--precision", options->precision, "Arithmetic, as train.precision=...")
      ->check(CLI::IsMember({"fp32", "bf16", "fp16", "fp64"}))
      ->option_text("fp32|bf16|fp16|fp64");
  CLI::Option* threads = add_threads(app, options->threads);
  app.add_option("--timeout", options->timeout,
                 fmt::format("Of several processes: seconds to wait for one that is alive (default: {})",
                             options->timeout))
      ->check(CLI::Range(1, 86400))
      ->type_name("N");
  app.add_flag("--strict", run_options.strict, "Stop at the first broken image instead of leaving it out");
  app.add_option("--max-minutes", run_options.max_minutes,
                 "Save and stop after so many minutes, as Ctrl-C does")
      ->check(above_zero())
      ->type_name("N");
  app.add_flag("--show-config", options->show_config,
               "Print the recipe with every key, its range and its meaning, and do nothing");
  add_json(app, options->json);
  app.add_option("overrides", options->overrides, "Keys of the recipe, such as train.epochs=5")
      ->type_name("KEY=VALUE");
  return [options, threads] {
    options->threads_given = threads->count() > 0;
    run(*options);
  };
}

}  // namespace spatialmamba::cli
