// Whole runs of a small network: what they leave, resuming bit for bit, and what goes wrong.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <torch/torch.h>

#include <csignal>
#include <map>
#include <sstream>

#include "base/file.h"
#include "nn/state_dict.h"
#include "support/temporary_folder.h"
#include "train/run_folder.h"
#include "train/small_run.h"

namespace spatialmamba::train {
namespace {

using test::difference;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::int64_t kUpdatesPerEpoch = 4;

class Runs : public testing::Test {
 protected:
  Runs() { at::set_num_threads(1); }

  RunFolder folder(const std::string& name) const { return RunFolder(temporary_.path() / name); }

  RunOptions options(const std::string& name) {
    RunOptions options;
    options.out = folder(name).path();
    options.say = [this](const std::string& line) { said_ += line + "\n"; };
    return options;
  }

  RunResult run(const Recipe& recipe, const RunOptions& options) const {
    return train(recipe, data_.training, data_.validation, options);
  }

  /// Stops when asked for the `times`-th time: the run asks after each update and each batch of an
  /// evaluation.
  RunResult run_until(std::int64_t times, const Recipe& recipe, RunOptions options) const {
    options.stop = [times, asked = std::int64_t{0}]() mutable { return ++asked >= times; };
    return run(recipe, options);
  }

  template <typename Work>
  std::string failure(const Work& work) const {
    try {
      work();
    } catch (const Error& error) {
      return error.what();
    }
    ADD_FAILURE() << "nothing was thrown";
    return {};
  }

  /// What each of a folder's files holds.
  static std::map<std::string, std::vector<std::byte>> files_of(const std::filesystem::path& folder) {
    std::map<std::string, std::vector<std::byte>> files;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      files[entry.path().filename().string()] = read_file(entry.path());
    }
    return files;
  }

