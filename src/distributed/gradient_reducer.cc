#include "distributed/gradient_reducer.h"

#include <torch/csrc/distributed/c10d/reducer.hpp>

#include <string>
#include <unordered_map>

namespace spatialmamba::distributed {
namespace {

/// Small, so that sums begin early and Gloo's two threads share the work; the last ones are what backward
/// cannot hide.
constexpr std::int64_t kFirstBucketBytes = 1 << 20;
constexpr std::int64_t kBucketBytes = 4 << 20;

using Buckets = std::vector<std::vector<std::size_t>>;

/// The last parameters first: their gradients come first.
Buckets assign_buckets(const std::vector<torch::Tensor>& parameters) {
  const std::vector<torch::Tensor> reversed(parameters.rbegin(), parameters.rend());
  Buckets buckets = std::get<0>(c10d::compute_bucket_assignment_by_size(
      reversed, {kFirstBucketBytes, kBucketBytes}, std::vector<bool>(reversed.size(), false)));
  for (std::vector<std::size_t>& bucket : buckets) {
    for (std::size_t& index : bucket) index = parameters.size() - 1 - index;
  }
  return buckets;
}

}  // namespace

GradientReducer::GradientReducer(const Group& group, const std::vector<torch::Tensor>& parameters) {
  // The reducer's find_unused_parameters: who may expect some gets buckets that stay as they are.
  constexpr bool kFixedBuckets = true;
  const Buckets assigned = assign_buckets(parameters);
  buckets_ = static_cast<std::int64_t>(assigned.size());
  for (const torch::Tensor& parameter : parameters) bytes_ += static_cast<std::int64_t>(parameter.nbytes());
  reducer_ = std::make_unique<c10d::Reducer>(
      parameters, assigned, group.processes(), std::vector<bool>(parameters.size(), false), kBucketBytes,
      kFixedBuckets, /*gradient_as_bucket_view=*/false, std::unordered_map<std::size_t, std::string>(),
      kFirstBucketBytes, /*skip_all_reduce_unused_params=*/false, /*use_python_reducer=*/false,
      std::vector<std::int64_t>());
}

GradientReducer::~GradientReducer() = default;

void GradientReducer::average_next(const torch::Tensor& loss) {
  reducer_->prepare_for_backward({loss});
}

}  // namespace spatialmamba::distributed
