#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "image/size.h"

/// Options that several verbs share, each stated once.
namespace spatialmamba::cli {

/// Height and width of the network's input.
using image::ImageSize;
using image::parse_size;

enum class Precision { fp32, bf16, fp16, fp64 };

/// As it is written on the command line.
std::string name_of(Precision precision);
/// Whether the engine has it; LibTorch has all.
bool engine_computes_in(Precision precision);

CLI::Option* add_weights(CLI::App& app, std::filesystem::path& weights);
CLI::Option* add_data(CLI::App& app, std::filesystem::path& data);
/// --ema: the averaged weights of a training checkpoint.
CLI::Option* add_ema(CLI::App& app, bool& ema);
/// --size 224 or --size HxW.
CLI::Option* add_size(CLI::App& app, ImageSize& size);
/// --threads; the default is every core that the process may use.
CLI::Option* add_threads(CLI::App& app, int& threads);
CLI::Option* add_seed(CLI::App& app, std::uint64_t& seed);
CLI::Option* add_json(CLI::App& app, bool& json);
CLI::Option* add_precision(CLI::App& app, Precision& precision);
CLI::Option* add_batch(CLI::App& app, std::int64_t& batch);

/// For numbers that cannot be zero or negative.
CLI::Validator above_zero();
/// For pictures that are written: the ending decides the format, and a wrong one shows before the work.
CLI::Validator picture_name();

/// One JSON document on standard output.
void print_json(const nlohmann::ordered_json& json);

}  // namespace spatialmamba::cli
