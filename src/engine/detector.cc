#include "engine/detector.h"

#include <algorithm>
#include <vector>

#include "base/error.h"
#include "engine/convolution.h"
#include "kernels/roi_align.h"

namespace spatialmamba::engine {
namespace {

using kernels::GemmActivation;

// Boxes that the heads look at together: enough to make good use of the weights that pass by, few enough that
// their features take little memory.
constexpr std::int64_t kBoxesAtOnce = 256;
constexpr std::int64_t kMasksAtOnce = 32;
constexpr std::int64_t kBoxFeatures = kBoxBins * kBoxBins;
constexpr std::int64_t kMaskFeatures = kMaskBins * kMaskBins;
constexpr std::int64_t kUpsampled = 4;  // values of an enlarged map per value

std::int64_t pyramid_channels(const MaskRcnn& detector) {
  return detector.laterals.front().outputs();
}
std::int64_t mask_channels(const MaskRcnn& detector) {
  return detector.upsample.inputs();
}

MapShape with_channels(MapShape shape, std::int64_t channels) {
  shape.channels = channels;
  return shape;
}

/// Hands out memory piece by piece.
class Memory {
 public:
  explicit Memory(float* memory) : memory_(memory) {}
  float* take(std::int64_t floats) {
    float* piece = memory_;
    memory_ += divide_up(floats, kLine) * kLine;
    return piece;
  }

 private:
  float* memory_;
};

/// to += from, every value of which counts for 2 x 2.
void add_enlarged(const Executor& run, const Map& from, const MapShape& shape, float* to) {
  run.step("top_down", "resize", static_cast<double>(shape.size()), from.shape.size() + shape.size(), [&] {
    const std::int64_t c = shape.channels;
    run.parallel()(shape.images * shape.height, 4, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row) {
        const std::int64_t source = row / shape.height * from.shape.height + row % shape.height / 2;
        const float* line = from.data + source * from.shape.width * c;
        float* out = to + row * shape.width * c;
        for (std::int64_t x = 0; x < shape.width; ++x, out += c) {
          const float* pixel = line + x / 2 * c;
          for (std::int64_t k = 0; k < c; ++k) out[k] += pixel[k];
        }
      }
    });
  });
}

/// Every second place.
void copy_half(const Map& from, const MapShape& shape, float* out) {
  for (std::int64_t row = 0; row < shape.images * shape.height; ++row) {
    const std::int64_t source = row / shape.height * from.shape.height + row % shape.height * 2;
    for (std::int64_t x = 0; x < shape.width; ++x, out += shape.channels) {
      std::copy_n(from.data + (source * from.shape.width + 2 * x) * shape.channels, shape.channels, out);
    }
  }
}

/// Shapes of the pyramid's levels.
std::array<MapShape, kPyramidLevels> level_shapes(const MaskRcnn& detector, const Features& features) {
  std::array<MapShape, kPyramidLevels> shapes;
  for (std::size_t i = 0; i < features.size(); ++i) {
    shapes[i] = with_channels(features[i].shape, pyramid_channels(detector));
  }
  shapes.back() = halved(shapes[features.size() - 1], pyramid_channels(detector));
  return shapes;
}

/// Floats of the maps of all levels with so many channels.
std::int64_t floats_of(const std::array<MapShape, kPyramidLevels>& shapes, std::int64_t channels) {
  std::int64_t floats = 0;
  for (const MapShape& shape : shapes) floats += divide_up(shape.tokens() * channels, kLine) * kLine;
  return floats;
}

void build_pyramid(const MaskRcnn& detector, const Features& features, Memory memory, const Executor& run,
                   std::array<Map, kPyramidLevels>& pyramid, const std::array<float*, kPyramidLevels>& data) {
  run.enter("neck");
  const std::size_t top = features.size() - 1;
  std::array<float*, kPooledLevels> merged{};
  for (std::size_t i = 0; i <= top; ++i) {
    merged[i] = memory.take(pyramid[i].shape.size());
    run.linear("lateral_convs", detector.laterals[i], features[i].shape.tokens(), features[i].data,
               {.data = merged[i], .stride = pyramid[i].shape.channels});
  }
  for (std::size_t i = top; i > 0; --i) {
    add_enlarged(run, {pyramid[i].shape, merged[i]}, pyramid[i - 1].shape, merged[i - 1]);
  }
  for (std::size_t i = 0; i <= top; ++i) {
    convolve(run, "fpn_convs", detector.pyramid[i], {pyramid[i].shape, merged[i]}, {.data = data[i]});
  }
  copy_half(pyramid[top], pyramid.back().shape, data.back());
}

/// The table [n][5] that RoIAlign reads, and the rows that each level serves.
struct RegionTable {
  std::vector<float> boxes;
  std::array<std::vector<std::int64_t>, kPooledLevels> rows;

  explicit RegionTable(std::span<const Region> regions) {
    for (std::size_t i = 0; i < regions.size(); ++i) {
      const Region& r = regions[i];
      boxes.insert(boxes.end(), {static_cast<float>(r.image), r.x1, r.y1, r.x2, r.y2});
      rows[static_cast<std::size_t>(r.level)].push_back(static_cast<std::int64_t>(i));
    }
  }
};

