#include "spatialmamba/classifier.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "base/file.h"
#include "base/random.h"
#include "image/codec.h"
#include "image/transform.h"
#include "model/initialise.h"
#include "support/temporary_folder.h"

namespace spatialmamba::test {
namespace {

using testing::HasSubstr;

Architecture architecture_for(std::int64_t channels, std::int64_t classes) {
  return {.variant = "custom",
          .dims = {6, 20},
          .depths = {1, 1},
          .in_channels = channels,
          .num_classes = classes};
}

image::Image noise(int width, int height, int channels) {
  image::Image picture(width, height, channels);
  Random random(3);
  for (std::uint8_t& value : picture.pixels) value = static_cast<std::uint8_t>(random.below(256));
  return picture;
}

PixelView view_of(const image::Image& picture) {
  return {picture.pixels.data(), picture.height, picture.width, picture.channels};
}

TEST(Input, IsTheEvaluationTransform) {
  const InputTransform transform{
      .height = 20, .width = 28, .mean = {0.1F, 0.2F, 0.3F}, .interpolation = "bilinear"};
  const image::EvalTransform reference{
      .format = {.height = 20, .width = 28, .channels = 3, .mean = {0.1F, 0.2F, 0.3F}, .std = transform.std},
      .filter = image::Filter::bilinear};
  const image::Image picture = noise(50, 41, 3);
  const std::vector<float> expected = image::eval_input(picture, reference);
  EXPECT_EQ(make_input(view_of(picture), transform), expected);

  // Rows with gaps between them, and a file.
  std::vector<std::uint8_t> gapped;
  for (int y = 0; y < picture.height; ++y) {
    gapped.insert(gapped.end(), picture.row(y), picture.row(y) + picture.row_bytes());
    gapped.insert(gapped.end(), 7, 255);
  }
  EXPECT_EQ(make_input({gapped.data(), 41, 50, 3, 157}, transform), expected);
  const TemporaryFolder folder;
  const std::filesystem::path file = folder.path() / "picture.png";
  image::write_image(file, picture);
  EXPECT_EQ(read_input(file, transform), expected);
  EXPECT_EQ(decode_input(read_file(file), "memory", transform), expected);
  const InputTransform grey{.height = 20, .width = 28, .channels = 1};
  EXPECT_EQ(read_input(file, grey).size(), 20U * 28U);
}

TEST(Input, WhatCannotBeIsRefused) {
  const image::Image picture = noise(5, 4, 3);
  EXPECT_THROW(make_input({nullptr, 4, 5, 3}, {}), Error);
  EXPECT_THROW(make_input({picture.pixels.data(), 0, 5, 3}, {}), Error);
  EXPECT_THROW(make_input({picture.pixels.data(), 4, 5, 2}, {}), Error);
  EXPECT_THROW(make_input({picture.pixels.data(), 4, 5, 3, 14}, {}), Error);
  EXPECT_THROW(make_input(view_of(picture), {.height = 0}), UsageError);
  EXPECT_THROW(make_input(view_of(picture), {.interpolation = "cubist"}), UsageError);
  EXPECT_THROW(make_input(view_of(picture), {.std = {1.0F, 0.0F, 1.0F}}), UsageError);
  EXPECT_THROW(read_input("/nowhere.png", {}), Error);
}

TEST(ModelCard, ComesFromTheMetadata) {
  const Architecture architecture = architecture_for(1, 3);
  const ModelCard plain = model_card(architecture, {}, "file");
  EXPECT_FALSE(plain.named);
  EXPECT_THAT(plain.classes, testing::ElementsAre("class 0", "class 1", "class 2"));
  EXPECT_EQ(plain.transform.height, 224);
  EXPECT_EQ(plain.transform.channels, 1);

  const std::map<std::string, std::string> metadata = {{"classes", R"(["cat","dog","owl"])"},
                                                       {"size", "32x48"},
                                                       {"mean", "[0.5]"},
                                                       {"std", "[0.25]"},
                                                       {"crop", "1.0"},
                                                       {"interpolation", "lanczos"}};
  const ModelCard card = model_card(architecture, metadata, "file");
  EXPECT_TRUE(card.named);
  EXPECT_THAT(card.classes, testing::ElementsAre("cat", "dog", "owl"));
  EXPECT_EQ(card.transform.height, 32);
  EXPECT_EQ(card.transform.width, 48);
  EXPECT_EQ(card.transform.mean[0], 0.5F);
  EXPECT_EQ(card.transform.crop, 1.0);
  EXPECT_EQ(card.transform.interpolation, "lanczos");
  const ModelCard other =
      model_card(architecture, metadata, "file", {.classes = {"a", "b", "c"}, .width = 50});
  EXPECT_THAT(other.classes, testing::ElementsAre("a", "b", "c"));
  EXPECT_EQ(other.transform.height, 32);
  EXPECT_EQ(other.transform.width, 50);
  EXPECT_EQ(model_card(architecture_for(3, 1000), {}, "file").classes.front(), "tench");
}

TEST(ModelCard, MetadataThatMakeNoSenseAreNamed) {
  const Architecture architecture = architecture_for(3, 2);
  const auto refusal = [&](const char* key, const char* text) -> std::string {
    try {
      model_card(architecture, {{key, text}}, "some.file");
    } catch (const Error& error) {
      return error.what();
    }
    return "nothing thrown";
  };
  for (const auto& [key, text] : std::map<const char*, const char*>{{"size", "big"},
                                                                    {"mean", "[1,2]"},
                                                                    {"std", "{}"},
                                                                    {"crop", "\"x\""},
                                                                    {"interpolation", "none"},
                                                                    {"classes", "[\"one\"]"}}) {
    EXPECT_THAT(refusal(key, text), HasSubstr("some.file")) << key;
  }
  EXPECT_THAT(refusal("std", "[0]"), HasSubstr("some.file"));
}

TEST(Scores, SoftmaxAndTopK) {
  const float scores[] = {1.0F, 1000.0F, 999.0F, 1000.0F};
  EXPECT_THAT(top_k(scores, 3), testing::ElementsAre(1, 3, 2));
  EXPECT_EQ(top_k(scores, 9).size(), 4U);
  const std::vector<double> shares = softmax(scores);
  EXPECT_NEAR(std::accumulate(shares.begin(), shares.end(), 0.0), 1.0, 1e-12);
  EXPECT_NEAR(shares[1] / shares[2], std::exp(1.0), 1e-9);
}

TEST(Classifier, GuessesFromPixelsAndFiles) {
  const Model model = Model::build({initial_weights(architecture_for(3, 4), 1), {{"size", "24"}}});
  Classifier classifier(model, {.threads = 1});
  const image::Image picture = noise(40, 30, 3);
  const std::vector<Guess> guesses = classifier.classify(view_of(picture), 3);
  ASSERT_EQ(guesses.size(), 3U);
  EXPECT_GE(guesses[0].probability, guesses[1].probability);
  EXPECT_EQ(guesses[0].name, classifier.card().classes[static_cast<std::size_t>(guesses[0].index)]);
  const TemporaryFolder folder;
  const std::filesystem::path file = folder.path() / "picture.png";
  image::write_image(file, picture);
  EXPECT_EQ(classifier.classify(file, 3)[0].probability, guesses[0].probability);
}

}  // namespace
}  // namespace spatialmamba::test
