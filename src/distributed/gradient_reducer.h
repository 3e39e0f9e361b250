#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "distributed/group.h"

namespace c10d {
class Reducer;
}

namespace spatialmamba::distributed {

/// Averages gradients over a group while the backward pass is still under way: c10d::Reducer collects them in
/// buckets, in the order in which they come about, and sums a bucket as soon as it is full.
///
/// The buckets never change. (LibTorch's Python wrapper lays them out anew after the first pass, by which a
/// run that was resumed would add in another order than one that was not.)
class GradientReducer {
 public:
  /// `parameters` in the order in which the network uses them.
  GradientReducer(const Group& group, const std::vector<torch::Tensor>& parameters);
  ~GradientReducer();
  GradientReducer(const GradientReducer&) = delete;
  GradientReducer& operator=(const GradientReducer&) = delete;

  /// The backward pass that comes next, from `loss`, ends with averages, of what earlier ones added up too.
  void average_next(const torch::Tensor& loss);

  /// What one process gives into the sums at each update.
  std::int64_t bytes() const { return bytes_; }
  std::int64_t buckets() const { return buckets_; }

 private:
  std::int64_t bytes_ = 0;
  std::int64_t buckets_ = 0;
  std::unique_ptr<c10d::Reducer> reducer_;
};

}  // namespace spatialmamba::distributed
