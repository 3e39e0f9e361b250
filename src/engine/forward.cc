#include "engine/forward.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "engine/depthwise.h"
#include "engine/detector.h"
#include "engine/downsampling.h"
#include "engine/stem.h"
#include "engine/upernet.h"
#include "kernels/layer_norm.h"
#include "kernels/normalise_rows.h"

namespace spatialmamba::engine {
namespace {

using kernels::GemmActivation;
using kernels::PackedRows;

constexpr auto kEpsilon = static_cast<float>(kNormEpsilon);

/// Forward pass over one batch. Between two of its steps all threads meet; within a step a task carries its
/// rows through as many layers as it can without looking at other tasks' rows.
class Pass {
 public:
  Pass(const Network& network, const ParallelFor& parallel, Workspace& workspace, Profile* profile)
      : network_(network),
        workspace_(workspace),
        run_(network.isa, parallel, workspace.scratch, profile),
        maps_{workspace.maps[0].data(), workspace.maps[1].data()} {}

  const Executor& run() const { return run_; }

  MapShape stem(const ImageBatch& images) { return run_stem(run_, network_, images, wide(), current()); }
  void block(const Block& block, const MapShape& shape);
  MapShape downsample(const Downsampling& down, const MapShape& shape);
  void head(const MapShape& shape, float* pooled, float* logits);
  /// The LayerNorm behind a stage, for another network to read.
  void normalise_stage(const Norm& norm, const MapShape& shape, float* out);

  const float* map() const { return current(); }
  /// Puts the map of a group aside, whose first image is number `first` of the batch.
  void keep(const MapShape& shape, std::int64_t first);
  /// Goes on with what was kept of all groups.
  void join() {
    maps_ = {workspace_.joint.data(), workspace_.maps[0].data()};
    current_ = 0;
  }

 private:
  float* current() const { return maps_[current_]; }
  float* other() const { return maps_[1 - current_]; }
  float* wide() { return workspace_.wide.data(); }

  /// A task's rows of conv(x), which are left in `sum`, normalised and packed for the layer.
  PackedRows pack_normalised(const DepthwiseWeights& conv, const PackedLinear& layer, const MapShape& shape,
                             const Task& task, float* sum, TaskMemory& memory);
  /// Where that sum goes: shares of the same rows all need it, one of them keeps it in the other map.
  float* place_of_sum(const MapShape& shape, const Task& task, TaskMemory& memory);
  /// Floats of memory that both take for a task of so many rows.
  static std::int64_t normalised_memory(const PackedLinear& layer, const MapShape& shape, std::int64_t rows) {
    return layer.packed_size(rows) + rows * shape.channels;
  }

  // The steps of a block.
  void mix_in(const Block& block, const MapShape& shape, float* x, float* gate);
  void convolve_states(const StateMixing& mixing, const MapShape& shape, const float* x, float* u,
                       float* projected);
  void mix_out(const StateMixing& mixing, const MapShape& shape, const float* y, const float* gate);
  void mlp(const Block& block, const MapShape& shape);
  void mlp_in_one(const Block& block, const MapShape& shape, const TaskGrid& tasks);
  void mlp_in_two(const Block& block, const MapShape& shape, const TaskGrid& tasks);

