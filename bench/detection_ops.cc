// NMS, RoIAlign and mask pasting on given arrays: prints the best time of each in milliseconds as JSON and
// writes the results, so that they can be compared. bench/peers/detection_ops.py makes the arrays and runs
// the same with torchvision.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <limits>
#include <numeric>
#include <string>

#include "base/parallel.h"
#include "kernels/mask_paste.h"
#include "kernels/nms.h"
#include "kernels/roi_align.h"
#include "spatialmamba/weights.h"

namespace spatialmamba::kernels {
namespace {

constexpr float kNmsThreshold = 0.7F;

double best_milliseconds(int repeats, const std::function<void()>& run) {
  double best = std::numeric_limits<double>::infinity();
  for (int i = 0; i < repeats; ++i) {
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

struct Pasting {
  std::vector<float> masks;
  std::vector<float> boxes;
  std::int64_t size;
  std::vector<std::int64_t> picture;

  explicit Pasting(const TensorMap& tensors)
      : masks(tensors.at("masks").values<float>()),
        boxes(tensors.at("mask_boxes").values<float>()),
        size(tensors.at("masks").shape()[1]),
        picture(tensors.at("picture").values<std::int64_t>()) {}

  std::size_t count() const { return boxes.size() / 4; }
  PastedMask paste(std::size_t i, Isa isa) const {
    const auto values = static_cast<std::size_t>(size * size);
    const float* box = boxes.data() + 4 * i;
    return paste_mask(std::span(masks).subspan(i * values, values), size, {box[0], box[1], box[2], box[3]},
                      picture[0], picture[1], isa);
  }
};

/// Pixels of each mask at a half and above.
std::vector<std::int64_t> areas(const Pasting& pasting, Isa isa) {
  std::vector<std::int64_t> result;
  for (std::size_t i = 0; i < pasting.count(); ++i) {
    const PastedMask mask = pasting.paste(i, isa);
    result.push_back(std::ranges::count_if(mask.values, [](float value) { return value >= 0.5F; }));
  }
  return result;
}

struct Arguments {
  std::string input;
  std::string output;
  int threads;
  int repeats;
};

void run(const Arguments& arguments) {
  const TensorMap tensors = read_safetensors(arguments.input).tensors;
  ThreadPool pool(arguments.threads);
  const ParallelFor parallel = pool.parallel_for();
  const Isa isa = default_isa();
  const std::vector<float> boxes = tensors.at("boxes").values<float>();
  const std::vector<float> scores = tensors.at("scores").values<float>();
  const Pasting pasting(tensors);
  Pooling pooling(tensors);
  const auto pool_boxes = [&] {
    roi_align_forward(pooling.roi, pooling.map.data(), pooling.pooled.data(), isa, parallel);
  };
  std::vector<float> dmap(pooling.map.size());
  const auto pool_back = [&] {
    roi_align_backward(pooling.roi, pooling.pooled.data(), dmap.data(), isa, parallel);
  };
  Weights results;
  const auto kept = nms(boxes, scores, {}, {.threshold = kNmsThreshold}, isa);
  results.tensors.add("nms", Tensor::from({std::ssize(kept)}, kept));
  pool_boxes();
  pool_back();
  const std::int64_t size = pooling.roi.size;
  const std::int64_t channels = pooling.roi.channels;
  results.tensors.add("roi_align",
                      Tensor::from({std::ssize(pooling.all), size, size, channels}, pooling.pooled));
  results.tensors.add("roi_align_backward", Tensor::from(tensors.at("map").shape(), dmap));
  results.tensors.add("mask_paste",
                      Tensor::from({static_cast<std::int64_t>(pasting.count())}, areas(pasting, isa)));
  write_safetensors(arguments.output, results);

  const auto best = [&](const auto& body) { return best_milliseconds(arguments.repeats, body); };
  fmt::print("{{\"nms\": {}, \"roi_align\": {}, \"roi_align_backward\": {}, \"mask_paste\": {}}}\n",
             best([&] { nms(boxes, scores, {}, {.threshold = kNmsThreshold}, isa); }), best(pool_boxes),
             best(pool_back), best([&] {
               for (std::size_t i = 0; i < pasting.count(); ++i) pasting.paste(i, isa);
             }));
}

}  // namespace
}  // namespace spatialmamba::kernels

int main(int argc, char** argv) {
  if (argc != 5) {
    fmt::print(stderr, "usage: {} INPUT.safetensors OUTPUT.safetensors THREADS REPEATS\n", argv[0]);
    return 2;
  }
  spatialmamba::kernels::run({argv[1], argv[2], std::atoi(argv[3]), std::atoi(argv[4])});
}
