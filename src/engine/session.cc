#include <unistd.h>

#include <cstring>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/parallel.h"
#include "engine/forward.h"
#include "engine/memory.h"
#include "engine/model.h"
#include "kernels/layer_norm.h"

namespace spatialmamba {
namespace {

int thread_count(int threads) {
  if (threads < 0) fail_usage("a session cannot have {} threads", threads);
  return threads == 0 ? available_cores() : threads;
}

/// Asked for more, systems that promise memory before they have it would end the process.
std::int64_t memory_of_machine() {
  return std::int64_t{sysconf(_SC_PHYS_PAGES)} * sysconf(_SC_PAGESIZE);
}

std::string described(const ImageBatch& images) {
  return fmt::format("a batch of {} images of {} x {}", images.count, images.height, images.width);
}

/// Sizes of maps, in bytes, must be positive numbers.
void require_possible(const ImageBatch& images) {
  if (images.count < 1 || images.height < 1 || images.width < 1) {
    fail("the model got an empty batch of images ({} of {} x {})", images.count, images.height, images.width);
  }
  constexpr std::int64_t kMostPixels = std::int64_t{1} << 44;
  if (images.height > kMostPixels / images.width ||
      images.count > kMostPixels / (images.height * images.width)) {
    fail("out of memory: {} needs more than there can be", described(images));
  }
}

template <typename Body>
decltype(auto) with_memory_for(const ImageBatch& images, const Body& body) {
  return engine::with_memory([&] { return described(images); }, body);
}

}  // namespace

struct Session::Implementation {
  Model model;
  ThreadPool pool;
  engine::Workspace workspace;
  kernels::AlignedVector<float> pooled;
  kernels::AlignedVector<float> logits;
  engine::Map scores;                        // in the workspace
  std::optional<engine::DetectorMaps> maps;  // in the workspace
  kernels::AlignedVector<float> region_scores;
  kernels::AlignedVector<float> region_deltas;
  kernels::AlignedVector<float> outlines;
  std::int64_t memory_limit;

  Implementation(Model m, const SessionOptions& options)
      : model(std::move(m)),
        pool(thread_count(options.threads)),
        memory_limit(options.memory_limit > 0 ? options.memory_limit : memory_of_machine()) {}

  void check(const engine::Network& network, const ImageBatch& images,
             const engine::Watchers& watchers) const {
    require_possible(images);
    if (images.data == nullptr) fail("the model got {} without values", described(images));
    if (network.detector && (images.height % kImageMultiple != 0 || images.width % kImageMultiple != 0)) {
      fail("a detector's images have sides that are multiples of {}, not {} x {}", kImageMultiple,
           images.height, images.width);
    }
    const engine::BatchPlan plan = engine::plan_for(network, images, pool.threads(), watchers);
    const std::int64_t bytes = engine::plan_workspace(network, plan, pool.threads()).bytes();
    if (bytes > memory_limit) {
      fail("out of memory: {} needs {} bytes to work in, allowed are {}", described(images), bytes,
           memory_limit);
    }
  }

  void run(const engine::Network& network, const ImageBatch& images, const engine::Watchers& watchers) {
    check(network, images, watchers);
    maps.reset();
    if (network.detector) {
      maps = engine::forward_detector(network, images, pool.parallel_for(), workspace, watchers);
    } else if (network.decode_head) {
      scores = engine::forward_segmentor(network, images, pool.parallel_for(), workspace, watchers);
    } else {
      const Architecture& architecture = network.architecture;
      pooled.resize(static_cast<std::size_t>(images.count * architecture.dims.back()));
      logits.resize(static_cast<std::size_t>(images.count * architecture.num_classes));
      engine::forward(network, images, pool.parallel_for(), workspace, {pooled.data(), logits.data()},
                      watchers);
    }
    provide_scratch();
  }

  /// Each thread works with one piece of memory, the caller's at times with a second.
  void provide_scratch() { workspace.scratch.provide(pool.threads() + 1); }

