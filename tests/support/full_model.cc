#include "support/full_model.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <regex>

#include "support/golden.h"
#include "support/weightgen.h"

namespace spatialmamba::test {
namespace {

std::smatch parts_of(const std::string& name) {
  static const std::regex kName("([a-z]+)_((\\d+)x(\\d+)x(\\d+)x(\\d+))\\.safetensors");
  std::smatch match;
  std::regex_match(name, match, kName);
  return match;
}

/// mean, standard deviation and greatest magnitude.
std::vector<double> statistics(const std::vector<double>& values) {
  const auto n = static_cast<double>(values.size());
  double mean = 0.0;
  double largest = 0.0;
  for (const double v : values) {
    mean += v / n;
    largest = std::max(largest, std::abs(v));
  }
  double variance = 0.0;
  for (const double v : values) variance += (v - mean) * (v - mean) / n;
  return {mean, std::sqrt(variance), largest};
}

void expect_near(const std::vector<double>& actual, const std::vector<double>& expected, double bound,
                 const std::string& what) {
  ASSERT_EQ(actual.size(), expected.size()) << what;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    EXPECT_LE(std::abs(actual[i] - expected[i]), bound) << what << ' ' << i;
  }
}

}  // namespace

std::vector<std::filesystem::path> full_model_files(const std::string& variant) {
  std::vector<std::filesystem::path> files;
  for (const std::filesystem::path& path : golden_files("classification/full", ".safetensors")) {
    const std::string name = path.filename().string();
    const std::smatch match = parts_of(name);
    if (!match.empty() && match[1] == variant) files.push_back(path);
  }
  return files;
}

FullModelCase full_model_case(const std::filesystem::path& file) {
  const std::string name = file.filename().string();
  const std::smatch match = parts_of(name);
  FullModelCase result{.name = name,
                       .architecture = architecture_of(std::string(match[1])),
                       .weights = {},
                       .input = {},
                       .truth = read_safetensors(file)};
  const Shape shape = {std::stoll(match[3]), std::stoll(match[4]), std::stoll(match[5]),
                       std::stoll(match[6])};
  result.architecture.in_channels = shape[1];
  const std::uint64_t seed = std::stoull(result.truth.metadata.at("seed"));
  for (const TensorSpec& spec : tensor_specs(result.architecture)) {
    result.weights.add(spec.name, generate_weight(spec.name, spec.shape, seed));
  }
  const std::string stream = "input:" + match[1].str() + ":" + match[2].str();
  result.input = Tensor::from(shape, generate_input(stream, seed, element_count(shape)));
  return result;
}

void expect_stage(const FullModelCase& model, const std::string& stage, const Tensor& map, double tolerance) {
  const TensorMap& truth = model.truth.tensors;
  if (!truth.contains(stage + "/shape")) return;
  EXPECT_EQ(map.shape(), truth.at(stage + "/shape").values<std::int64_t>()) << stage;
  const std::vector<double> values = as_double(map);
  const std::vector<double> expected = as_double(truth.at(stage + "/stats"));
  const double bound = tolerance * expected[2];
  expect_near(statistics(values), expected, bound, stage + " statistics");
  const std::vector<double> samples = as_double(truth.at(stage + "/samples"));
  std::vector<double> found;
  for (std::size_t i = 0; i < samples.size(); ++i) {
    found.push_back(values[(2 * i + 1) * values.size() / (2 * samples.size())]);
  }
  expect_near(found, samples, bound, stage + " samples");
  if (const Tensor* full = truth.find(stage + "/full"); full != nullptr) {
    EXPECT_LE(relative_deviation(values, as_double(*full)), tolerance) << stage;
  }
}

}  // namespace spatialmamba::test
