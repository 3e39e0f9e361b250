// `bench`: its JSON, its conversation with a harness, and what it says to nonsense.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>
#include <sstream>

#include "base/random.h"
#include "cli/nano.h"
#include "cli/program.h"

namespace spatialmamba::test {
namespace {

using testing::HasSubstr;

std::vector<std::string> command(std::vector<std::string> rest) {
  const std::vector<std::string> words = {"bench", "--weights", nano_weights().string()};
  rest.insert(rest.begin(), words.begin(), words.end());
  return rest;
}

/// Runs with `said` on standard input.
Outcome converse(const std::vector<std::string>& arguments, const std::string& said) {
  const TemporaryFolder folder;
  const std::filesystem::path input = folder.path() / "said";
  write_text(input, said);
  return run_program(arguments, input);
}

std::vector<nlohmann::json> lines_of(const std::string& text) {
  std::vector<nlohmann::json> values;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    values.push_back(nlohmann::json::parse(line, nullptr, false));
    EXPECT_FALSE(values.back().is_discarded()) << line;
  }
  return values;
}

/// The input and the logits of a golden case in one file, as --input takes them.
void write_case(const std::filesystem::path& path, double error) {
  const Weights goldens = read_safetensors(golden("classification/nano/nano_eval.safetensors"));
  const std::string name = cases_of(goldens.tensors).front();
  Weights file;
  const auto floats = [](const Tensor& tensor, double added) {
    std::vector<float> values;
    for (const double v : as_double(tensor)) values.push_back(static_cast<float>(v + added));
    return Tensor::from(tensor.shape(), values);
  };
  file.tensors.add("input", floats(goldens.tensors.at(name + "/input"), 0.0));
  file.tensors.add("logits", floats(goldens.tensors.at(name + "/f64/logits"), error));
  write_safetensors(path, file);
}

TEST(Bench, MeasuresEveryBatchWithEveryNumberOfThreads) {
  const nlohmann::json result =
      run_program(command({"--shape", "1x3x40x48", "--batches", "1,3", "--thread-counts", "1,2", "--seconds",
                           "0", "--runs", "4", "--json"}))
          .json();
  ASSERT_EQ(result.at("latency").size(), 4U);
  for (const auto& row : result["latency"]) {
    EXPECT_EQ(row.at("runs"), 4);
    EXPECT_GT(row.at("min_ms").get<double>(), 0.0);
    EXPECT_LE(row["min_ms"].get<double>(), row.at("median_ms").get<double>());
    EXPECT_LE(row["median_ms"].get<double>(), row.at("p90_ms").get<double>());
    EXPECT_LE(row["p90_ms"].get<double>(), row.at("p99_ms").get<double>());
    EXPECT_NEAR(row.at("images_per_second").get<double>(),
                1e3 * row.at("batch").get<double>() / row["min_ms"].get<double>(),
                1e-6 * row["images_per_second"].get<double>());
  }
  EXPECT_EQ(result["latency"][1]["batch"], 3);
  EXPECT_EQ(result["latency"][3]["threads"], 2);
  EXPECT_EQ(result.at("precision"), "fp32");
  EXPECT_GT(result.at("weight_mb").get<double>(), 0.0);
  EXPECT_GT(result.at("peak_rss_mb").get<double>(), 0.0);
  EXPECT_FALSE(result.contains("layers"));
}

TEST(Bench, TellsLayersAndKernelsApart) {
  const std::vector<std::string> arguments =
      command({"--shape", "1x3x32x32", "--threads", "1", "--seconds", "0", "--runs", "1", "--layers"});
  std::vector<std::string> json = arguments;
  json.emplace_back("--json");
  const nlohmann::json result = run_program(json).json();
  double layers = 0.0;
  double kernels = 0.0;
  for (const auto& row : result.at("layers")) layers += row.at("ms").get<double>();
  for (const auto& row : result.at("kernels")) kernels += row.at("ms").get<double>();
  EXPECT_GT(layers, 0.0);
  EXPECT_NEAR(layers, kernels, 1e-9 + 1e-6 * layers);
  EXPECT_GT(result.at("gemm_peak_gflops").get<double>(), 0.0);
  EXPECT_GT(result.at("copy_peak_gbytes_per_second").get<double>(), 0.0);
  const Outcome table = run_program(arguments);
  EXPECT_EQ(table.code, 0) << table.error;
  for (const char* part : {"min ms", "images/s", "layers.0.blocks.0", "GFLOP/s", "peaks:"}) {
    EXPECT_THAT(table.out, HasSubstr(part));
  }
}

TEST(Bench, TakesTurnsWithAHarness) {
  const TemporaryFolder folder;
  const std::string input = (folder.path() / "in.safetensors").string();
  write_case(input, 0.0);
  const Outcome outcome =
      converse(command({"--interactive", "--input", input, "--threads", "2"}), "run 3\nrun 1\nend\nrun 9\n");
  ASSERT_EQ(outcome.code, 0) << outcome.error;
  const std::vector<nlohmann::json> lines = lines_of(outcome.out);
  ASSERT_EQ(lines.size(), 4U) << outcome.out;
  for (const char* key : {"import_s", "load_s", "first_s", "total_s"}) {
    EXPECT_GE(lines[0].at(key).get<double>(), 0.0) << key;
  }
  EXPECT_LE(lines[0].at("rel_err").get<double>(), 5e-6);
  EXPECT_EQ(lines[1].size(), 3U);
  EXPECT_EQ(lines[2].size(), 1U);
  EXPECT_GT(lines[2][0].get<double>(), 0.0);
  EXPECT_GT(lines[3].at("peak_rss_mb").get<double>(), 1.0);

  write_case(input, 0.5);
  const Outcome wrong = converse(command({"--interactive", "--input", input}), "");
  ASSERT_EQ(wrong.code, 0) << wrong.error;
  EXPECT_GT(lines_of(wrong.out).front().at("rel_err").get<double>(), 1e-3);
}

/// What `bench --end-to-end` answers for an input of its own.
TensorMap whole_answer(const std::string& weights, const Tensor& input) {
  const TemporaryFolder folder;
  const std::string in = (folder.path() / "in.safetensors").string();
  const std::string out = (folder.path() / "out.safetensors").string();
  Weights file;
  file.tensors.add("input", input);
  write_safetensors(in, file);
  const Outcome outcome = converse({"bench", "--weights", weights, "--input", in, "--interactive",
                                    "--end-to-end", "--answer", out, "--threads", "2"},
                                   "run 1\nend\n");
  EXPECT_EQ(outcome.code, 0) << outcome.error;
  EXPECT_EQ(lines_of(outcome.out).size(), 3U);
  return read_safetensors(out).tensors;
}

TEST(Bench, ASegmentorsWholeAnswerIsALabelMap) {
  const TensorMap goldens = read_safetensors(golden("segmentation/nano/logits.safetensors")).tensors;
  for (const auto& [name, input] : goldens) {
    if (!name.ends_with(".input")) continue;
    SCOPED_TRACE(name);
    const Tensor& logits = goldens.at(name.substr(0, name.size() - 5) + "logits");
    const TensorMap answer = whole_answer(golden("segmentation/nano/checkpoint.pth").string(), input);
    const Tensor& labels = answer.at("labels");
    const Shape& shape = logits.shape();
    ASSERT_EQ(labels.shape(), (Shape{shape[0], shape[2], shape[3]}));
    const std::vector<double> scores = as_double(logits);
    const std::int64_t pixels = shape[2] * shape[3];
    int different = 0;
    for (std::int64_t i = 0; i < pixels; ++i) {
      std::int64_t best = 0;
      for (std::int64_t c = 1; c < shape[1]; ++c) {
        if (scores[static_cast<std::size_t>(c * pixels + i)] >
            scores[static_cast<std::size_t>(best * pixels + i)]) {
          best = c;
        }
      }
      if (labels.data<std::uint8_t>()[i] != best) ++different;
    }
    EXPECT_LE(different, 2);
  }
}

TEST(Bench, ADetectorsWholeAnswerHasBoxesAndMasks) {
  const std::string weights = golden("detection/nano/weights.safetensors").string();
  const Tensor input = read_safetensors(golden_files("detection/nano", "eval_single.safetensors").front())
                           .tensors.at("inputs");
  const TensorMap answer = whole_answer(weights, input);
  const std::int64_t found = answer.at("scores").numel();
  ASSERT_GT(found, 0);
  EXPECT_GT(answer.at("proposals").data<std::int64_t>()[0], found);
  EXPECT_EQ(answer.at("boxes").shape(), (Shape{found, 4}));
  EXPECT_EQ(answer.at("classes").numel(), found);
  const std::vector<std::int64_t> runs = answer.at("runs").values<std::int64_t>();
  auto run = runs.begin();
  for (const std::int64_t count : answer.at("mask_runs").values<std::int64_t>()) {
    EXPECT_EQ(std::accumulate(run, run + count, std::int64_t{0}), input.shape()[2] * input.shape()[3]);
    run += count;
  }
  EXPECT_EQ(run, runs.end());
}

TEST(Bench, AVariantNeedsNoFile) {
  const Outcome outcome = converse({"bench", "--interactive", "--variant", "tiny", "--shape", "1x3x32x32",
                                    "--threads", "1", "--precision", "bf16"},
                                   "run 2\nend\n");
  ASSERT_EQ(outcome.code, 0) << outcome.error;
  const std::vector<nlohmann::json> lines = lines_of(outcome.out);
  ASSERT_EQ(lines.size(), 3U);
  EXPECT_TRUE(lines[0].at("rel_err").is_null());
  EXPECT_EQ(lines[1].size(), 2U);
}

TEST(Bench, ALineThatMeansNothingEndsTheConversation) {
  for (const char* line :
       {"walk 3", "run", "run x", "run 0", "run -1", "run 2 3", "run 99999999999999999999", "run 2x"}) {
    const Outcome outcome =
        converse(command({"--interactive", "--shape", "1x3x8x8"}), std::string(line) + "\nend\n");
    EXPECT_EQ(outcome.code, 1) << line;
    EXPECT_EQ(lines_of(outcome.out).size(), 1U) << line;
    EXPECT_THAT(outcome.error,
                testing::AllOf(HasSubstr("spatialmamba bench"), HasSubstr(line), HasSubstr("run N")));
  }
}

std::vector<std::string> training_command(std::vector<std::string> rest) {
  const std::vector<std::string> words = {"bench", "--train", "--variant", "micro", "--seconds", "0"};
  rest.insert(rest.begin(), words.begin(), words.end());
  return rest;
}

TEST(Bench, MeasuresTrainingSteps) {
  const std::vector<std::string> arguments =
      training_command({"--shape", "2x3x32x32", "--batches", "2,3", "--threads", "1", "--runs", "2"});
  if (!kWithTraining) return expect_refusal(arguments, 2, {"--train", "LibTorch"});
  std::vector<std::string> json = arguments;
  json.emplace_back("--json");
  const nlohmann::json result = run_program(json).json();
  ASSERT_EQ(result.at("latency").size(), 2U);
  EXPECT_GT(result.at("parameters").get<double>(), 0.0);
  EXPECT_EQ(result["latency"][1].at("batch"), 3);
  for (const auto& row : result["latency"]) {
    EXPECT_EQ(row.at("runs"), 2);
    EXPECT_GT(row.at("update_share").get<double>(), 0.0);
    EXPECT_LT(row["update_share"].get<double>(), 1.0);
    EXPECT_GT(row.at("peak_rss_mb").get<double>(), 1.0);
  }
  const Outcome table = run_program(arguments);
  EXPECT_EQ(table.code, 0) << table.error;
  for (const char* part : {"training micro", "images/s", "batch 3", "peak memory"}) {
    EXPECT_THAT(table.out, HasSubstr(part));
  }
}

TEST(Bench, RefusesNonsense) {
  expect_refusal({"bench", "--train"}, 2, {"--variant"});
  expect_refusal(training_command({"--layers"}), 2, {"--layers"});
  expect_refusal(training_command({"--task", "detection"}), 2, {"classifier"});
  expect_refusal(training_command({"--precision", "fp64"}), 2, {"fp64"});

  for (const char* shape : {"3x224x224", "1x3x224", "1x4x224x224", "0x3x8x8", "-1x3x8x8", "1x3x8x8x",
                            "1x3x8xx8", "1x3x8x8 ", "axbxcxd", "1x3x99999999999x99999999999"}) {
    expect_refusal(command({std::string("--shape=") + shape}), 2, {"shape"});
  }
  expect_refusal({"bench"}, 2, {"--weights", "--variant"});
  expect_refusal(command({"--variant", "tiny"}), 1, {nano_weights().string(), "tiny"});
  expect_refusal({"bench", "--variant", "enormous"}, 2, {"enormous", "tiny"});
  expect_refusal({"bench", "--weights", "missing.safetensors"}, 1, {"missing.safetensors"});
  expect_refusal(command({"--input", "missing.safetensors"}), 1, {"missing.safetensors"});
  for (const char* precision : {"fp16", "fp64"}) {
    expect_refusal(command({"--precision", precision}), 2, {precision});
  }
  expect_refusal(command({"--answer", "out.safetensors"}), 2, {"--answer", "--end-to-end"});
  expect_refusal(command({"--batches", "0"}), 2, {"batches"});
  expect_refusal(command({"--thread-counts", "1,none"}), 2, {"thread-counts"});
  const TemporaryFolder folder;
  const std::string other = (folder.path() / "other.safetensors").string();
  for (const Shape& shape : {Shape{3, 8, 8}, Shape{1, 2, 8, 8}, Shape{0, 3, 8, 8}}) {
    Weights file;
    file.tensors.add("input", Tensor(DType::f32, shape));
    write_safetensors(other, file);
    expect_refusal(command({"--input", other}), 1, {other, "'input'"});
  }
  Weights integers;
  integers.tensors.add("input", Tensor(DType::i32, {1, 3, 8, 8}));
  write_safetensors(other, integers);
  expect_refusal(command({"--input", other}), 1, {other});
}

}  // namespace
}  // namespace spatialmamba::test
