#pragma once

#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

#include "base/error.h"
#include "spatialmamba/architecture.h"

namespace spatialmamba {

/// What reads an architecture off names and shapes, shared by the tasks.

/// The size of one dimension of a tensor. Throws Error, saying that these are not the weights of `what`, when
/// it is missing, and for another rank.
std::int64_t size_from(const TensorMap& tensors, const std::string& name, std::size_t rank,
                       std::size_t dimension, std::string_view what);

/// The backbone whose tensors begin with `prefix`.
Architecture infer_backbone(const TensorMap& tensors, const std::string& prefix, std::string_view what);

/// How tensors differ from what is expected of model `model`.
WeightsMismatch compare(const std::vector<TensorSpec>& specs, std::string_view model,
                        const TensorMap& tensors);

/// validate() of an architecture that was read off weights. Throws Error saying that these are not the
/// weights of `what`.
template <typename Inferred>
void validate_inferred(const Inferred& architecture, std::string_view what) {
  try {
    validate(architecture);
  } catch (const UsageError& error) {
    fail("these are not the weights of {}: {}", what, error.what());
  }
}

/// infer(tensors) of a model of any task, of which every tensor must fit. Errors name `source` first.
template <typename Infer>
auto require_fitting(const TensorMap& tensors, const std::string& source, const Infer& infer) {
  decltype(infer(tensors)) architecture;
  try {
    architecture = infer(tensors);
  } catch (const Error& error) {
    fail("{}: {}", source, error.what());
  }
  const WeightsMismatch mismatch = compare(architecture, tensors);
  if (!mismatch.empty()) {
    std::string variant;
    if constexpr (std::is_same_v<decltype(architecture), Architecture>) {
      variant = architecture.variant;
    } else {
      variant = architecture.backbone.variant;
    }
    fail("{}: the weights do not fit model {}\n{}", source, variant, mismatch.describe());
  }
  return architecture;
}

/// Throws UsageError unless low <= value <= high.
void require_between(std::string_view what, std::int64_t value, std::int64_t low, std::int64_t high);

// Far above any real model; keeps every product of sizes inside 64 bits, whatever a file claims.
inline constexpr std::int64_t kMaxChannels = 1 << 14;
inline constexpr std::int64_t kMaxClasses = 1 << 24;

}  // namespace spatialmamba
