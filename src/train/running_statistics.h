#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <vector>

namespace spatialmamba::train {

/// BatchNorm's running statistics during one update: they can be taken back, and where several batches are
/// normalised each by itself, wherever that happens, their changes are averaged.
class RunningStatistics {
 public:
  /// The buffers of a model, whose storage stays where it is.
  explicit RunningStatistics(const std::vector<torch::Tensor>& buffers);

  /// The values as they are now are those to go back to.
  void remember();
  void restore();

  /// Adds up what has changed since remember().
  void collect();
  /// The sum of the changes, flat and in double precision, where the buffers are: for adding up over
  /// processes too.
  torch::Tensor& changes() { return changes_; }
  /// Sets the remembered values plus the changes divided by `batches`.
  void apply_mean_change(std::int64_t batches);

 private:
  struct Buffer {
    torch::Tensor value;
    torch::Tensor before;
  };

  std::vector<Buffer> buffers_;
  torch::Tensor changes_;
};

}  // namespace spatialmamba::train
