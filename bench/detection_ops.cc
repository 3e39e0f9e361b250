// NMS, RoIAlign and mask pasting on given arrays: bench_detection_ops INPUT.safetensors prints the best time
// of each in milliseconds as JSON. bench/peers/detection_ops.py makes the arrays and runs the same with
// torchvision.
#include <fmt/format.h>

#include <chrono>
#include <cstdlib>
#include <functional>
#include <limits>
#include <numeric>

#include "base/parallel.h"
#include "kernels/mask_paste.h"
#include "kernels/nms.h"
#include "kernels/roi_align.h"
#include "spatialmamba/weights.h"

namespace spatialmamba::kernels {
namespace {

constexpr int kRepeats = 15;
constexpr float kNmsThreshold = 0.7F;

double best_milliseconds(const std::function<void()>& run) {
  double best = std::numeric_limits<double>::infinity();
  for (int i = 0; i < kRepeats; ++i) {
    const auto start = std::chrono::steady_clock::now();
    run();
    const std::chrono::duration<double, std::milli> passed = std::chrono::steady_clock::now() - start;
    best = std::min(best, passed.count());
  }
  return best;
}

/// The map (1, H, W, C) at stride 4 and boxes (R, 5).
struct Pooling {
  std::vector<float> map;
  std::vector<float> boxes;
  std::vector<std::int64_t> all;
  std::vector<float> pooled;
  RoiAlign<float> roi;

  explicit Pooling(const TensorMap& tensors)
      : map(tensors.at("map").values<float>()),
        boxes(tensors.at("rois").values<float>()),
        all(boxes.size() / 5) {
    const Shape& shape = tensors.at("map").shape();
    std::iota(all.begin(), all.end(), 0);
    roi = {shape[0], shape[1], shape[2], shape[3], boxes.data(), all, 0.25F};
    pooled.resize(all.size() * static_cast<std::size_t>(roi.size * roi.size * roi.channels));
  }
};

void paste_all(const TensorMap& tensors, Isa isa) {
  const std::vector<float> masks = tensors.at("masks").values<float>();
  const std::vector<float> boxes = tensors.at("mask_boxes").values<float>();
  const std::int64_t size = tensors.at("masks").shape()[1];
  const auto values = static_cast<std::size_t>(size * size);
  const std::vector<std::int64_t> picture = tensors.at("picture").values<std::int64_t>();
  for (std::size_t i = 0; i < boxes.size() / 4; ++i) {
    const float* box = boxes.data() + 4 * i;
    paste_mask(std::span(masks).subspan(i * values, values), size, {box[0], box[1], box[2], box[3]},
               picture[0], picture[1], isa);
  }
}

void run(const char* file, int threads) {
  const TensorMap tensors = read_safetensors(file).tensors;
  ThreadPool pool(threads);
  const ParallelFor parallel = pool.parallel_for();
  const Isa isa = default_isa();
  const std::vector<float> boxes = tensors.at("boxes").values<float>();
  const std::vector<float> scores = tensors.at("scores").values<float>();
  Pooling pooling(tensors);
  std::vector<float> dmap(pooling.map.size());
  std::size_t kept = 0;
  const double nms_time =
      best_milliseconds([&] { kept = nms(boxes, scores, {}, {.threshold = kNmsThreshold}, isa).size(); });
  const double forward = best_milliseconds(
      [&] { roi_align_forward(pooling.roi, pooling.map.data(), pooling.pooled.data(), isa, parallel); });
  const double backward = best_milliseconds(
      [&] { roi_align_backward(pooling.roi, pooling.pooled.data(), dmap.data(), isa, parallel); });
  const double paste = best_milliseconds([&] { paste_all(tensors, isa); });
  fmt::print(
      "{{\"nms\": {}, \"nms_kept\": {}, \"roi_align\": {}, \"roi_align_backward\": {}, \"mask_paste\": "
      "{}}}\n",
      nms_time, kept, forward, backward, paste);
}

}  // namespace
}  // namespace spatialmamba::kernels

int main(int argc, char** argv) {
  if (argc != 3) {
    fmt::print(stderr, "usage: {} INPUT.safetensors THREADS\n", argv[0]);
    return 2;
  }
  spatialmamba::kernels::run(argv[1], std::atoi(argv[2]));
}
