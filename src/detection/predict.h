#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "detection/select.h"
#include "image/image.h"
#include "image/rle.h"
#include "image/transform.h"

namespace spatialmamba::detection {

/// A normalised picture, padded with zeros at the right and the bottom: values[(y * width + x) * 3 + c], red
/// first.
struct NetworkInput {
  std::int64_t height = 0;
  std::int64_t width = 0;
  Extent image;  ///< without padding
  std::vector<float> values;
};

/// What a network found in one input.
struct NetworkAnswer {
  Detections found;            ///< boxes in pixels of the input
  std::vector<float> masks;    ///< [n][28][28], logits of the found class
  std::int64_t proposals = 0;  ///< boxes that were looked at
};

/// Whatever computes.
using Network =
    std::function<NetworkAnswer(const NetworkInput&, const ProposalSettings&, const DetectionSettings&)>;

/// Large pictures in overlapping parts, each shown to the network as a picture of its own.
struct Tiles {
  int size = 1024;
  int overlap = 256;
};

struct PredictOptions {
  /// The size that pictures are fitted into, keeping their proportions.
  int long_side = 1333;
  int short_side = 800;
  image::InputFormat format = {};  ///< mean and std
  ProposalSettings proposals = {};
  DetectionSettings detections = {};
  std::optional<Tiles> tiles = {};
};

/// Throws UsageError for options that mean nothing.
void validate(const PredictOptions& options);

/// One object in pixels of the picture.
struct Instance {
  Box box;
  std::int64_t label = 0;
  float score = 0.0F;
  image::Rle mask;
};

struct Prediction {
  std::vector<Instance> instances;  ///< best first
  std::int64_t left_out = 0;        ///< detections beyond the limit per picture
};

/// The network's input for a picture of its final size.
NetworkInput network_input(const image::Image& picture, const image::InputFormat& format);

/// Finds the objects of a picture (in colour). With tiles, an object that several of them show is reported
/// once: the best of those that overlap by more than the threshold stays, and pieces that end at a tile's
/// border go where a larger box of another tile covers them.
Prediction predict(const image::Image& picture, const PredictOptions& options, const Network& network,
                   kernels::Isa isa = kernels::default_isa());

}  // namespace spatialmamba::detection
