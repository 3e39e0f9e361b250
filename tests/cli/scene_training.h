#pragma once

#include <gtest/gtest.h>

#include <algorithm>

#include "cli/program.h"
#include "spatialmamba/weights.h"

namespace spatialmamba::test {

/// Fashion scenes, and short runs of `train` on them.
class SceneTraining : public testing::Test {
 protected:
  SceneTraining(int train, int validation, int size) {
    const Outcome made = run_program({"dataset", "fashion-scenes", "--out", path("scenes").string(),
                                      "--train", std::to_string(train), "--val", std::to_string(validation),
                                      "--size", std::to_string(size)});
    EXPECT_EQ(made.code, 0) << made.error;
  }

  std::filesystem::path path(const std::string& name) const { return folder_.path() / name; }

  /// train with a recipe of configs/ into a folder; `more` are further options and keys of the recipe.
  std::vector<std::string> train_words(const std::string& recipe, const std::string& out,
                                       const std::vector<std::string>& more) const {
    std::vector<std::string> words = {"train",
                                      "--config",
                                      SPATIALMAMBA_CONFIGS "/" + recipe,
                                      "--data",
                                      path("scenes").string(),
                                      "--out",
                                      path(out).string(),
                                      "--threads",
                                      "1",
                                      "output.log_every=1"};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }

  /// Empty where two runs ended in the same tensors, else the name of one that differs.
  std::string difference(const std::string& first, const std::string& second) const {
    const Weights a = read_safetensors(path(first) / "checkpoint.safetensors");
    const Weights b = read_safetensors(path(second) / "checkpoint.safetensors");
    if (a.tensors.size() != b.tensors.size()) return "numbers of tensors";
    for (const auto& [name, tensor] : a.tensors) {
      const Tensor* other = b.tensors.find(name);
      if (other == nullptr || other->bytes() != tensor.bytes()) return name;
      if (!std::equal(tensor.raw(), tensor.raw() + tensor.bytes(), other->raw())) return name;
    }
    return {};
  }

 private:
  TemporaryFolder folder_;
};

}  // namespace spatialmamba::test
