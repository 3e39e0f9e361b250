#include "cli/options.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

#include "base/error.h"
#include "base/parallel.h"
#include "image/codec.h"

namespace spatialmamba::cli {
namespace {

const std::map<std::string, Precision>& precision_names() {
  static const std::map<std::string, Precision> names = {{"fp32", Precision::fp32},
                                                         {"bf16", Precision::bf16},
                                                         {"fp16", Precision::fp16},
                                                         {"fp64", Precision::fp64}};
  return names;
}

}  // namespace

std::string name_of(Precision precision) {
  return std::ranges::find(precision_names(), precision, &std::pair<const std::string, Precision>::second)
      ->first;
}

bool engine_computes_in(Precision precision) {
  return precision == Precision::fp32 || precision == Precision::bf16;
}

CLI::Option* add_weights(CLI::App& app, std::filesystem::path& weights) {
  return app.add_option("-w,--weights", weights, "Weights: .safetensors, or a PyTorch .pth")
      ->type_name("FILE");
}

CLI::Option* add_data(CLI::App& app, std::filesystem::path& data) {
  return app
      .add_option(
          "-d,--data", data,
          "Data set: a folder with train/ and val/ of CLASS/*.jpg, with lists (CSV, ImageNet-22K), zip "
          "archives and maps, tar shards, or Fashion-MNIST's files")
      ->type_name("FOLDER");
}

CLI::Option* add_ema(CLI::App& app, bool& ema) {
  return app.add_flag("--ema", ema, "Use the averaged (EMA) weights of a training checkpoint");
}

CLI::Option* add_size(CLI::App& app, ImageSize& size) {
  return app
      .add_option_function<std::string>(
          "--size", [&size](const std::string& text) { size = parse_size(text); },
          "Input size in pixels: 224, or HEIGHTxWIDTH")
      ->type_name("SIZE");
}

CLI::Option* add_threads(CLI::App& app, int& threads) {
  constexpr int kMostThreads = 4096;
  threads = available_cores();
  return app.add_option("--threads", threads, fmt::format("Threads to compute with (default: {})", threads))
      ->check(CLI::Range(1, kMostThreads))
      ->type_name("N");
}

CLI::Option* add_seed(CLI::App& app, std::uint64_t& seed) {
  return app.add_option("--seed", seed, fmt::format("Seed of all random numbers (default: {})", seed))
      ->type_name("N");
}

CLI::Option* add_json(CLI::App& app, bool& json) {
  return app.add_flag("--json", json, "Print JSON, and nothing else, on standard output");
}

CLI::Option* add_precision(CLI::App& app, Precision& precision) {
  const auto choose = [&precision](const std::string& name) { precision = precision_names().at(name); };
  return app
      .add_option_function<std::string>("--precision", choose,
                                        "Arithmetic: fp32 (default), bf16 or fp16 products, or fp64")
      ->check(CLI::IsMember(precision_names()))
      ->option_text("fp32|bf16|fp16|fp64");
}

CLI::Option* add_batch(CLI::App& app, std::int64_t& batch) {
  constexpr std::int64_t kLargestBatch = 65536;
  return app.add_option("--batch", batch, fmt::format("Images per forward pass (default: {})", batch))
      ->check(CLI::Range(std::int64_t{1}, kLargestBatch))
      ->type_name("N");
}

CLI::Validator above_zero() {
  const auto check = [](const std::string& text) {
    double value = 0.0;
    const bool ok = CLI::detail::lexical_cast(text, value) && value > 0.0;
    return ok ? std::string() : fmt::format("expected a number above 0, found {}", text);
  };
  return CLI::Validator(check, "");
}

CLI::Validator picture_name() {
  const auto check = [](const std::string& text) {
    return image::is_image_name(text)
               ? std::string()
               : fmt::format("{}: a picture's name must end in .png, .jpg or .jpeg", text);
  };
  return CLI::Validator(check, "");
}

void print_json(const nlohmann::ordered_json& json) {
  fmt::print("{}\n", json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
}

}  // namespace spatialmamba::cli
