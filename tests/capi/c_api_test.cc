#include <gtest/gtest.h>

#include "base/random.h"
#include "capi/c_program.h"
#include "model/initialise.h"
#include "spatialmamba/classifier.h"
#include "spatialmamba/version.h"
#include "support/temporary_folder.h"

namespace spatialmamba::test {
namespace {

class CApi : public testing::Test {
 protected:
  CApi() : weights_(folder_.path() / "weights.safetensors") {
    const Architecture architecture{.variant = "custom", .dims = {6, 20}, .depths = {1, 1}, .num_classes = 4};
    write_safetensors(weights_, {initial_weights(architecture, 1), {{"size", "24x20"}}});
  }

  TemporaryFolder folder_;
  std::filesystem::path weights_;
  char failure_[200] = "";
};

TEST_F(CApi, TellsItsVersion) {
  EXPECT_EQ(spatialmamba_version(), kVersion);
}

TEST_F(CApi, RefusesNonsense) {
  EXPECT_TRUE(refuses_nonsense(weights_.c_str(), failure_, sizeof failure_)) << failure_;
}

TEST_F(CApi, GivesWhatTheCppInterfaceGives) {
  constexpr std::int64_t kSide = 30;
  std::vector<std::uint8_t> pixels(kSide * kSide * 3);
  Random random(1);
  for (std::uint8_t& value : pixels) value = static_cast<std::uint8_t>(random.below(256));
  std::vector<float> logits(2 * 4);
  spatialmamba_guess guesses[9];
  std::size_t count = std::size(guesses);
  ASSERT_TRUE(classifies(weights_.c_str(), pixels.data(), kSide, logits.data(), guesses, &count, failure_,
                         sizeof failure_))
      << failure_;

  Classifier classifier(Model::load(weights_), {.threads = 2});
  const auto expected = classifier.classify({pixels.data(), kSide, kSide, 3});
  ASSERT_EQ(count, expected.size());
  for (std::size_t i = 0; i < count; ++i) {
    EXPECT_EQ(guesses[i].index, expected[i].index);
    EXPECT_EQ(guesses[i].probability, expected[i].probability);
  }
  std::vector<float> images(2 * 3 * 5 * 4);
  for (std::size_t i = 0; i < images.size(); ++i) images[i] = static_cast<float>(i) / 60.0F - 1.0F;
  const auto expected_logits =
      classifier.session().logits({images.data(), 2, 5, 4, ImageBatch::Layout::nchw});
  EXPECT_EQ(logits, std::vector<float>(expected_logits.begin(), expected_logits.end()));
}

}  // namespace
}  // namespace spatialmamba::test
