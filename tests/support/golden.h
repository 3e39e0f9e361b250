#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "spatialmamba/weights.h"

namespace spatialmamba::test {

/// The folder of golden data: $SPATIALMAMBA_GOLDEN, or the copy that the project carries.
std::filesystem::path golden_folder();

/// A file of it, e.g. golden("classification/ops/block.safetensors"). Fails the test where it is missing
/// (throws Error), so that a suite without its golden never passes silently.
std::filesystem::path golden(const std::string& relative);

/// True when there is such a file: for what the project's own copy leaves out. Prints what it lacked.
bool has_golden(const std::string& relative);

/// The files of a golden folder that end in `suffix`, sorted by name; throws Error when there are none.
std::vector<std::filesystem::path> golden_files(const std::string& folder, const std::string& suffix);

/// The distinct first components of the names in a golden file, sorted naturally: "case0", "case1", …
std::vector<std::string> cases_of(const TensorMap& tensors);

/// Elements of a float32 or float64 tensor, widened.
std::vector<double> as_double(const Tensor& tensor);

/// max|a-b| / max|b|; infinite for NaN or another count.
double relative_deviation(const std::vector<double>& actual, const std::vector<double>& expected);

}  // namespace spatialmamba::test