void pool(const DetectorMaps& maps, std::span<const Region> regions, std::int64_t bins, const Executor& run,
          float* pooled) {
  const RegionTable table(regions);
  const MapShape& first = maps.pyramid[0].shape;
  run.step("roi_align", "pool", 0.0, std::ssize(regions) * bins * bins * first.channels, [&] {
    for (std::size_t level = 0; level < table.rows.size(); ++level) {
      if (table.rows[level].empty()) continue;
      const MapShape& shape = maps.pyramid[level].shape;
      const kernels::RoiAlign<float> roi{
          .images = shape.images,
          .height = shape.height,
          .width = shape.width,
          .channels = shape.channels,
          .boxes = table.boxes.data(),
          .chosen = table.rows[level],
          .scale = 1.0F / static_cast<float>(kPatchStride << level),
          .size = bins,
      };
      kernels::roi_align_forward(roi, maps.pyramid[level].data, pooled, run.isa(), run.parallel());
    }
  });
}

/// Calls body(first, boxes) for blocks of the regions.
template <typename Body>
void for_blocks(std::span<const Region> regions, std::int64_t most, const Body& body) {
  for (std::int64_t first = 0; first < std::ssize(regions); first += most) {
    const std::int64_t count = std::min(most, std::ssize(regions) - first);
    body(first, regions.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(count)));
  }
}

float dot(const float* a, const float* b, std::int64_t n) {
  constexpr std::int64_t kLanes = 16;
  float sums[kLanes] = {};
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (std::int64_t j = 0; j < kLanes; ++j) sums[j] += a[i + j] * b[i + j];
  }
  float sum = 0.0F;
  for (const float part : sums) sum += part;
  for (; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

/// The logits of the 2 x 2 pixels that a cell of the mask head's map is enlarged to: enlarged [2][2][C].
void classify_cell(const MaskRcnn& detector, const float* enlarged, std::int64_t label, std::int64_t cell,
                   float* logits) {
  const std::int64_t c = mask_channels(detector);
  const float* weights = detector.mask_weights.data() + label * c;
  const float bias = detector.mask_bias[static_cast<std::size_t>(label)];
  for (std::int64_t k = 0; k < kUpsampled; ++k) {
    const std::int64_t y = cell / kMaskBins * 2 + k / 2;
    const std::int64_t x = cell % kMaskBins * 2 + k % 2;
    logits[y * kMaskSize + x] = dot(weights, enlarged + k * c, c) + bias;
  }
}

/// From the mask head's map [n][14][14][C] to the logits of each box's class. The enlarged map of a block of
/// cells never leaves the cache.
void classify_pixels(const MaskRcnn& detector, const float* map, std::span<const std::int64_t> labels,
                     const Executor& run, float* logits) {
  const PackedLinear& layer = detector.upsample;
  const std::int64_t outputs = layer.outputs();
  const std::int64_t cells = std::ssize(labels) * kMaskFeatures;
  constexpr std::int64_t kPixels = kMaskSize * kMaskSize;
  const TaskGrid tasks = TaskGrid::by_rows(cells, layer.panel_rows(), run.parallel().threads());
  run.step("upsample+conv_logits", "linear",
           linear_flops(layer, cells) + 2.0 * static_cast<double>(cells * outputs),
           cells * (layer.inputs() + kUpsampled) + layer.inputs() * outputs, [&] {
             const std::int64_t rows = tasks.block_rows();
             run.for_tasks(
                 tasks, layer.packed_size(rows) + rows * outputs, [&](const Task& task, TaskMemory& memory) {
                   const kernels::PackedRows packed = memory.take_packed(layer, task.count());
                   float* enlarged = memory.take(task.count() * outputs);
                   layer.pack(map + task.rows.begin * layer.inputs(), layer.inputs(), packed);
                   layer.multiply(packed, {0, outputs},
                                  {.data = enlarged, .stride = outputs, .activation = GemmActivation::relu});
                   for (std::int64_t i = 0; i < task.count(); ++i) {
                     const std::int64_t box = (task.rows.begin + i) / kMaskFeatures;
                     classify_cell(detector, enlarged + i * outputs, labels[static_cast<std::size_t>(box)],
                                   (task.rows.begin + i) % kMaskFeatures, logits + box * kPixels);
                   }
                 });
           });
}

}  // namespace

std::int64_t detector_memory(const MaskRcnn& detector, const Features& features) {
  const auto shapes = level_shapes(detector, features);
  const std::int64_t answers = detector.rpn_scores.outputs() + detector.rpn_deltas.outputs();
  constexpr std::int64_t kSlack = 1024;  // for rounding up, piece by piece
  // The pyramid, and what it is made of.
  return 2 * floats_of(shapes, pyramid_channels(detector)) + floats_of(shapes, answers) + kSlack;
}

