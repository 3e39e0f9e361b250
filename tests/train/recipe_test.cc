#include "train/recipe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "base/file.h"
#include "spatialmamba/architecture.h"
#include "spatialmamba/error.h"
#include "support/golden.h"
#include "support/message_of.h"
#include "support/temporary_folder.h"
#include "train/csv_table.h"
#include "train/plan.h"
#include "train/recipe_keys.h"

namespace spatialmamba::train {
namespace {

using testing::HasSubstr;

template <typename Action>
std::string refusal(const Action& action) {
  return test::message_of<UsageError>(action);
}

std::string refusal_of(const std::string& text) {
  return refusal([&] { validate(parse_recipe(text, "recipe.yaml")); });
}

TEST(Recipe, DefaultsSurviveTheRoundTrip) {
  const Recipe recipe;
  for (const bool help : {false, true}) {
    const std::string text = to_yaml(recipe, help);
    EXPECT_THAT(differences(parse_recipe(text, "text"), recipe), testing::IsEmpty());
    EXPECT_EQ(to_yaml(parse_recipe(text, "text")), to_yaml(recipe));
  }
}

TEST(Recipe, EveryKeyIsShownAndCanBeOverridden) {
  const std::string shown = to_yaml(Recipe{}, true);
  for (const RecipeKey& key : recipe_keys()) {
    EXPECT_THAT(shown, HasSubstr(key.help)) << key.name;
    EXPECT_FALSE(key.help.empty());
  }
  Recipe recipe;
  override_key(recipe, "train.epochs=5");
  override_key(recipe, "data.size=[32, 48]");
  override_key(recipe, "model.drop_path=0.25");
  override_key(recipe, "train.ema=false");
  override_key(recipe, "train.seed=18446744073709551615");
  EXPECT_EQ(recipe.train.epochs, 5);
  EXPECT_THAT(recipe.data.size, testing::ElementsAre(32, 48));
  EXPECT_EQ(recipe.model.drop_path, 0.25);
  EXPECT_FALSE(recipe.train.ema);
  EXPECT_EQ(recipe.train.seed, ~std::uint64_t{0});
  override_key(recipe, "model.drop_path=variant");
  EXPECT_EQ(recipe.model.drop_path, std::nullopt);
}

TEST(Recipe, UnknownKeysNameTheNearestOne) {
  EXPECT_THAT(
      refusal_of("train:\n  epoch: 5\n"),
      testing::AllOf(HasSubstr("recipe.yaml"), HasSubstr("train.epoch;"), HasSubstr("train.epochs?")));
  EXPECT_THAT(refusal_of("trian:\n  epochs: 5\n"), HasSubstr("train.epochs?"));
  EXPECT_THAT(refusal_of("epochs: 5\n"), HasSubstr("no key epochs"));
  Recipe recipe;
  EXPECT_THAT(refusal([&] { override_key(recipe, "optimiser.rate=1"); }), HasSubstr("optimizer.rate?"));
  EXPECT_THAT(refusal([&] { override_key(recipe, "train.epochs"); }), HasSubstr("assignment"));
}

TEST(Recipe, ValuesAreChecked) {
  EXPECT_THAT(refusal_of("train:\n  epochs: many\n"),
              HasSubstr("train.epochs is many, expected a whole number"));
  EXPECT_THAT(refusal_of("train:\n  epochs: 1.5\n"), HasSubstr("train.epochs is 1.5"));
  EXPECT_THAT(refusal_of("train:\n  epochs: 0\n"), HasSubstr("from 1"));
  EXPECT_THAT(refusal_of("train:\n  epochs: [1, 2]\n"), HasSubstr("train.epochs"));
  EXPECT_THAT(refusal_of("train:\n  epochs:\n"), HasSubstr("train.epochs"));
  EXPECT_THAT(refusal_of("train:\n  ema: maybe\n"), HasSubstr("true or false"));
  EXPECT_THAT(refusal_of("optimizer:\n  rate: nan\n"), HasSubstr("optimizer.rate"));
  EXPECT_THAT(refusal_of("model:\n  variant: huge\n"), HasSubstr("tiny"));
  EXPECT_THAT(refusal_of("train:\n  epochs: 3\n  epochs: 4\n"), HasSubstr("twice"));
  EXPECT_THAT(refusal_of("train: 3\n"), HasSubstr("train"));
  EXPECT_THAT(refusal_of("train: [3\n"), HasSubstr("not valid YAML in line "));
  EXPECT_THAT(refusal_of("train: \"\\\x01\"\n"), testing::Not(HasSubstr("\x01")));
  EXPECT_THAT(refusal_of("- 1\n"), HasSubstr("sections"));
}

TEST(Recipe, ContradictionsAreRefused) {
  EXPECT_THAT(refusal_of("model:\n  variant: custom\n"), HasSubstr("model.dims"));
  EXPECT_THAT(refusal_of("model:\n  dims: [8]\n  depths: [1]\n"), HasSubstr("custom"));
  EXPECT_THAT(refusal_of("data:\n  channels: 1\n"), HasSubstr("data.mean"));
  EXPECT_THAT(refusal_of("augment:\n  area: [1.0, 0.5]\n"), HasSubstr("augment.area"));
  EXPECT_THAT(refusal_of("train:\n  ema: false\n  mesa: 1\n"), HasSubstr("train.mesa"));
  EXPECT_THAT(refusal_of("train:\n  epochs: 5\noptimizer:\n  warmup_epochs: 5\n"),
              HasSubstr("warmup_epochs"));
}

TEST(Recipe, BaseFilesAreReadFirst) {
  const test::TemporaryFolder temporary;
  const std::filesystem::path& folder = temporary.path();
  write_text(folder / "a.yaml", "train:\n  epochs: 7\n  batch: 9\n");
  write_text(folder / "b.yaml", "base: a.yaml\ntrain:\n  batch: 10\n");
  write_text(folder / "loop.yaml", "base: loop.yaml\n");
  const Recipe recipe = read_recipe(folder / "b.yaml");
  EXPECT_EQ(recipe.train.epochs, 7);
  EXPECT_EQ(recipe.train.batch, 10);
  EXPECT_THAT(refusal([&] { read_recipe(folder / "loop.yaml"); }), HasSubstr("base"));
}

TEST(Recipe, ResultDecidingDifferencesAreListed) {
  Recipe first;
  Recipe second;
  second.train.epochs = 3;
  second.data.workers = 9;  // only decides the speed
  EXPECT_THAT(differences(first, second), testing::ElementsAre("train.epochs was 300, is 3"));
}

/// The recipes of the paper hold the values of the reference's own configuration.
TEST(Recipe, ImagenetRecipesHoldTheReferencesValues) {
  const auto facts = nlohmann::json::parse(read_text(test::golden("classification/facts.json")));
  for (const auto& [variant, overrides] : facts["config_variant_overrides"].items()) {
    nlohmann::json config = facts["config_default"];
    config.update(overrides);
    const Recipe r = read_recipe(test::project_folder() / ("configs/imagenet_" + variant + ".yaml"));
    const Plan plan = make_plan(r, std::vector<std::string>(1000, "class"), 1281167);
    EXPECT_EQ(r.model.variant, variant);
    const std::map<std::string, double> ours = {
        {"MODEL.DROP_PATH_RATE", plan.architecture.drop_path_rate},
        {"TRAIN.MESA", plan.architecture.mesa},
        {"DATA.IMG_SIZE", static_cast<double>(r.data.size.front())},
        {"DATA.BATCH_SIZE", static_cast<double>(r.train.batch)},
        {"TRAIN.EPOCHS", static_cast<double>(r.train.epochs)},
        {"TRAIN.WARMUP_EPOCHS", r.optimizer.warmup_epochs},
        {"TRAIN.BASE_LR", r.optimizer.rate},
        {"TRAIN.WARMUP_LR", r.optimizer.warmup_rate},
        {"TRAIN.MIN_LR", r.optimizer.minimum_rate},
        {"TRAIN.WEIGHT_DECAY", r.optimizer.weight_decay},
        {"TRAIN.OPTIMIZER.EPS", r.optimizer.epsilon},
        {"TRAIN.CLIP_GRAD", r.train.clip_norm},
        {"MODEL.LABEL_SMOOTHING", r.augment.label_smoothing},
        {"AUG.MIXUP", r.augment.mixup},
        {"AUG.CUTMIX", r.augment.cutmix},
        {"AUG.MIXUP_PROB", r.augment.mix_probability},
        {"AUG.MIXUP_SWITCH_PROB", r.augment.cutmix_share},
        {"AUG.REPROB", r.augment.erasing},
    };
    for (const auto& [key, value] : ours) EXPECT_EQ(value, config[key]) << key;
    EXPECT_EQ(r.data.interpolation, config["DATA.INTERPOLATION"]);
    EXPECT_EQ(r.optimizer.betas, config["TRAIN.OPTIMIZER.BETAS"].get<std::vector<double>>());
    EXPECT_EQ(r.augment.rand_layers, facts["randaugment"]["num_layers"]);
    EXPECT_EQ(r.augment.rand_magnitude, facts["randaugment"]["magnitude"]);
    EXPECT_EQ(r.augment.rand_deviation, facts["randaugment"]["magnitude_std"]);
    EXPECT_EQ(r.augment.rand_probability, facts["randaugment"]["op_prob"]);
  }
}

TEST(Recipe, AllRecipesOfTheProjectAreValid) {
  for (const auto& entry : std::filesystem::directory_iterator(test::project_folder() / "configs")) {
    EXPECT_NO_THROW(validate(read_recipe(entry.path()))) << entry.path();
  }
}

TEST(Plan, TooFewImagesAreRefused) {
  const Recipe recipe;
  EXPECT_THAT(refusal([&] { make_plan(recipe, {"a", "b"}, 100); }), HasSubstr("100 training images"));
}

TEST(Plan, ColourJitterBesideRandAugmentIsRefused) {
  Recipe recipe;
  recipe.augment.rand_layers = 2;
  EXPECT_NO_THROW(make_plan(recipe, {"a", "b"}, 1000));
  recipe.augment.contrast = 0.4;
  EXPECT_THAT(refusal([&] { make_plan(recipe, {"a", "b"}, 1000); }), HasSubstr("RandAugment"));
}

}  // namespace
}  // namespace spatialmamba::train