  const Network& network_;
  Workspace& workspace_;
  Executor run_;
  std::array<float*, 2> maps_;
  std::size_t current_ = 0;
};

PackedRows Pass::pack_normalised(const DepthwiseWeights& conv, const PackedLinear& layer,
                                 const MapShape& shape, const Task& task, float* sum, TaskMemory& memory) {
  const std::int64_t d = shape.channels;
  const PackedRows packed = memory.take_packed(layer, task.count());
  convolve_pixels(conv, {shape, current()}, task.rows, sum, run_.isa());
  kernels::normalise_rows(task.count(), d, {sum, d}, kEpsilon, layer.destination(packed), run_.isa());
  return packed;
}

float* Pass::place_of_sum(const MapShape& shape, const Task& task, TaskMemory& memory) {
  if (task.split == 0) return other() + task.rows.begin * shape.channels;
  return memory.take(task.count() * shape.channels);
}

/// x += cpe1(x); then x and gate [tokens, E], the two halves of in_proj(ln_1(x)), the gate through SiLU.
void Pass::mix_in(const Block& block, const MapShape& shape, float* x, float* gate) {
  const StateMixing& mixing = block.mixing;
  const std::int64_t d = block.dim;
  const std::int64_t e = mixing.in_x.outputs();
  const std::int64_t tokens = shape.tokens();
  const TaskGrid tasks = run_.grid(tokens, mixing.in_x);
  const std::int64_t floats = normalised_memory(mixing.in_x, shape, tasks.block_rows());
  run_.step("cpe1+ln_1+in_proj", "cpe + norm + linear",
            depthwise_flops(block.cpe1, tokens) + 2.0 * linear_flops(mixing.in_x, tokens),
            2 * tokens * (d + e) + 2 * d * e, [&] {
              run_.for_tasks(tasks, floats, [&](const Task& task, TaskMemory& memory) {
                float* sum = place_of_sum(shape, task, memory);
                const PackedRows packed = pack_normalised(block.cpe1, mixing.in_x, shape, task, sum, memory);
                mixing.in_x.multiply(packed, task.columns(mixing.in_x),
                                     at_rows({.data = x, .stride = e}, task));
                mixing.in_z.multiply(
                    packed, task.columns(mixing.in_z),
                    at_rows({.data = gate, .stride = e, .activation = GemmActivation::silu}, task));
              });
            });
}

/// u = silu(conv2d(x)), and what x_proj makes of it.
void Pass::convolve_states(const StateMixing& mixing, const MapShape& shape, const float* x, float* u,
                           float* projected) {
  const std::int64_t e = mixing.conv.channels;
  const std::int64_t columns = mixing.x_proj.outputs();
  const std::int64_t tokens = shape.tokens();
  const TaskGrid tasks = TaskGrid::by_rows(tokens, mixing.x_proj.panel_rows(), run_.parallel().threads());
  const Map in{{shape.images, shape.height, shape.width, e}, x};
  run_.step("conv2d+x_proj", "depthwise + linear",
            depthwise_flops(mixing.conv, tokens) + linear_flops(mixing.x_proj, tokens),
            tokens * (2 * e + columns), [&] {
              run_.for_tasks(tasks, mixing.x_proj.packed_size(tasks.block_rows()),
                             [&](const Task& task, TaskMemory& memory) {
                               const PackedRows packed = memory.take_packed(mixing.x_proj, task.count());
                               float* rows = u + task.rows.begin * e;
                               convolve_pixels(mixing.conv, in, task.rows, rows, run_.isa());
                               mixing.x_proj.pack(rows, e, packed);
                               mixing.x_proj.multiply(packed, {0, columns},
                                                      at_rows({.data = projected, .stride = columns}, task));
                             });
            });
}

/// The residual stream, from the sum that mix_in() kept, plus out_proj(out_norm(y) · gate).
void Pass::mix_out(const StateMixing& mixing, const MapShape& shape, const float* y, const float* gate) {
  const PackedLinear& layer = mixing.out_proj;
  const std::int64_t e = layer.inputs();
  const std::int64_t d = layer.outputs();
  const std::int64_t tokens = shape.tokens();
  const TaskGrid tasks = run_.grid(tokens, layer);
  run_.step(
      "out_norm+gate+out_proj", "norm + gate + linear", linear_flops(layer, tokens),
      2 * tokens * (e + d) + d * e, [&] {
        run_.for_tasks(
            tasks, layer.packed_size(tasks.block_rows()), [&](const Task& task, TaskMemory& memory) {
              const PackedRows packed = memory.take_packed(layer, task.count());
              const std::int64_t first = task.rows.begin * e;
              kernels::normalise_gated_rows(task.count(), e, {y + first, e}, mixing.out_norm.gamma.data(),
                                            mixing.out_norm.beta.data(), {gate + first, e}, kEpsilon,
                                            layer.destination(packed), run_.isa());
              layer.multiply(
                  packed, task.columns(layer),
                  at_rows({.data = current(), .stride = d, .residual = other(), .residual_stride = d}, task));
            });
      });
}

/// x += cpe2(x); x += fc2(gelu(fc1(ln_2(x)))).
void Pass::mlp(const Block& block, const MapShape& shape) {
  const std::int64_t tokens = shape.tokens();
  const TaskGrid tasks = run_.grid(tokens, block.fc1);
  const std::int64_t weights = 2 * block.fc1.inputs() * block.fc1.outputs();
  run_.step(
      "cpe2+ln_2+mlp", "cpe + norm + mlp",
      depthwise_flops(block.cpe2, tokens) + linear_flops(block.fc1, tokens) + linear_flops(block.fc2, tokens),
      2 * tokens * block.dim + weights, [&] {
        if (tasks.splits() == 1) {
          mlp_in_one(block, shape, tasks);
        } else {
          mlp_in_two(block, shape, tasks);
        }
      });
  current_ = 1 - current_;
}

/// Each task takes its rows through both layers; the hidden values never leave its cache.
void Pass::mlp_in_one(const Block& block, const MapShape& shape, const TaskGrid& tasks) {
  const std::int64_t d = block.dim;
  const std::int64_t rows = tasks.block_rows();
  const std::int64_t floats = normalised_memory(block.fc1, shape, rows) + block.fc2.packed_size(rows);
  run_.for_tasks(tasks, floats, [&](const Task& task, TaskMemory& memory) {
    const PackedRows hidden = memory.take_packed(block.fc2, task.count());
    float* sum = memory.take(task.count() * d);
    const PackedRows packed = pack_normalised(block.cpe2, block.fc1, shape, task, sum, memory);
    block.fc1.multiply(packed, GemmActivation::gelu, block.fc2, hidden);
    block.fc2.multiply(
        hidden, {0, d},
        {.data = other() + task.rows.begin * d, .stride = d, .residual = sum, .residual_stride = d});
  });
}

/// For many threads and few rows: the hidden values go through memory, so that each layer's outputs can be
/// shared out.
void Pass::mlp_in_two(const Block& block, const MapShape& shape, const TaskGrid& tasks) {
  const std::int64_t d = block.dim;
  const std::int64_t hidden = block.fc1.outputs();
  const std::int64_t rows = tasks.block_rows();
  run_.for_tasks(tasks, normalised_memory(block.fc1, shape, rows), [&](const Task& task, TaskMemory& memory) {
    float* sum = place_of_sum(shape, task, memory);
    const PackedRows packed = pack_normalised(block.cpe2, block.fc1, shape, task, sum, memory);
    block.fc1.multiply(packed, task.columns(block.fc1),
                       at_rows({.data = wide(), .stride = hidden, .activation = GemmActivation::gelu}, task));
  });
  run_.for_tasks(tasks, block.fc2.packed_size(rows), [&](const Task& task, TaskMemory& memory) {
    const PackedRows packed = memory.take_packed(block.fc2, task.count());
    block.fc2.pack(wide() + task.rows.begin * hidden, hidden, packed);
    block.fc2.multiply(
        packed, task.columns(block.fc2),
        at_rows({.data = other(), .stride = d, .residual = other(), .residual_stride = d}, task));
  });
}

void Pass::block(const Block& block, const MapShape& shape) {
  const StateMixing& mixing = block.mixing;
  const std::int64_t tokens = shape.tokens();
  const std::int64_t size = tokens * mixing.scan_fusion.channels;
  float* x = wide();
  float* gate = x + size;
  float* u = gate + size;
  float* projected = u + size;

  mix_in(block, shape, x, gate);
  convolve_states(mixing, shape, x, u, projected);
  float* y = x;  // which is needed no longer
  const auto rank = static_cast<double>(mixing.scan_fusion.rank);
  run_.step("scan+fusion", "scan + fusion", static_cast<double>(size) * (2.0 * rank + 61.0), 2 * size, [&] {
    kernels::scan_fusion(mixing.scan_fusion,
                         {.images = shape.images,
                          .height = shape.height,
                          .width = shape.width,
                          .projected = projected,
                          .x = u},
                         y, run_.scratch(), run_.isa(), run_.parallel());
  });
  mix_out(mixing, shape, y, gate);
  mlp(block, shape);
}

MapShape Pass::downsample(const Downsampling& down, const MapShape& shape) {
  engine::downsample(run_, down, {shape, current()}, wide(), other());
  current_ = 1 - current_;
  return halved(shape, down.reduce.outputs());
}

void Pass::keep(const MapShape& shape, std::int64_t first) {
  const std::int64_t image = shape.size() / shape.images;
  run_.step("join", "layout", 0.0, 2 * shape.size(), [&] {
    run_.parallel()(shape.images, 1, [&](std::int64_t begin, std::int64_t end) {
      std::copy_n(current() + begin * image, (end - begin) * image,
                  workspace_.joint.data() + (first + begin) * image);
    });
  });
}

void Pass::normalise_stage(const Norm& norm, const MapShape& shape, float* out) {
  run_.step("out_norm", "norm", 0.0, 2 * shape.size(), [&] {
    kernels::layer_norm_forward<float>({.rows = shape.tokens(),
                                        .channels = shape.channels,
                                        .x = current(),
                                        .gamma = norm.gamma.data(),
                                        .beta = norm.beta.data(),
                                        .epsilon = kNormEpsilon},
                                       out, nullptr, nullptr, run_.isa(), run_.parallel());
  });
}

/// LayerNorm, mean over the tokens, linear. The norm's gain and shift, being the same for all tokens, are
/// applied to the mean.
void Pass::head(const MapShape& shape, float* pooled, float* logits) {
  const std::int64_t c = shape.channels;
  const std::int64_t per_image = shape.height * shape.width;
  const std::int64_t parts = divide_up(per_image, kPoolRows);
  run_.step("norm+pool", "norm", 0.0, shape.size(), [&] {
    run_.parallel()(shape.images * parts, 1, [&](std::int64_t begin, std::int64_t end) {
      TaskMemory memory(run_.scratch(), kPoolRows * c);
      float* rows = memory.take(kPoolRows * c);
      for (std::int64_t i = begin; i < end; ++i) {
        const std::int64_t first = i % parts * kPoolRows;
        const std::int64_t count = std::min(kPoolRows, per_image - first);
        const float* x = current() + (i / parts * per_image + first) * c;
        kernels::normalise_rows(count, c, {x, c}, kEpsilon, kernels::RowDestination::dense(rows, c),
                                run_.isa());
        std::fill_n(wide() + i * c, c, 0.0F);
        kernels::add_rows(count, c, {rows, c}, wide() + i * c, run_.isa());
      }
    });
    for (std::int64_t image = 0; image < shape.images; ++image) {
      for (std::int64_t k = 0; k < c; ++k) {
        double sum = 0.0;
        for (std::int64_t part = 0; part < parts; ++part) {
          sum += static_cast<double>(wide()[(image * parts + part) * c + k]);
        }
        const auto at = static_cast<std::size_t>(k);
        pooled[image * c + k] =
            static_cast<float>(sum / static_cast<double>(per_image)) * network_.norm.gamma[at] +
            network_.norm.beta[at];
      }
    }
  });
  run_.linear("head", network_.head, shape.images, pooled,
              {.data = logits, .stride = network_.head.outputs()});
}

}  // namespace

namespace {

/// The blocks of some stages. on_stage(i, shape) sees the map of each stage before its downsampling. Names
/// are made for watchers alone, since they cost allocations.
template <typename OnStage>
MapShape run_stages(const Network& network, Pass& pass, RowRange stages, MapShape shape,
                    const Watchers& watchers, const OnStage& on_stage) {
  const bool watched = watchers.observe || watchers.profile != nullptr;
  const auto show = [&](const std::string& name) {
    if (watchers.observe) watchers.observe(name, shape, pass.map());
  };
  for (auto i = static_cast<std::size_t>(stages.begin); i < static_cast<std::size_t>(stages.end); ++i) {
    const Stage& stage = network.stages[i];
    for (std::size_t j = 0; j < stage.blocks.size(); ++j) {
      if (watched) pass.run().enter(fmt::format("layers.{}.blocks.{}", i, j));
      pass.block(stage.blocks[j], shape);
      if (watched) show(fmt::format("layers.{}.blocks.{}", i, j));
    }
    on_stage(i, shape);
    if (watched) pass.run().enter(fmt::format("layers.{}.downsample.conv", i));
    for (const Downsampling& down : stage.downsample) shape = pass.downsample(down, shape);
    if (watched) show(fmt::format("layers.{}", i));
  }
  if (watched) pass.run().enter("");
  return shape;
}

/// Stem and all stages. on_stage(i, shape, first) sees the map of a stage for the images from `first` on.
template <typename OnStage>
MapShape run_network(const Network& network, Pass& pass, const ImageBatch& images, const BatchPlan& plan,
                     const Watchers& watchers, const OnStage& on_stage) {
  const auto joint = static_cast<std::int64_t>(plan.grouped() ? plan.joint_stage : network.stages.size());
  MapShape shape;
  for (std::int64_t first = 0; first < images.count; first += plan.group) {
    if (watchers.profile != nullptr) {
      watchers.profile->rewind();
      pass.run().enter("patch_embed");
    }
    shape = pass.stem(slice(network, images, first, plan.group));
    if (watchers.observe) watchers.observe("patch_embed", shape, pass.map());
    shape = run_stages(network, pass, {0, joint}, shape, watchers,
                       [&](std::size_t i, const MapShape& map) { on_stage(i, map, first); });
    if (plan.grouped()) pass.keep(shape, first);
  }
  if (!plan.grouped()) return shape;
  pass.join();
  shape.images = images.count;
  return run_stages(network, pass, {joint, std::ssize(network.stages)}, shape, watchers,
                    [&](std::size_t i, const MapShape& map) { on_stage(i, map, 0); });
}

}  // namespace

BatchPlan plan_for(const Network& network, const ImageBatch& images, int threads, const Watchers& watchers) {
  return watchers.observe ? undivided(images) : plan_batch(network, images, threads);
}

void forward(const Network& network, const ImageBatch& images, const ParallelFor& parallel,
             Workspace& workspace, const ClassifierOutput& output, const Watchers& watchers) {
  const BatchPlan plan = plan_for(network, images, parallel.threads(), watchers);
  workspace.reserve(plan_workspace(network, plan, parallel.threads()));
  Pass pass(network, parallel, workspace, watchers.profile);
  const MapShape shape =
      run_network(network, pass, images, plan, watchers, [](std::size_t, const MapShape&, std::int64_t) {});
  pass.head(shape, output.pooled, output.logits);
}

namespace {

/// The backbone's maps behind their norms, from `memory` on, and where the memory behind them begins.
Features run_backbone(const Network& network, Pass& pass, const ImageBatch& images, const BatchPlan& plan,
                      const Watchers& watchers, float*& memory) {
  const auto shapes = stage_shapes(network, images.count, images.height, images.width);
  std::array<float*, kMaxStages> maps{};
  Features features;
  for (std::size_t i = 0; i < network.stages.size(); ++i) {
    maps[i] = memory;
    features.add({shapes[i], memory});
    memory += shapes[i].size();
  }
  run_network(network, pass, images, plan, watchers,
              [&](std::size_t i, const MapShape& shape, std::int64_t first) {
                pass.run().enter("");
                pass.normalise_stage(network.stages[i].out_norm, shape,
                                     maps[i] + first * shape.size() / shape.images);
                if (watchers.observe) watchers.observe(fmt::format("backbone.{}", i), shape, maps[i]);
              });
  return features;
}

}  // namespace

Map forward_segmentor(const Network& network, const ImageBatch& images, const ParallelFor& parallel,
                      Workspace& workspace, const Watchers& watchers) {
  const BatchPlan plan = plan_for(network, images, parallel.threads(), watchers);
  workspace.reserve(plan_workspace(network, plan, parallel.threads()));
  Pass pass(network, parallel, workspace, watchers.profile);
  float* memory = workspace.decode.data();
  const Features features = run_backbone(network, pass, images, plan, watchers, memory);
  return decode(*network.decode_head, features, memory, pass.run(), watchers.observe);
}

DetectorMaps forward_detector(const Network& network, const ImageBatch& images, const ParallelFor& parallel,
                              Workspace& workspace, const Watchers& watchers) {
  const BatchPlan plan = plan_for(network, images, parallel.threads(), watchers);
  workspace.reserve(plan_workspace(network, plan, parallel.threads()));
  Pass pass(network, parallel, workspace, watchers.profile);
  float* memory = workspace.decode.data();
  const Features features = run_backbone(network, pass, images, plan, watchers, memory);
  return detector_maps(*network.detector, features, memory, pass.run(), watchers.observe);
}

}  // namespace spatialmamba::engine