DetectorMaps detector_maps(const MaskRcnn& detector, const Features& features, float* memory,
                           const Executor& run, const Observer& observe) {
  Memory pieces(memory);
  DetectorMaps maps;
  std::array<float*, kPyramidLevels> data{};
  const auto shapes = level_shapes(detector, features);
  for (std::size_t i = 0; i < shapes.size(); ++i) {
    data[i] = pieces.take(shapes[i].size());
    maps.pyramid[i] = {shapes[i], data[i]};
  }
  std::array<float*, kPyramidLevels> scores{};
  std::array<float*, kPyramidLevels> deltas{};
  for (std::size_t i = 0; i < shapes.size(); ++i) {
    maps.scores[i].shape = with_channels(shapes[i], detector.rpn_scores.outputs());
    maps.deltas[i].shape = with_channels(shapes[i], detector.rpn_deltas.outputs());
    maps.scores[i].data = scores[i] = pieces.take(maps.scores[i].shape.size());
    maps.deltas[i].data = deltas[i] = pieces.take(maps.deltas[i].shape.size());
  }
  build_pyramid(detector, features, pieces, run, maps.pyramid, data);

  run.enter("rpn_head");
  for (std::size_t i = 0; i < shapes.size(); ++i) {
    const std::array<PixelLayer, 2> layers = {
        {{&detector.rpn_scores, scores[i]}, {&detector.rpn_deltas, deltas[i]}}};
    convolve_into(run, "rpn_conv+rpn_cls+rpn_reg", detector.rpn, maps.pyramid[i], layers);
  }
  if (observe) {
    const auto show = [&](const char* name, const std::array<Map, kPyramidLevels>& all) {
      for (std::size_t i = 0; i < all.size(); ++i) {
        observe(fmt::format("{}.{}", name, i), all[i].shape, all[i].data);
      }
    };
    show("fpn", maps.pyramid);
    show("rpn_cls", maps.scores);
    show("rpn_reg", maps.deltas);
  }
  return maps;
}

std::int64_t region_memory(const MaskRcnn& detector) {
  const std::int64_t boxes = kBoxesAtOnce * (detector.shared[0].inputs() + detector.shared[0].outputs() +
                                             detector.shared[1].outputs());
  const std::int64_t c = std::max(mask_channels(detector), pyramid_channels(detector));
  const std::int64_t masks = 2 * kMasksAtOnce * kMaskFeatures * c;
  constexpr std::int64_t kSlack = 1024;  // for rounding up, piece by piece
  return std::max(boxes, masks) + kSlack;
}

void classify_regions(const MaskRcnn& detector, const DetectorMaps& maps, std::span<const Region> regions,
                      float* memory, const Executor& run, float* scores, float* deltas) {
  run.enter("roi_head.bbox_head");
  for_blocks(regions, kBoxesAtOnce, [&](std::int64_t first, std::span<const Region> block) {
    Memory pieces(memory);
    const std::int64_t n = std::ssize(block);
    const std::int64_t width = detector.shared[0].outputs();
    float* pooled = pieces.take(n * kBoxFeatures * pyramid_channels(detector));
    float* once = pieces.take(n * width);
    float* twice = pieces.take(n * detector.shared[1].outputs());
    pool(maps, block, kBoxBins, run, pooled);
    const auto relu = [](float* data, std::int64_t stride) {
      return kernels::LinearOutput{.data = data, .stride = stride, .activation = GemmActivation::relu};
    };
    run.linear("shared_fcs.0", detector.shared[0], n, pooled, relu(once, width));
    run.linear("shared_fcs.1", detector.shared[1], n, once, relu(twice, detector.shared[1].outputs()));
    const std::int64_t s = detector.scores.outputs();
    const std::int64_t d = detector.deltas.outputs();
    run.linear("fc_cls", detector.scores, n, twice, {.data = scores + first * s, .stride = s});
    run.linear("fc_reg", detector.deltas, n, twice, {.data = deltas + first * d, .stride = d});
  });
}

void outline_regions(const MaskRcnn& detector, const DetectorMaps& maps, std::span<const Region> regions,
                     std::span<const std::int64_t> labels, float* memory, const Executor& run,
                     float* logits) {
  run.enter("roi_head.mask_head");
  for_blocks(regions, kMasksAtOnce, [&](std::int64_t first, std::span<const Region> block) {
    Memory pieces(memory);
    const std::int64_t n = std::ssize(block);
    const std::int64_t c = mask_channels(detector);
    const std::int64_t floats = n * kMaskFeatures * std::max(c, pyramid_channels(detector));
    float* now = pieces.take(floats);
    float* next = pieces.take(floats);
    pool(maps, block, kMaskBins, run, now);
    MapShape shape{n, kMaskBins, kMaskBins, pyramid_channels(detector)};
    for (const TileConvolution& convolution : detector.mask) {
      convolve(run, "convs", convolution, {shape, now}, {.data = next, .relu = true});
      std::swap(now, next);
      shape.channels = c;
    }
    classify_pixels(detector, now,
                    labels.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(n)), run,
                    logits + first * kMaskSize * kMaskSize);
  });
}

}  // namespace spatialmamba::engine
