#include "support/golden.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <iostream>
#include <limits>
#include <set>

#include "base/error.h"

namespace spatialmamba::test {

std::filesystem::path golden_folder() {
  const char* chosen = std::getenv("SPATIALMAMBA_GOLDEN");
  return chosen != nullptr && *chosen != '\0' ? chosen : SPATIALMAMBA_GOLDEN_DEFAULT;
}

std::filesystem::path golden(const std::string& relative) {
  std::filesystem::path path = golden_folder() / relative;
  if (!std::filesystem::exists(path)) fail("{}: golden data is missing", path.string());
  return path;
}

bool has_golden(const std::string& relative) {
  const bool found = std::filesystem::exists(golden_folder() / relative);
  if (!found) std::cout << "[   LACKS  ] " << (golden_folder() / relative).string() << '\n';
  return found;
}

std::vector<std::filesystem::path> golden_files(const std::string& folder, const std::string& suffix) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(golden(folder))) {
    if (entry.path().filename().string().ends_with(suffix)) files.push_back(entry.path());
  }
  if (files.empty()) fail("{}: holds no *{} golden", (golden_folder() / folder).string(), suffix);
  std::sort(files.begin(), files.end());
  return files;
}

std::vector<std::string> cases_of(const TensorMap& tensors) {
  std::set<std::string> names;
  for (const auto& [name, tensor] : tensors) names.insert(name.substr(0, name.find('/')));
  std::vector<std::string> sorted(names.begin(), names.end());
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const std::string& a, const std::string& b) { return a.size() < b.size(); });
  return sorted;
}

std::vector<double> as_double(const Tensor& tensor) {
  if (tensor.dtype() == DType::f64) return tensor.values<double>();
  const std::vector<float> narrow = tensor.values<float>();
  return {narrow.begin(), narrow.end()};
}

double relative_deviation(const std::vector<double>& actual, const std::vector<double>& expected) {
  if (actual.size() != expected.size()) return std::numeric_limits<double>::infinity();
  double difference = 0.0;
  double scale = 0.0;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    if (!std::isfinite(actual[i])) return std::numeric_limits<double>::infinity();
    difference = std::max(difference, std::abs(actual[i] - expected[i]));
    scale = std::max(scale, std::abs(expected[i]));
  }
  return scale > 0.0 ? difference / scale : difference;
}

}  // namespace spatialmamba::test