  /// Calls body(memory, executor) for a detector's second half.
  template <typename Body>
  void look(const engine::Network& network, const Body& body) {
    const ParallelFor parallel = pool.parallel_for();
    body(workspace.wide.data(), engine::Executor(network.isa, parallel, workspace.scratch, nullptr));
    provide_scratch();
  }

  /// The maps that the regions lie on. Throws Error for regions that lie on none.
  const engine::DetectorMaps& maps_for(std::span<const Region> regions) const {
    if (!maps) fail("there are no maps to look at boxes in: regions() comes first");
    const std::int64_t images = maps->pyramid[0].shape.images;
    for (const Region& region : regions) {
      if (region.image < 0 || region.image >= images || region.level < 0 || region.level >= kPooledLevels) {
        fail("a box of image {}, level {}: there are {} images, {} levels", region.image, region.level,
             images, kPooledLevels);
      }
    }
    return *maps;
  }
};

namespace {

/// The last LayerNorm of a map, which the engine itself never forms: it applies gain and shift to the mean.
std::vector<float> normalised(const engine::Network& network, const engine::MapShape& shape,
                              const float* map) {
  std::vector<float> rows(static_cast<std::size_t>(shape.size()));
  kernels::layer_norm_forward<float>({.rows = shape.tokens(),
                                      .channels = shape.channels,
                                      .x = map,
                                      .gamma = network.norm.gamma.data(),
                                      .beta = network.norm.beta.data(),
                                      .epsilon = kNormEpsilon},
                                     rows.data(), nullptr, nullptr, network.isa, ParallelFor());
  return rows;
}

}  // namespace

Session::Session(Model model, const SessionOptions& options) {
  const auto what = [] { return "a session"; };
  engine::with_memory(what,
                      [&] { implementation_ = std::make_unique<Implementation>(std::move(model), options); });
}

Session::~Session() = default;
Session::Session(Session&&) noexcept = default;
Session& Session::operator=(Session&&) noexcept = default;

const Model& Session::model() const {
  return implementation_->model;
}

int Session::threads() const {
  return implementation_->pool.threads();
}

std::span<const float> Session::logits(const ImageBatch& images) {
  if (model().task() != Task::classification) fail("this model is no classifier: it has no logits of images");
  with_memory_for(
      images, [&] { implementation_->run(model().implementation_->network, images, engine::Watchers{}); });
  return implementation_->logits;
}

ScoreMaps Session::scores(const ImageBatch& images) {
  if (model().task() != Task::segmentation) fail("this model is no segmentor: it has no scores of pixels");
  with_memory_for(
      images, [&] { implementation_->run(model().implementation_->network, images, engine::Watchers{}); });
  const auto& [shape, values] = implementation_->scores;
  return {.values = {values, static_cast<std::size_t>(shape.size())},
          .count = shape.images,
          .height = shape.height,
          .width = shape.width,
          .classes = shape.channels};
}

RegionMaps Session::regions(const ImageBatch& images) {
  if (model().task() != Task::detection) fail("this model is no detector: it has no boxes");
  with_memory_for(
      images, [&] { implementation_->run(model().implementation_->network, images, engine::Watchers{}); });
  const engine::DetectorMaps& maps = *implementation_->maps;
  RegionMaps regions{.count = images.count, .levels = {}};
  for (std::size_t i = 0; i < regions.levels.size(); ++i) {
    const auto values = [](const engine::Map& map) {
      return std::span(map.data, static_cast<std::size_t>(map.shape.size()));
    };
    const engine::MapShape& shape = maps.scores[i].shape;
    regions.levels[i] = {values(maps.scores[i]), values(maps.deltas[i]), shape.height, shape.width,
                         kPatchStride << i};
  }
  return regions;
}

RegionAnswers Session::classify(std::span<const Region> regions) {
  const engine::DetectorMaps& maps = implementation_->maps_for(regions);
  const engine::Network& network = model().implementation_->network;
  const auto what = [&] { return fmt::format("{} boxes", regions.size()); };
  engine::with_memory(what, [&] {
    const auto classes = static_cast<std::size_t>(network.num_classes);
    implementation_->region_scores.resize(regions.size() * (classes + 1));
    implementation_->region_deltas.resize(regions.size() * 4 * classes);
    implementation_->look(network, [&](float* memory, const engine::Executor& run) {
      engine::classify_regions(*network.detector, maps, regions, memory, run,
                               implementation_->region_scores.data(), implementation_->region_deltas.data());
    });
  });
  return {implementation_->region_scores, implementation_->region_deltas};
}

std::span<const float> Session::outline(std::span<const Region> regions,
                                        std::span<const std::int64_t> labels) {
  const engine::DetectorMaps& maps = implementation_->maps_for(regions);
  const engine::Network& network = model().implementation_->network;
  if (labels.size() != regions.size()) fail("{} boxes with {} classes", regions.size(), labels.size());
  for (const std::int64_t label : labels) {
    if (label < 0 || label >= network.num_classes) {
      fail("there is no class {}: the model has {}", label, network.num_classes);
    }
  }
  const auto what = [&] { return fmt::format("masks of {} boxes", regions.size()); };
  engine::with_memory(what, [&] {
    implementation_->outlines.resize(regions.size() * kMaskSize * kMaskSize);
    implementation_->look(network, [&](float* memory, const engine::Executor& run) {
      engine::outline_regions(*network.detector, maps, regions, labels, memory, run,
                              implementation_->outlines.data());
    });
  });
  return implementation_->outlines;
}

TensorMap Session::stages(const ImageBatch& images, bool all) {
  const engine::Network& network = model().implementation_->network;
  const std::string last = "layers." + std::to_string(network.stages.size() - 1);
  TensorMap maps;
  const auto add = [&maps](const std::string& name, Shape shape, const float* values) {
    Tensor tensor(DType::f32, std::move(shape));
    std::memcpy(tensor.mutable_raw(), values, tensor.bytes());
    maps.add(name, std::move(tensor));
  };
  const auto observe = [&](const std::string& name, const engine::MapShape& shape, const float* map) {
    if (all || name.find(".blocks.") == std::string::npos) {
      add(name, {shape.images, shape.height, shape.width, shape.channels}, map);
    }
    if (all && name == last && !network.architecture.backbone) {
      const std::vector<float> rows = normalised(network, shape, map);
      add("norm", {shape.images, shape.height * shape.width, shape.channels}, rows.data());
    }
  };
  with_memory_for(images, [&] {
    implementation_->run(network, images, {.observe = observe});
    if (network.detector) return;
    if (network.decode_head) {
      const auto& [shape, values] = implementation_->scores;
      add("logits", {shape.images, shape.height, shape.width, shape.channels}, values);
      return;
    }
    add("pooled", {images.count, network.architecture.dims.back()}, implementation_->pooled.data());
    add("logits", {images.count, network.architecture.num_classes}, implementation_->logits.data());
  });
  return maps;
}

std::vector<StepTime> Session::profile(const ImageBatch& images) {
  return with_memory_for(images, [&] {
    engine::Profile profile;
    implementation_->run(model().implementation_->network, images, {.observe = {}, .profile = &profile});
    return profile.steps();
  });
}

std::int64_t Session::required_bytes(std::int64_t count, std::int64_t height, std::int64_t width) const {
  const ImageBatch images{.count = count, .height = height, .width = width};
  require_possible(images);
  const engine::Network& network = model().implementation_->network;
  const engine::BatchPlan plan = engine::plan_batch(network, images, threads());
  return engine::plan_workspace(network, plan, threads()).bytes();
}

std::int64_t Session::working_bytes() const {
  return implementation_->workspace.bytes();
}

}  // namespace spatialmamba
