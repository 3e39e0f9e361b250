#pragma once

#include <nlohmann/json.hpp>
#include <vector>

#include "cli/measure.h"
#include "spatialmamba/engine.h"

namespace spatialmamba::cli {

/// Each step's time, and how near it is to what the machine can do.
nlohmann::ordered_json layers_json(const std::vector<StepTime>& steps, const MachinePeaks& peaks);

/// The same for the steps of each kernel added up.
nlohmann::ordered_json kernels_json(const std::vector<StepTime>& steps, const MachinePeaks& peaks);

/// What `bench` measured, as tables on standard output.
void print_inference(const nlohmann::ordered_json& result);
void print_training(const nlohmann::ordered_json& result);

}  // namespace spatialmamba::cli
