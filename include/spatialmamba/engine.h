#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "spatialmamba/architecture.h"
#include "spatialmamba/detector.h"
#include "spatialmamba/task.h"
#include "spatialmamba/tensor.h"
#include "spatialmamba/weights.h"

namespace spatialmamba {

/// How matrix products are formed: in single precision, or with both factors rounded to bfloat16 and the
/// products summed in single precision. Scan states, exponentials and normalisation are always fp32.
enum class EnginePrecision { fp32, bf16 };

struct ModelOptions {
  EnginePrecision precision = EnginePrecision::fp32;
  /// "scalar", "sse4", "avx2", "avx512", "avx512bf16", "amx", "neon"; empty: SPATIALMAMBA_ISA, or else the
  /// strongest that this machine has.
  std::string isa = {};
  /// That prepare the weights; 0: as many as the process may use cores.
  int threads = 0;
  /// Which entry of the file, e.g. "model_ema"; see read_weights().
  std::string key = {};
};

/// A Spatial-Mamba classifier, segmentor or detector with its weights folded and packed for one instruction
/// set. Immutable and cheap to copy: any number of sessions, in any number of threads, may share one.
class Model {
 public:
  /// Reads .safetensors or .pth. Throws Error naming the file when it is not such a file or holds other
  /// tensors than a Spatial-Mamba network's, or values that are not finite; UsageError for
  /// an unknown instruction set.
  static Model load(const std::filesystem::path& path, const ModelOptions& options = {});
  /// The same from tensors in memory; `source` stands for them in messages. options.key is not used.
  static Model build(const Weights& weights, const ModelOptions& options = {},
                     const std::string& source = "the weights");

  /// What it is for, as its tensors tell.
  Task task() const;
  /// A segmentor's or detector's is that of its backbone.
  const Architecture& architecture() const;
  std::int64_t num_classes() const;
  /// What the file says about itself.
  const std::map<std::string, std::string>& metadata() const;
  EnginePrecision precision() const;
  /// The instruction set that was chosen.
  std::string_view isa() const;
  /// Bytes of the packed weights.
  std::int64_t weight_bytes() const;

 private:
  friend class Session;
  struct Implementation;
  explicit Model(std::shared_ptr<const Implementation> implementation)
      : implementation_(std::move(implementation)) {}

  std::shared_ptr<const Implementation> implementation_;
};

/// Normalised images, row-major.
struct ImageBatch {
  enum class Layout { nhwc, nchw };

  const float* data = nullptr;  ///< count * height * width * in_channels values
  std::int64_t count = 0;
  std::int64_t height = 0;
  std::int64_t width = 0;
  Layout layout = Layout::nhwc;
};

struct SessionOptions {
  /// 0: as many as the process may use cores.
  int threads = 0;
  /// A batch that needs more working memory is refused with an Error before anything is allocated; 0:
  /// than the machine has.
  std::int64_t memory_limit = 0;
};

/// What one step of a forward pass took.
struct StepTime {
  std::string layer;   ///< "layers.0.blocks.1.cpe1+ln_1+in_proj"
  std::string kernel;  ///< which of the engine's kernels ran: "linear", "scan + fusion" …
  double seconds = 0.0;
  double flops = 0.0;  ///< multiplications and additions that the kernel carries out
  double bytes = 0.0;  ///< read and written at least: inputs, outputs and weights, for each group of images
};

/// Class scores of a segmentor at a quarter of the images' size: [count, height, width, classes], row-major.
struct ScoreMaps {
  std::span<const float> values;
  std::int64_t count = 0;
  std::int64_t height = 0;
  std::int64_t width = 0;
  std::int64_t classes = 0;
};

/// What a detector's region proposal network says about every place of a batch.
struct RegionMaps {
  /// One level of the feature pyramid, row-major.
  struct Level {
    std::span<const float> scores;  ///< [count][height][width][kAnchorShapes], logits
    std::span<const float> deltas;  ///< [count][height][width][kAnchorShapes][4]
    std::int64_t height = 0;
    std::int64_t width = 0;
    std::int64_t stride = 0;  ///< pixels of the input per place
  };
  std::int64_t count = 0;
  std::array<Level, kPyramidLevels> levels;
};

/// A box to look at closely, in pixels of the input.
struct Region {
  std::int64_t image = 0;
  std::int64_t level = 0;  ///< of the pyramid, below kPooledLevels
  float x1 = 0;
  float y1 = 0;
  float x2 = 0;
  float y2 = 0;
};

/// What a detector's box head says about n regions.
struct RegionAnswers {
  std::span<const float> scores;  ///< [n][classes + 1], logits, background last
  std::span<const float> deltas;  ///< [n][classes][4]
};

/// Runs a model: owns threads and working memory. Calls of one session must not overlap; different sessions
/// are independent. Nothing is allocated for a size of batch and image that the session has seen before. The
/// result is the same in every run with the same number of threads, and within rounding for any number.
class Session {
 public:
  explicit Session(Model model, const SessionOptions& options = {});
  ~Session();
  Session(Session&&) noexcept;
  Session& operator=(Session&&) noexcept;

  const Model& model() const;
  int threads() const;

  /// A classifier's logits [count, num_classes], valid until the next call. Images may have any size. Throws
  /// Error for an empty batch, and when memory does not suffice.
  std::span<const float> logits(const ImageBatch& images);

  /// A segmentor's scores, in the same way.
  ScoreMaps scores(const ImageBatch& images);

  /// A detector's first half, in the same way; the sides of the images are multiples of kImageMultiple. Who
  /// chooses boxes is left open: detection/run.h does it as the reference.
  RegionMaps regions(const ImageBatch& images);
  /// Its second half, on the images of the last regions(); each valid until the next call of its kind.
  RegionAnswers classify(std::span<const Region> regions);
  /// Logits [n][kMaskSize][kMaskSize] of the masks of the given classes.
  std::span<const float> outline(std::span<const Region> regions, std::span<const std::int64_t> labels);

  /// What the network computes on the way: patch_embed, layers.0 … (N, H, W, C; of each stage, after its
  /// downsampling), pooled (N, C), logits (N, num_classes), all F32. With `all` also layers.0.blocks.0 … and
  /// norm (N, H*W, C). A segmentor has backbone.0 …, psp, fused and logits (N, H, W, C) instead of the last
  /// three; a detector backbone.0 …, fpn.0 …, rpn_cls.0 …, rpn_reg.0 …
  TensorMap stages(const ImageBatch& images, bool all = false);

  /// Runs once and says where the time went, step by step.
  std::vector<StepTime> profile(const ImageBatch& images);

  /// Bytes of working memory that a batch of this size needs, but for a few MB per thread. stages() keeps
  /// whole maps of all images and needs more. Throws Error for a size that cannot be.
  std::int64_t required_bytes(std::int64_t count, std::int64_t height, std::int64_t width) const;
  /// Bytes of working memory held now.
  std::int64_t working_bytes() const;

 private:
  struct Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace spatialmamba
