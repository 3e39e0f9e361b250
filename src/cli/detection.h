#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "cli/model_card.h"
#include "cli/network.h"
#include "detection/predict.h"
#include "draw/detections.h"
#include "spatialmamba/detector.h"

/// What the verbs do where the network detects objects.
namespace spatialmamba::cli {

/// How pictures are shown to a detector, and what of its answers is kept.
struct DetectionOptions {
  std::string fit;  ///< "1333x800": long and short side; empty: as trained
  float score = 0.05F;
  float nms = 0.5F;
  float mask = 0.5F;
  std::int64_t limit = 100;
  std::int64_t proposals = 1000;
  int tile = 0;  ///< 0: the whole picture at once
  int overlap = 0;
};

/// Everything but --fit, which other tasks share.
void add_detection(CLI::App& app, DetectionOptions& options);

/// What a detector's answers are called, and how it wants its pictures.
struct DetectionCard {
  std::vector<std::string> classes;
  bool named = false;  ///< false: nobody knows the names, `classes` holds "class 0", ...
  detection::PredictOptions predict;
};

/// From the metadata of a weights file of ours (classes, fit, mean, std); what they leave open is the
/// official models': 1333 x 800, ImageNet's normalisation and, for 80 classes, the names of COCO. Throws
/// Error naming the file for metadata that make no sense.
DetectionCard detection_card(std::int64_t classes, const std::map<std::string, std::string>& metadata,
                             const std::string& source, const CardOptions& card,
                             const DetectionOptions& options);

/// What is to be drawn of a prediction: everything that is at least so sure.
std::vector<draw::DetectedObject> drawn_objects(const detection::Prediction& prediction,
                                                const DetectionCard& card, float least);

/// A detector ready to run, whatever computes it.
class DetectionNetwork {
 public:
  /// Throws as Network::open() does.
  static DetectionNetwork open(const NetworkOptions& options);

  const DetectorArchitecture& architecture() const;
  const std::map<std::string, std::string>& metadata() const;

  detection::Network network() const;

  /// images (N, 3, H, W) with sides that are multiples of 32 -> "backbone.0" ..., "fpn.0" ..., "rpn_cls.0"
  /// ..., "rpn_reg.0" ... as (N, C, H, W), and of each image
  /// "img0.det_bboxes" (D, 4), "img0.det_scores", "img0.det_labels", "img0.mask_logits" (D, 28, 28).
  TensorMap maps(const Tensor& images) const;

 private:
  struct Implementation;
  explicit DetectionNetwork(std::shared_ptr<Implementation> implementation)
      : implementation_(std::move(implementation)) {}

  std::shared_ptr<Implementation> implementation_;
};

struct DetectionPredict {
  NetworkOptions network;
  CardOptions card;
  DetectionOptions how;
  std::vector<std::string> pictures;
  std::filesystem::path out;
  bool ignore_orientation = false;
  bool json = false;
};
void predict_detection(const DetectionPredict& options);

struct DetectionEval {
  NetworkOptions network;
  CardOptions card;
  DetectionOptions how;
  std::filesystem::path data;
  std::filesystem::path out;
  bool strict = false;
  bool json = false;
};
void eval_detection(const DetectionEval& options);

/// eval of a result file instead of a network: COCO's figures for --results against --data.
struct ResultsEval {
  std::filesystem::path data;
  std::filesystem::path results;
  std::vector<std::int64_t> limits;
  int threads = 1;
  bool json = false;
};
void eval_results(const ResultsEval& options);

}  // namespace spatialmamba::cli
