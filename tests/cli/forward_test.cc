// `forward` against the stages of the official implementation, and what it says to input that cannot be.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "cli/nano.h"
#include "cli/program.h"

namespace spatialmamba::test {
namespace {

constexpr double kTolerance64 = 1e-11;
constexpr double kTolerance32 = 5e-6;
constexpr double kToleranceBf16 = 0.1;

void write_input(const std::filesystem::path& path, const Tensor& input, const std::string& name = "input") {
  Weights file;
  file.tensors.add(name, input);
  write_safetensors(path, file);
}

struct Comparison {
  const char* precision;
  DType dtype;
  double tolerance;
};

void compare_case(const Weights& goldens, const std::string& name, const Comparison& comparison) {
  const TemporaryFolder folder;
  const std::string input = (folder.path() / "in.safetensors").string();
  const std::string output = (folder.path() / "out.safetensors").string();
  write_input(input, goldens.tensors.at(name + "/input"));
  const Outcome outcome =
      run_program({"forward", "--weights", nano_weights().string(), "--input", input, "--output", output,
                   "--precision", comparison.precision, "--all", "--json"});
  ASSERT_EQ(outcome.code, 0) << outcome.error;
  const Weights result = read_safetensors(output);
  EXPECT_EQ(outcome.json().at("tensors").size(), result.tensors.size());
  int compared = 0;
  const std::string prefix = name + "/f64/";
  for (const auto& [key, expected] : goldens.tensors) {
    if (!key.starts_with(prefix)) continue;
    const Tensor& actual = result.tensors.at(key.substr(prefix.size()));
    EXPECT_EQ(actual.dtype(), comparison.dtype) << key;
    EXPECT_EQ(actual.numel(), expected.numel()) << key;
    EXPECT_LE(relative_deviation(as_double(actual), as_double(expected)), comparison.tolerance)
        << key << " in " << comparison.precision;
    ++compared;
  }
  EXPECT_GE(compared, 6) << name;
}

TEST(Forward, EqualsTheOfficialImplementationStageByStage) {
  const Weights goldens = read_safetensors(golden("classification/nano/nano_eval.safetensors"));
  for (const std::string& name : cases_of(goldens.tensors)) {
    if (kWithTraining) compare_case(goldens, name, {"fp64", DType::f64, kTolerance64});
    compare_case(goldens, name, {"fp32", DType::f32, kTolerance32});
  }
  compare_case(goldens, cases_of(goldens.tensors).front(), {"bf16", DType::f32, kToleranceBf16});
}

class ForwardRefusals : public testing::Test {
 protected:
  std::string path(const std::string& name) const { return (folder_.path() / name).string(); }

  void refuse(const std::string& weights, const std::string& input, const std::string& output, int code,
              const std::vector<std::string>& parts) const {
    expect_refusal({"forward", "--weights", weights, "--input", input, "--output", output}, code, parts);
    EXPECT_FALSE(std::filesystem::exists(output));
  }

  std::string good_input() const {
    write_input(path("good.safetensors"), Tensor(DType::f32, {1, 3, 32, 32}));
    return path("good.safetensors");
  }

  TemporaryFolder folder_;
};

TEST_F(ForwardRefusals, WeightsThatAreMissingBrokenOrForeign) {
  const std::string input = good_input();
  const std::string out = path("out.safetensors");
  refuse(path("none.pth"), input, out, 1, {"none.pth"});
  write_truncated(nano_weights(), path("half.safetensors"));
  refuse(path("half.safetensors"), input, out, 1, {"half.safetensors"});
  write_text(path("text.pth"), "these are no weights");
  refuse(path("text.pth"), input, out, 1, {"text.pth"});
  refuse(folder_.path().string(), input, out, 1, {folder_.path().string()});
  refuse(input, input, out, 1, {"good.safetensors"});
}

TEST_F(ForwardRefusals, ListEveryNameThatDoesNotFit) {
  std::string renamed;
  std::string reshaped;
  write_changed_weights(path("odd.safetensors"), [&](std::string& name, Tensor& tensor) {
    if (name.ends_with("ln_1.bias") && renamed.empty()) {
      renamed = name;
      name += "_surplus";
    } else if (name.ends_with("ln_2.weight") && reshaped.empty()) {
      reshaped = name;
      tensor = Tensor(DType::f32, {3, 1});
    }
  });
  refuse(path("odd.safetensors"), good_input(), path("out.safetensors"), 1,
         {"odd.safetensors", renamed, renamed + "_surplus", reshaped, "[3, 1]"});
}

TEST_F(ForwardRefusals, NameTheTensorThatIsNotFinite) {
  std::string spoiled;
  write_changed_weights(path("nan.safetensors"), [&](const std::string& name, Tensor& tensor) {
    if (!spoiled.empty() || !name.ends_with("mlp.fc1.weight")) return;
    std::vector<float> values = tensor.values<float>();
    values.back() = std::numeric_limits<float>::quiet_NaN();
    tensor = Tensor::from(tensor.shape(), values);
    spoiled = name;
  });
  refuse(path("nan.safetensors"), good_input(), path("out.safetensors"), 1,
         {"nan.safetensors", spoiled, "NaN"});
}

TEST_F(ForwardRefusals, InputsOfAnotherNameShapeOrType) {
  const std::string weights = nano_weights().string();
  const std::string input = path("in.safetensors");
  const std::string out = path("out.safetensors");
  write_input(input, Tensor(DType::f32, {1, 3, 32, 32}), "picture");
  refuse(weights, input, out, 1, {"in.safetensors", "'input'"});
  for (const Shape& shape :
       {Shape{3, 32, 32}, Shape{1, 4, 32, 32}, Shape{0, 3, 32, 32}, Shape{1, 32, 32, 3}}) {
    write_input(input, Tensor(DType::f32, shape));
    refuse(weights, input, out, 1, {"in.safetensors", to_string(shape)});
  }
  write_input(input, Tensor(DType::i64, {1, 3, 32, 32}));
  refuse(weights, input, out, 1, {"in.safetensors", "I64"});
  std::vector<float> values(3 * 32 * 32, std::numeric_limits<float>::infinity());
  write_input(input, Tensor::from({1, 3, 32, 32}, values));
  refuse(weights, input, out, 1, {"not finite"});
}

TEST_F(ForwardRefusals, OutputsThatCannotBeWrittenAndChoicesThatCannotBe) {
  const std::string input = good_input();
  write_text(path("file"), "a file is no folder");
  refuse(nano_weights().string(), input, path("file") + "/out.safetensors", 1, {path("file")});
  expect_refusal({"forward", "--input", input, "--output", path("o")}, 2, {"--weights"});
  expect_refusal({"forward", "--variant", "tiny", "--input", input, "--output", path("o")}, 2,
                 {"--untrained"});
  expect_refusal({"forward", "--weights", "w", "--input", input, "--output", path("o"), "--precision", "fp8"},
                 2, {"--precision"});
  expect_refusal({"forward", "--weights", "w", "--input", input, "--output", path("o"), "--threads", "0"}, 2,
                 {"--threads"});
}

}  // namespace
}  // namespace spatialmamba::test
