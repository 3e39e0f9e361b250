#include "cli/bench_table.h"

#include <fmt/format.h>

#include <cstdint>
#include <map>
#include <string>

namespace spatialmamba::cli {
namespace {

/// What ran, for how long, and how near that is to what the machine can do.
nlohmann::ordered_json rates(const char* key, const std::string& name, const StepTime& time,
                             const MachinePeaks& peaks) {
  const double flops = time.flops / time.seconds;
  const double bytes = time.bytes / time.seconds;
  return {{key, name},
          {"ms", 1e3 * time.seconds},
          {"gflops", 1e-9 * flops},
          {"gbytes_per_second", 1e-9 * bytes},
          {"share_of_gemm_peak", flops / peaks.gemm_flops},
          {"share_of_copy_peak", bytes / peaks.copy_bytes}};
}

void print_rates(const nlohmann::ordered_json& rows, const char* key, std::size_t width) {
  fmt::print("\n{:{}}  {:>9}  {:>8}  {:>7}  {:>7}  {:>7}\n", key, width, "ms", "GFLOP/s", "of peak", "GB/s",
             "of peak");
  for (const auto& row : rows) {
    fmt::print("{:{}}  {:9.3f}  {:8.1f}  {:6.1f}%  {:7.1f}  {:6.1f}%\n", row[key].get<std::string>(), width,
               row["ms"].get<double>(), row["gflops"].get<double>(),
               100.0 * row["share_of_gemm_peak"].get<double>(), row["gbytes_per_second"].get<double>(),
               100.0 * row["share_of_copy_peak"].get<double>());
  }
}

void print_latencies(const nlohmann::ordered_json& rows) {
  fmt::print("{:>7}  {:>6}  {:>6}  {:>9}  {:>9}  {:>9}  {:>9}  {:>8}\n", "threads", "batch", "runs", "min ms",
             "median ms", "p90 ms", "p99 ms", "images/s");
  for (const auto& row : rows) {
    fmt::print("{:>7}  {:>6}  {:>6}  {:9.2f}  {:9.2f}  {:9.2f}  {:9.2f}  {:8.1f}\n",
               row["threads"].get<int>(), row["batch"].get<std::int64_t>(), row["runs"].get<int>(),
               row["min_ms"].get<double>(), row["median_ms"].get<double>(), row["p90_ms"].get<double>(),
               row["p99_ms"].get<double>(), row["images_per_second"].get<double>());
  }
}

}  // namespace

nlohmann::ordered_json layers_json(const std::vector<StepTime>& steps, const MachinePeaks& peaks) {
  auto rows = nlohmann::ordered_json::array();
  for (const StepTime& step : steps) {
    rows.push_back(rates("layer", step.layer, step, peaks));
    rows.back()["kernel"] = step.kernel;
  }
  return rows;
}

nlohmann::ordered_json kernels_json(const std::vector<StepTime>& steps, const MachinePeaks& peaks) {
  std::map<std::string, StepTime> sums;
  for (const StepTime& step : steps) {
    StepTime& sum = sums[step.kernel];
    sum.seconds += step.seconds;
    sum.flops += step.flops;
    sum.bytes += step.bytes;
  }
  auto rows = nlohmann::ordered_json::array();
  for (const auto& [kernel, sum] : sums) rows.push_back(rates("kernel", kernel, sum, peaks));
  return rows;
}

void print_inference(const nlohmann::ordered_json& result) {
  fmt::print("{} {} {} on {}: loaded in {:.0f} ms, {:.1f} MB of weights, peak memory {:.0f} MB\n\n",
             result["variant"].get<std::string>(), result["shape"].dump(),
             result["precision"].get<std::string>(), result["isa"].get<std::string>(),
             result["load_ms"].get<double>(), result["weight_mb"].get<double>(),
             result["peak_rss_mb"].get<double>());
  print_latencies(result["latency"]);
  if (result.contains("difference_from_torch")) {
    fmt::print("\nlargest difference from LibTorch's fp32 logits: {:.2e} of the greatest\n",
               result["difference_from_torch"].get<double>());
  }
  if (result.contains("layers")) {
    print_rates(result["layers"], "layer", 44);
    print_rates(result["kernels"], "kernel", 44);
    fmt::print("\npeaks: {:.0f} GFLOP/s (2048^3 product), {:.1f} GB/s (copy of 256 MB)\n",
               result["gemm_peak_gflops"].get<double>(), result["copy_peak_gbytes_per_second"].get<double>());
  }
}

void print_training(const nlohmann::ordered_json& result) {
  const std::string device = result["device"];
  fmt::print("training {} {} {} on {}: {} parameters\n\n", result["variant"].get<std::string>(),
             result["shape"].dump(), result["precision"].get<std::string>(),
             device == "cpu" ? result["isa"].get<std::string>() : device,
             result["parameters"].get<std::int64_t>());
  print_latencies(result["latency"]);
  fmt::print("\n");
  for (const auto& row : result["latency"]) {
    fmt::print("{} threads, batch {}: {:.1f} % of a step updates the weights, peak memory {:.0f} MB",
               row["threads"].get<int>(), row["batch"].get<std::int64_t>(),
               100.0 * row["update_share"].get<double>(), row["peak_rss_mb"].get<double>());
    if (row.contains("peak_device_memory_mib"))
      fmt::print(", on the GPU {:.0f} MiB", row["peak_device_memory_mib"].get<double>());
    fmt::print("\n");
  }
}

}  // namespace spatialmamba::cli
