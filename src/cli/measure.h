#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "spatialmamba/engine.h"

namespace spatialmamba::cli {

/// Seconds since some moment in the past.
double now();
/// Seconds since this process began, to a hundredth.
double process_age();
/// Most memory that this process has held, in MB.
double peak_rss_mb();

/// Of repeated measurements, in seconds.
struct Latency {
  std::vector<double> sorted;

  double minimum() const { return sorted.front(); }
  /// The smallest value that a share q of all do not exceed.
  double quantile(double q) const;
  /// What `bench` says of it: runs, times in ms, images per second of the fastest run.
  nlohmann::ordered_json as_json(std::int64_t batch, int threads) const;
};

/// Runs until `seconds` are over and at least `runs` times, after one run that is not counted.
Latency measure_latency(const std::function<void()>& run, double seconds, int runs);

/// Logits of a classifier, scores of a segmentor, masks of a detector (which finds boxes first: 1000
/// proposals and 100 masks per image, whatever they are worth).
std::span<const float> run_model(Session& session, const ImageBatch& images);

/// What the machine can do at most, as measured with our own loops.
struct MachinePeaks {
  double gemm_flops = 0.0;  ///< per second, 2048 x 2048 x 2048 with packed weights
  double copy_bytes = 0.0;  ///< per second, read + written, 256 MB
};

/// With the instruction set and precision of the model.
MachinePeaks measure_peaks(const Model& model, int threads);

}  // namespace spatialmamba::cli