  test::TemporaryFolder temporary_;
  test::SmallData data_;
  std::string said_;
};

TEST_F(Runs, LeaveEverythingAndLearn) {
  Recipe recipe = test::small_recipe();
  recipe.train.epochs = 12;
  recipe.output.keep_every = 6;
  const RunResult result = run(recipe, options("a"));
  EXPECT_FALSE(result.interrupted);
  const RunFolder out = folder("a");
  for (const auto& file : {out.recipe(), out.checkpoint(), out.checkpoint_of(6), out.checkpoint_of(12),
                           out.best(), out.best_ema(), out.csv(), out.jsonl(), out.curves(), out.summary()}) {
    EXPECT_TRUE(std::filesystem::is_regular_file(file)) << file;
  }
  const auto summary = nlohmann::json::parse(read_text(out.summary()));
  EXPECT_GT(summary.at("top1").get<double>(), 0.6);
  EXPECT_EQ(summary.at("top1"),
            std::max(summary.at("best_top1").get<double>(), summary.at("best_ema_top1").get<double>()));
  EXPECT_EQ(summary.at("epochs"), 12);
  EXPECT_EQ(summary.at("per_class_accuracy").size(), 3U);
  EXPECT_EQ(summary.at("updates"), 12 * kUpdatesPerEpoch);

  const Weights best = read_safetensors(out.best());
  EXPECT_EQ(best.metadata.at("task"), "classification");
  EXPECT_EQ(best.metadata.at("size"), "16");
  EXPECT_EQ(best.metadata.at("classes"), R"(["top","middle","bottom"])");
  EXPECT_TRUE(compare(infer_architecture(best.tensors), best.tensors).empty());
  const std::string recipe_text = read_text(out.recipe());
  EXPECT_THAT(differences(parse_recipe(recipe_text, "recipe.yaml"), recipe), IsEmpty());
}

/// Wherever a run is stopped, in an evaluation too, the resumed one ends in the same bits: weights, EMA,
/// moments, scores, losses.
TEST_F(Runs, ResumeBitForBitFromAnyUpdate) {
  const Recipe recipe = test::small_recipe();
  run(recipe, options("whole"));
  for (std::int64_t stop = 1; stop < 6 * kUpdatesPerEpoch; ++stop) {
    const std::string name = fmt::format("stopped_{}", stop);
    ASSERT_TRUE(run_until(stop, recipe, options(name)).interrupted);
    RunOptions again = options(name);
    again.resume = true;
    ASSERT_FALSE(run(recipe, again).interrupted);
    EXPECT_EQ(difference(folder("whole").checkpoint(), folder(name).checkpoint()), "")
        << "stopped at " << stop;
    EXPECT_EQ(read_file(folder("whole").best()), read_file(folder(name).best()));
    EXPECT_EQ(read_file(folder("whole").best_ema()), read_file(folder(name).best_ema()));
  }
}

TEST_F(Runs, ResumeBitForBitAcrossManyStopsInDouble) {
  Recipe recipe = test::small_recipe();
  recipe.train.precision = "fp64";
  run(recipe, options("whole"));
  RunOptions again = options("pieces");
  again.resume = true;  // the first time there is nothing yet
  int pieces = 1;
  // More than an epoch's evaluations, which a stopped run repeats, ask for.
  while (run_until(20, recipe, again).interrupted) ++pieces;
  EXPECT_GT(pieces, 1);
  EXPECT_EQ(difference(folder("whole").checkpoint(), folder("pieces").checkpoint()), "");
  EXPECT_EQ(read_safetensors(folder("whole").checkpoint()).tensors.at("exp_avg/head.weight").dtype(),
            DType::f64);
}

TEST_F(Runs, SeedsDecideEverything) {
  Recipe recipe = test::small_recipe();
  run(recipe, options("a"));
  recipe.data.workers = 3;  // how many threads load makes no difference
  run(recipe, options("b"));
  EXPECT_EQ(difference(folder("a").checkpoint(), folder("b").checkpoint()), "");
  recipe.train.seed = 12;
  run(recipe, options("c"));
  EXPECT_NE(difference(folder("a").checkpoint(), folder("c").checkpoint()), "");
}

TEST_F(Runs, ThreadsChangeRoundingOnly) {
  Recipe recipe = test::small_recipe();
  recipe.train.precision = "fp64";
  recipe.train.mesa = 0.0;
  run(recipe, options("one"));
  at::set_num_threads(2);
  run(recipe, options("two"));
  const double one = read_saved_run(folder("one").checkpoint()).progress.history.back().train_loss;
  const double two = read_saved_run(folder("two").checkpoint()).progress.history.back().train_loss;
  EXPECT_NEAR(one, two, 1e-6 * one);
}

TEST_F(Runs, RefuseToOverwriteAnother) {
  Recipe recipe = test::small_recipe();
  recipe.train.epochs = 2;
  run(recipe, options("a"));
  EXPECT_THAT(failure([&] { run(recipe, options("a")); }),
              testing::AllOf(HasSubstr("--resume"), HasSubstr("--force")));
  write_text(folder("a").path() / "notes.txt", "mine");
  write_text(folder("a").path() / "checkpoint.safetensors.tmp-1-0", "half written by a killed run");
  RunOptions force = options("a");
  force.force = true;
  run(recipe, force);
  EXPECT_TRUE(std::filesystem::exists(folder("a").path() / "notes.txt"));
  EXPECT_FALSE(std::filesystem::exists(folder("a").path() / "checkpoint.safetensors.tmp-1-0"));
}

/// Whatever is wrong with the new run, the old one is lost to a run that can start only.
TEST_F(Runs, ARefusedRunReplacesNothing) {
  Recipe recipe = test::small_recipe();
  recipe.train.epochs = 2;
  run(recipe, options("old"));
  recipe.model.dims = {8, 24};
  run(recipe, options("other"));
  recipe.model.dims = test::small_recipe().model.dims;
  const RunFolder old = folder("old");
  const auto before = files_of(old.path());
  ASSERT_TRUE(before.contains("best.safetensors"));

  RunOptions force = options("old");
  force.force = true;
  Recipe weighted = recipe;
  weighted.train.class_weights.listed = {1.0, 2.0};
  EXPECT_THAT(failure([&] { run(weighted, force); }), HasSubstr("train.class_weights has 2 values"));
  Recipe large = recipe;
  large.train.batch = 1000;
  EXPECT_THAT(failure([&] { run(large, force); }), HasSubstr("training images"));
  RunOptions unfit = force;
  unfit.finetune = folder("other").best();
  EXPECT_THAT(failure([&] { run(recipe, unfit); }), HasSubstr("do not fit"));
  RunOptions foreign = force;
  foreign.resume_from = old.best();  // no checkpoint of the reference's
  failure([&] { run(recipe, foreign); });
  EXPECT_EQ(files_of(old.path()), before);

  RunOptions itself = force;
  itself.finetune = old.best();
  run(recipe, itself);
  EXPECT_NE(files_of(old.path()), before);
}

TEST_F(Runs, ResumeOnlyTheSameRun) {
  Recipe recipe = test::small_recipe();
  run_until(2, recipe, options("a"));
  RunOptions again = options("a");
  again.resume = true;
  recipe.optimizer.rate = 1e-3;
  EXPECT_THAT(failure([&] { run(recipe, again); }), HasSubstr("optimizer.rate was 0.005, is 0.001"));
  data_.training = test::make_pictures(40, 1);
  EXPECT_THAT(failure([&] { run(test::small_recipe(), again); }), HasSubstr("38 images"));
}

TEST_F(Runs, FinetuningReplacesAHeadThatDoesNotFit) {
  Recipe recipe = test::small_recipe();
  recipe.train.epochs = 2;
  run(recipe, options("a"));
  RunOptions finetune = options("b");
  finetune.finetune = folder("a").best_ema();
  for (data::Dataset* dataset : {&data_.training, &data_.validation}) {
    dataset->classes.emplace_back("none");
  }
  run_until(1, recipe, finetune);
  EXPECT_THAT(said_, HasSubstr("head does not fit 4 classes"));
  const Weights weights = read_weights(folder("b").checkpoint());
  EXPECT_EQ(weights.tensors.at("head.weight").shape(), (Shape{4, 16}));
}

TEST_F(Runs, NotANumberIsAnErrorThatNamesTheStep) {
  Recipe recipe = test::small_recipe();
  recipe.optimizer.rate = 900;
  recipe.optimizer.warmup_rate = 900;
  recipe.optimizer.weight_decay = 900;
  recipe.train.epochs = 200;
  recipe.output.evaluate_every = 100;  // an evaluation would see it first
  const std::string message = failure([&] { run(recipe, options("a")); });
  EXPECT_THAT(message, testing::MatchesRegex("epoch [0-9]+/200: update [0-9]+: .*"));
}

TEST_F(Runs, SkippedUpdatesAreCountedAndTooManyInARowEndTheRun) {
  Recipe recipe = test::small_recipe();
  recipe.train.loss_limit = 1e-6;
  recipe.train.bad_steps = 3;
  EXPECT_THAT(
      failure([&] { run(recipe, options("a")); }),
      testing::AllOf(HasSubstr("update 1: skipped 3 times in a row"), HasSubstr("all layers are finite")));
  const std::string log = read_text(folder("a").jsonl());
  EXPECT_THAT(log, HasSubstr(R"("kind":"skipped","update":1)"));
  recipe.train.bad_steps = 1000;
  const RunResult result = run(recipe, options("b"));
  EXPECT_EQ(result.summary.at("skipped_updates"), 3 * kUpdatesPerEpoch);
  EXPECT_EQ(result.summary.at("updates"), 0);
}

TEST_F(Runs, HalfPrecisionFollowsSingle) {
  Recipe recipe = test::small_recipe();
  recipe.train.epochs = 6;
  run(recipe, options("single"));
  recipe.train.precision = "fp16";
  const RunResult result = run(recipe, options("half"));
  EXPECT_EQ(result.summary.at("skipped_updates"), 0);
  EXPECT_NE(difference(folder("single").checkpoint(), folder("half").checkpoint()), "");
  const auto single = read_saved_run(folder("single").checkpoint()).progress.history;
  const auto half = read_saved_run(folder("half").checkpoint()).progress.history;
  for (std::size_t epoch = 0; epoch < single.size(); ++epoch) {
    EXPECT_NEAR(half[epoch].train_loss, single[epoch].train_loss, 2e-3 * single[epoch].train_loss);
  }
}

/// Overflows are not what train.bad_steps counts, and the scale goes on where it was.
TEST_F(Runs, HalfPrecisionResumesBitForBitWithItsScale) {
  Recipe recipe = test::small_recipe();
  recipe.train.precision = "fp16";
  recipe.train.loss_scale = 0x1p21;
  recipe.train.loss_scale_interval = 2;
  recipe.train.bad_steps = 1;
  const RunResult result = run(recipe, options("whole"));
  EXPECT_GT(result.summary.at("overflowed_updates"), 1);
  EXPECT_GT(result.summary.at("updates"), 1);
  EXPECT_EQ(result.summary.at("skipped_updates"), 0);
  EXPECT_THAT(said_, HasSubstr("the loss scale goes down"));
  EXPECT_THAT(read_text(folder("whole").jsonl()), HasSubstr(R"("loss_scale":)"));
  const auto scale_of = [&](const std::string& name) {
    return read_safetensors(folder(name).checkpoint()).metadata.at("loss_scale");
  };
  for (const std::int64_t stop : {2, 5, 11}) {
    const std::string name = fmt::format("stopped_{}", stop);
    ASSERT_TRUE(run_until(stop, recipe, options(name)).interrupted);
    RunOptions again = options(name);
    again.resume = true;
    EXPECT_EQ(run(recipe, again).summary.at("overflowed_updates"), result.summary.at("overflowed_updates"));
    EXPECT_EQ(difference(folder("whole").checkpoint(), folder(name).checkpoint()), "");
    EXPECT_EQ(scale_of("whole"), scale_of(name));
  }
}

TEST_F(Runs, StopEarlyWhenTheBestIsOld) {
  Recipe recipe = test::small_recipe();
  recipe.train.epochs = 40;
  recipe.train.patience = 2;
  recipe.optimizer.rate = 0.0;  // nothing is learned, so the first epoch stays the best
  recipe.optimizer.warmup_rate = 0.0;
  recipe.optimizer.minimum_rate = 0.0;
  std::int64_t observed = 0;
  RunOptions watching = options("a");
  watching.observe = [&](std::int64_t, std::span<const float>) { ++observed; };
  const RunResult result = run(recipe, watching);
  EXPECT_LT(result.summary.at("epochs").get<std::int64_t>(), 20);
  EXPECT_THAT(said_, HasSubstr("stopped early"));
  EXPECT_EQ(observed, data_.validation.size());
}

TEST_F(Runs, BalancedClassesResumeBitForBit) {
  Recipe recipe = test::small_recipe();
  recipe.data.balance = true;
  run(recipe, options("whole"));
  run_until(6, recipe, options("pieces"));
  RunOptions again = options("pieces");
  again.resume = true;
  run(recipe, again);
  EXPECT_EQ(difference(folder("whole").checkpoint(), folder("pieces").checkpoint()), "");
}

TEST_F(Runs, UpdatesReportSpeedAndMemory) {
  Recipe recipe = test::small_recipe();
  run(recipe, options("a"));
  std::istringstream log(read_text(folder("a").jsonl()));
  std::string line;
  ASSERT_TRUE(std::getline(log, line));
  const auto update = nlohmann::json::parse(line);
  EXPECT_GT(update.at("images_per_second").get<double>(), 0.0);
  EXPECT_GE(update.at("data_wait").get<double>(), 0.0);
  EXPECT_LE(update.at("data_wait").get<double>(), 1.0);
  EXPECT_GT(update.at("peak_memory_mib").get<double>(), 10.0);
}

TEST_F(Runs, ADamagedTensorIsRefusedByName) {
  const Recipe recipe = test::small_recipe();
  run_until(2, recipe, options("a"));
  std::string bytes = read_text(folder("a").checkpoint());
  bytes[bytes.size() - 100] = static_cast<char>(bytes[bytes.size() - 100] ^ 1);
  write_text(folder("a").checkpoint(), bytes);
  RunOptions again = options("a");
  again.resume = true;
  EXPECT_THAT(failure([&] { run(recipe, again); }),
              testing::AllOf(HasSubstr("checkpoint.safetensors: tensor "), HasSubstr("damaged")));
}

TEST_F(Runs, BrokenPicturesAreSkippedOrStopTheRun) {
  data_.training.load = [load = data_.training.load](std::int64_t i) {
    if (i == 7) throw Error("picture #7: broken");
    return load(i);
  };
  run(test::small_recipe(), options("a"));
  EXPECT_THAT(said_, HasSubstr("picture #7: broken"));
  RunOptions strict = options("b");
  strict.strict = true;
  EXPECT_THAT(failure([&] { run(test::small_recipe(), strict); }), HasSubstr("picture #7: broken"));
}

/// A limit on the size of files stands in for a full disk: writing fails in the middle of the checkpoint.
TEST_F(Runs, FullDiskLeavesTheOldCheckpoint) {
  const Recipe recipe = test::small_recipe();
  run_until(2, recipe, options("a"));
  const auto before = read_file(folder("a").checkpoint());
  RunOptions again = options("a");
  again.resume = true;

  std::signal(SIGXFSZ, SIG_IGN);
  rlimit unlimited{};
  ::getrlimit(RLIMIT_FSIZE, &unlimited);
  rlimit limited = unlimited;
  limited.rlim_cur = before.size() / 2;
  ::setrlimit(RLIMIT_FSIZE, &limited);
  const std::string message = failure([&] { run_until(1, recipe, again); });
  ::setrlimit(RLIMIT_FSIZE, &unlimited);

  EXPECT_THAT(message, HasSubstr("checkpoint.safetensors"));
  EXPECT_EQ(read_file(folder("a").checkpoint()), before);
  for (const auto& entry : std::filesystem::directory_iterator(folder("a").path())) {
    EXPECT_THAT(entry.path().filename().string(), testing::Not(HasSubstr("tmp")));
  }
  EXPECT_FALSE(run(recipe, again).interrupted);
}

TEST_F(Runs, DamagedCheckpointsAreRefused) {
  const Recipe recipe = test::small_recipe();
  run_until(2, recipe, options("a"));
  RunOptions again = options("a");
  again.resume = true;
  Weights file = read_safetensors(folder("a").checkpoint());
  file.metadata["progress"] = "{\"epoch\": 1";
  write_safetensors(folder("a").checkpoint(), file);
  EXPECT_THAT(failure([&] { run(recipe, again); }), HasSubstr("checkpoint.safetensors"));
  file.metadata.erase("recipe");
  write_safetensors(folder("a").checkpoint(), file);
  EXPECT_THAT(failure([&] { run(recipe, again); }), HasSubstr("'recipe'"));
}

}  // namespace
}  // namespace spatialmamba::train
