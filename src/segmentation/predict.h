#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "image/image.h"
#include "image/transform.h"
#include "segmentation/scores.h"

namespace spatialmamba::segmentation {

/// A normalised picture: values[(y * width + x) * 3 + c], red first.
struct NetworkInput {
  std::int64_t height = 0;
  std::int64_t width = 0;
  std::vector<float> values;
};

/// Whatever computes: a picture in, its class scores at a quarter of its size (rounded up) out.
using Network = std::function<ScoreMap(const NetworkInput&)>;

/// A window that slides over pictures.
struct Window {
  int size = 512;
  int stride = 341;
};

/// How a picture is shown to the network.
struct PredictOptions {
  /// The size that pictures are fitted into, keeping their proportions; 0: as they are.
  int long_side = 2048;
  int short_side = 512;
  /// Several scales, factors of that size, whose soft-max is averaged; one: its scores as they are.
  std::vector<double> ratios = {1.0};
  bool flip = false;                  ///< average with the mirror image of each scale
  std::optional<Window> window = {};  ///< instead of the whole picture at once
  image::InputFormat format = {};     ///< mean and std
};

/// The reference's test-time augmentation: 0.75, 1 and 1.25 of the size, each also mirrored.
PredictOptions augmented(PredictOptions options);

/// Throws UsageError for options that mean nothing.
void validate(const PredictOptions& options);

/// A part of a picture, normalised in single precision.
NetworkInput normalised(const image::Image& picture, const image::Rect& part,
                        const image::InputFormat& format);

/// Delivers a part of the input.
using Crop = std::function<NetworkInput(const image::Rect&)>;

/// Scores at the size of the input, by a window that moves by its stride and is shifted inward at the right
/// and the bottom; overlaps are averaged. At any time the network's scores of no more than two rows of
/// windows are kept (more where the stride is below half of the window).
ScoreRows slide(const Crop& crop, std::int64_t height, std::int64_t width, const Window& window,
                const Network& network);
/// Some columns of them: only the windows that cover these are asked for.
ScoreRows slide(const Crop& crop, std::int64_t height, const Columns& columns, const Window& window,
                const Network& network);

/// Scores at the size of the picture (in colour, which must outlive them), of one scale; with several of them
/// or mirror images the mean of their soft-max.
ScoreRows predict_scores(const image::Image& picture, const PredictOptions& options, const Network& network);

/// The class of each pixel. Windows go through strips of the picture, one after another, so that a wide
/// picture needs no more memory for scores than a narrow one; the columns of windows between two strips are
/// then computed twice. `parallel` finds the best classes of a picture that is shown once and as a whole.
image::Image predict_labels(const image::Image& picture, const PredictOptions& options,
                            const Network& network, const ParallelFor& parallel = {});

}  // namespace spatialmamba::segmentation
