#include "cli/measure.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <ctime>
#include <sstream>

#include "base/file.h"
#include "base/parallel.h"
#include "detector/run.h"
#include "kernels/packed_linear.h"

namespace spatialmamba::cli {
namespace {

constexpr int kPeakRounds = 5;

template <typename Body>
double best_of(int rounds, const Body& body) {
  double best = INFINITY;
  for (int i = 0; i < rounds; ++i) {
    const double start = now();
    body();
    best = std::min(best, now() - start);
  }
  return best;
}

double gemm_peak(kernels::Isa isa, kernels::Multiply multiply, const ParallelFor& parallel) {
  constexpr std::int64_t kSide = 2048;
  constexpr std::int64_t kRows = 128;
  const std::vector<float> values(kSide * kSide, 1.0F);
  const kernels::PackedLinear linear(kSide, kSide, values.data(), nullptr, isa, multiply);
  std::vector<float> product(kSide * kSide);
  const double seconds = best_of(kPeakRounds, [&] {
    parallel(kSide / kRows, 1, [&](std::int64_t begin, std::int64_t end) {
      kernels::AlignedVector<float> packed(static_cast<std::size_t>(linear.packed_size(kRows)));
      const kernels::PackedRows rows{packed.data(), kRows};
      for (std::int64_t block = begin; block < end; ++block) {
        const std::int64_t first = block * kRows * kSide;
        linear.pack(values.data() + first, kSide, rows);
        linear.multiply(rows, {0, kSide}, {.data = product.data() + first, .stride = kSide});
      }
    });
  });
  return 2.0 * kSide * kSide * kSide / seconds;
}

double copy_peak(const ParallelFor& parallel) {
  constexpr std::int64_t kBytes = std::int64_t{1} << 28;
  constexpr std::int64_t kPiece = std::int64_t{1} << 20;
  const std::vector<char> from(kBytes, 1);
  std::vector<char> to(kBytes);
  const double seconds = best_of(kPeakRounds, [&] {
    parallel(kBytes / kPiece, 1, [&](std::int64_t begin, std::int64_t end) {
      std::memcpy(to.data() + begin * kPiece, from.data() + begin * kPiece,
                  static_cast<std::size_t>((end - begin) * kPiece));
    });
  });
  return 2.0 * kBytes / seconds;
}

}  // namespace

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double process_age() {
  // Field 22 of /proc/self/stat, in clock ticks since boot; the second may contain spaces, in parentheses.
  const std::string text = read_text("/proc/self/stat");
  std::istringstream fields(text.substr(text.rfind(')') + 2));
  std::string field;
  constexpr int kStartTime = 22 - 2;
  for (int i = 0; i < kStartTime; ++i) fields >> field;
  timespec since_boot{};
  clock_gettime(CLOCK_BOOTTIME, &since_boot);
  const double boot_seconds =
      static_cast<double>(since_boot.tv_sec) + 1e-9 * static_cast<double>(since_boot.tv_nsec);
  return boot_seconds - std::stod(field) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

double peak_rss_mb() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024.0;
}

double Latency::quantile(double q) const {
  const auto rank = static_cast<std::size_t>(std::ceil(q * static_cast<double>(sorted.size())));
  return sorted[std::max<std::size_t>(rank, 1) - 1];
}

nlohmann::ordered_json Latency::as_json(std::int64_t batch, int threads) const {
  return {{"batch", batch},
          {"threads", threads},
          {"runs", sorted.size()},
          {"min_ms", 1e3 * minimum()},
          {"median_ms", 1e3 * quantile(0.5)},
          {"p90_ms", 1e3 * quantile(0.9)},
          {"p99_ms", 1e3 * quantile(0.99)},
          {"images_per_second", static_cast<double>(batch) / minimum()}};
}

namespace {

/// Both halves of a detector, with as many boxes as the paper counts.
std::span<const float> run_detector(Session& session, const ImageBatch& images) {
  const DetectorLoad load;
  const std::vector<detection::Extent> extents(static_cast<std::size_t>(images.count),
                                               {images.height, images.width});
  const auto proposals = detection::propose(session.regions(images), extents, {.per_image = load.proposals},
                                            kernels::isa_from_name(session.model().isa()));
  std::vector<Region> regions;
  std::vector<Region> outlined;
  for (std::size_t i = 0; i < proposals.size(); ++i) {
    const auto own = detection::regions_of(proposals[i].boxes, static_cast<std::int64_t>(i));
    regions.insert(regions.end(), own.begin(), own.end());
    const auto few = std::span(own).first(std::min<std::size_t>(own.size(), load.detections));
    outlined.insert(outlined.end(), few.begin(), few.end());
  }
  session.classify(regions);
  return session.outline(outlined, std::vector<std::int64_t>(outlined.size(), 0));
}

}  // namespace

std::span<const float> run_model(Session& session, const ImageBatch& images) {
  switch (session.model().task()) {
    case Task::segmentation:
      return session.scores(images).values;
    case Task::detection:
      return run_detector(session, images);
    case Task::classification:
      break;
  }
  return session.logits(images);
}

Latency measure_latency(const std::function<void()>& run, double seconds, int runs) {
  run();
  Latency latency;
  const double start = now();
  while (std::ssize(latency.sorted) < runs || now() - start < seconds) {
    const double begin = now();
    run();
    latency.sorted.push_back(now() - begin);
  }
  std::ranges::sort(latency.sorted);
  return latency;
}

MachinePeaks measure_peaks(const Model& model, int threads) {
  ThreadPool pool(threads);
  const auto multiply =
      model.precision() == EnginePrecision::bf16 ? kernels::Multiply::bf16 : kernels::Multiply::full;
  return {.gemm_flops = gemm_peak(kernels::isa_from_name(model.isa()), multiply, pool.parallel_for()),
          .copy_bytes = copy_peak(pool.parallel_for())};
}

}  // namespace spatialmamba::cli
