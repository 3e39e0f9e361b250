#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "spatialmamba/architecture.h"
#include "spatialmamba/weights.h"

namespace spatialmamba::test {

/// A full-size model of the goldens: generated weights and input, and what the official code makes of them.
struct FullModelCase {
  std::string name;
  Architecture architecture;
  TensorMap weights;
  Tensor input;  ///< (N, C, H, W) float32
  Weights truth;
};

/// The golden files of a variant that are at hand; none where the project's own copy leaves it out.
std::vector<std::filesystem::path> full_model_files(const std::string& variant);
FullModelCase full_model_case(const std::filesystem::path& file);

/// Expects a map to have the shape, statistics and samples that the golden holds for `stage`, within
/// `tolerance` of its greatest magnitude. Nothing is expected of a stage that the golden does not hold.
void expect_stage(const FullModelCase& model, const std::string& stage, const Tensor& map, double tolerance);

}  // namespace spatialmamba::test
