#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "base/file.h"
#include "nn/state_dict.h"
#include "spatialmamba/segmentor.h"
#include "support/golden.h"
#include "train/model_values.h"
#include "train/segmentation_model.h"

namespace spatialmamba::test {

/// A file of golden facts.
inline nlohmann::json golden_json(const std::string& relative) {
  return nlohmann::json::parse(read_text(golden(relative)));
}

/// The official checkpoint of the nano segmentor, as it is.
inline Weights nano_weights() {
  return read_weights(golden("segmentation/nano/checkpoint.pth"));
}

inline nn::Segmentor nano_segmentor() {
  at::set_num_threads(1);  // a model this small gains nothing from more
  const Weights weights = nano_weights();
  const SegmentorArchitecture architecture = infer_segmentor(weights.tensors);
  nn::Segmentor model(architecture);
  nn::load_state(train::named_state(*model), weights.tensors, compare(architecture, weights.tensors), "nano",
                 "nano");
  return model;
}

}  // namespace spatialmamba::test
