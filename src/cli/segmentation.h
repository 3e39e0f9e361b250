#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "cli/model_card.h"
#include "cli/network.h"
#include "segmentation/predict.h"
#include "spatialmamba/segmentor.h"

/// What the verbs do where the network segments pictures.
namespace spatialmamba::cli {

/// How pictures are shown to a segmentor.
struct SegmentationOptions {
  bool tta = false;
  std::string fit;  ///< "2048x512": long and short side; "native"; empty: as trained
  int window = 0;   ///< 0: the whole picture at once
  int stride = 0;   ///< 0: two thirds of the window
};

void add_segmentation(CLI::App& app, SegmentationOptions& options);

/// What a segmentor's answers are called and shown as, and how it wants its pictures.
struct SegmentationCard {
  std::vector<std::string> classes;
  bool named = false;  ///< false: nobody knows the names, `classes` holds "class 0", ...
  std::vector<std::array<std::uint8_t, 3>> palette;
  segmentation::PredictOptions predict;
};

/// From the metadata of a weights file of ours (classes, fit, mean, std); what they leave open is the
/// official models': 2048 x 512, ImageNet's normalisation, and the names of ADE20K, Cityscapes or Pascal VOC
/// for as many classes. Throws Error naming the file for metadata that make no sense.
SegmentationCard segmentation_card(std::int64_t classes, const std::map<std::string, std::string>& metadata,
                                   const std::string& source, const CardOptions& card,
                                   const SegmentationOptions& options);

/// A segmentor ready to run, whatever computes it.
class SegmentationNetwork {
 public:
  /// Throws as Network::open() does.
  static SegmentationNetwork open(const NetworkOptions& options);

  const SegmentorArchitecture& architecture() const;
  const std::map<std::string, std::string>& metadata() const;

  segmentation::Network network() const;

  /// images (N, 3, H, W) -> "backbone.0" ..., "psp", "fused", "decode_logits_stride4" and "logits" (at the
  /// images' size), as (N, C, H, W).
  TensorMap maps(const Tensor& images) const;

 private:
  struct Implementation;
  explicit SegmentationNetwork(std::shared_ptr<Implementation> implementation)
      : implementation_(std::move(implementation)) {}

  std::shared_ptr<Implementation> implementation_;
};

struct SegmentationEval {
  NetworkOptions network;
  CardOptions card;
  SegmentationOptions how;
  std::filesystem::path data;
  std::filesystem::path out;
  bool strict = false;
  bool json = false;
};
void eval_segmentation(const SegmentationEval& options);

struct SegmentationPredict {
  NetworkOptions network;
  CardOptions card;
  SegmentationOptions how;
  std::vector<std::string> pictures;
  std::filesystem::path out;
  bool ignore_orientation = false;
  bool json = false;
};
void predict_segmentation(const SegmentationPredict& options);

}  // namespace spatialmamba::cli
