#include <fmt/format.h>
#include <fmt/ranges.h>
#include <hwy/highway.h>
#include <png.h>
#include <unistd.h>
#include <zlib.h>

// jpeglib.h uses FILE and size_t without saying where they come from.
#include <jpeglib.h>
#include <cstddef>
#include <cstdio>

#include <algorithm>
#include <fstream>
#include <memory>

#include "base/error.h"
#include "base/parallel.h"
#include "cli/options.h"
#include "cli/verbs.h"
#include "kernels/isa.h"
#include "spatialmamba/version.h"

namespace spatialmamba::cli {
namespace {

/// What Linux says under `key` in a file of lines "key : value"; empty when it does not.
std::string value_in(const char* file, const std::string& key) {
  std::ifstream lines(file);
  for (std::string line; std::getline(lines, line);) {
    const std::size_t colon = line.find(':');
    if (!line.starts_with(key) || colon == std::string::npos) continue;
    const std::size_t start = line.find_first_not_of(" \t", colon + 1);
    return start == std::string::npos ? "" : line.substr(start);
  }
  return {};
}

/// The processor's features that matter to the kernels.
std::vector<std::string> cpu_features() {
  static constexpr const char* kInteresting[] = {
      "sse4_1",   "sse4_2",   "avx",         "avx2",        "fma",      "f16c",     "avx512f",
      "avx512bw", "avx512vl", "avx512_bf16", "avx512_vnni", "amx_tile", "amx_bf16", "amx_int8"};
  const std::string flags = ' ' + value_in("/proc/cpuinfo", "flags") + ' ';
  std::vector<std::string> found;
  for (const char* name : kInteresting) {
    if (flags.find(fmt::format(" {} ", name)) != std::string::npos) found.emplace_back(name);
  }
  return found;
}

double gibibytes(long pages) {
  return static_cast<double>(pages) * static_cast<double>(sysconf(_SC_PAGESIZE)) / 0x1p30;
}

std::vector<Component> components() {
  const std::string jpeg =
#ifdef LIBJPEG_TURBO_VERSION
      fmt::format("{}.{}.{} (turbo)", LIBJPEG_TURBO_VERSION_NUMBER / 1000000,
                  LIBJPEG_TURBO_VERSION_NUMBER / 1000 % 1000, LIBJPEG_TURBO_VERSION_NUMBER % 1000);
#else
      fmt::format("{}", JPEG_LIB_VERSION);
#endif
  const std::string highway = fmt::format("{}.{}.{}", HWY_MAJOR, HWY_MINOR, HWY_PATCH);
  const std::string fmt_version =
      fmt::format("{}.{}.{}", FMT_VERSION / 10000, FMT_VERSION / 100 % 100, FMT_VERSION % 100);
  std::vector<Component> all = training_components();
  all.push_back({"Highway", highway, "portable vector instructions", ""});
  all.push_back({"libjpeg", jpeg, "JPEG files", ""});
  all.push_back({"libpng", png_get_libpng_ver(nullptr), "PNG files", ""});
  all.push_back({"zlib", zlibVersion(), "compressed files", ""});
  all.push_back({"fmt", fmt_version, "text", ""});
  return all;
}

struct InstructionSets {
  std::vector<std::string> supported;
  std::string chosen;
  std::string problem;  ///< SPATIALMAMBA_ISA asks for what cannot be
};

InstructionSets instruction_sets() {
  InstructionSets sets;
  for (const kernels::Isa isa : kernels::supported_isas()) sets.supported.emplace_back(kernels::name_of(isa));
  try {
    sets.chosen = kernels::name_of(kernels::default_isa());
  } catch (const Error& error) {
    sets.problem = error.what();
  }
  return sets;
}

nlohmann::ordered_json examine() {
  const InstructionSets sets = instruction_sets();
  nlohmann::ordered_json report{{"program", kVersion},
                                {"cpu", value_in("/proc/cpuinfo", "model name")},
                                {"cpu_features", cpu_features()},
                                {"instruction_sets", sets.supported},
                                {"instruction_set", sets.chosen},
                                {"threads", available_cores()},
                                {"memory_gib", gibibytes(sysconf(_SC_PHYS_PAGES))},
                                {"memory_available_gib", gibibytes(sysconf(_SC_AVPHYS_PAGES))},
                                {"components", nlohmann::ordered_json::array()},
                                {"problems", nlohmann::ordered_json::array()}};
  if (!sets.problem.empty()) report["problems"].push_back(sets.problem);
  for (const Component& component : components()) {
    nlohmann::ordered_json entry{
        {"name", component.name}, {"found", component.found}, {"for", component.purpose}};
    if (component.found.empty()) {
      entry["found"] = nullptr;
      report["problems"].push_back(
          fmt::format("{} is missing (for {}): {}", component.name, component.purpose, component.advice));
    }
    report["components"].push_back(entry);
  }
  return report;
}

void print_report(const nlohmann::ordered_json& report) {
  const auto text = [&](const char* key) { return report[key].get<std::string>(); };
  fmt::print("program       spatialmamba {}\n", text("program"));
  fmt::print("processor     {}\n", text("cpu"));
  fmt::print("features      {}\n", fmt::join(report["cpu_features"].get<std::vector<std::string>>(), " "));
  fmt::print("instructions  {}   (supported: {}; SPATIALMAMBA_ISA chooses)\n", text("instruction_set"),
             fmt::join(report["instruction_sets"].get<std::vector<std::string>>(), ", "));
  fmt::print("threads       {}\n", report["threads"].get<int>());
  fmt::print("memory        {:.1f} GiB, {:.1f} GiB free\n", report["memory_gib"].get<double>(),
             report["memory_available_gib"].get<double>());
  for (const auto& component : report["components"]) {
    const std::string found =
        component["found"].is_null() ? "missing" : component["found"].get<std::string>();
    fmt::print("{:13} {}   ({})\n", component["name"].get<std::string>(), found,
               component["for"].get<std::string>());
  }
  if (report["problems"].empty()) fmt::print("\nNothing is missing.\n");
  for (const auto& problem : report["problems"]) fmt::print("\n! {}\n", problem.get<std::string>());
}

}  // namespace

Run add_doctor(CLI::App& app) {
  auto json = std::make_shared<bool>(false);
  add_json(app, *json);
  return [json] {
    const nlohmann::ordered_json report = examine();
    if (*json) {
      print_json(report);
    } else {
      print_report(report);
    }
  };
}

}  // namespace spatialmamba::cli
