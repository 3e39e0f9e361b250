#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace spatialmamba::kernels {

/// What the bins of one box read along one direction: samples lie on a grid, so their weights in x and in y
/// are independent, and all samples of a bin that touch one cell are one tap.
template <typename T>
class RoiTaps {
 public:
  struct Tap {
    std::int64_t cell = 0;
    T weight = 0;
  };

  /// Bins [start, start + bins · length) on `cells` cells, `samples` to a bin; weights add up to at most
  /// `samples`.
  void assign(T start, T length, std::int64_t bins, std::int64_t samples, std::int64_t cells) {
    taps_.clear();
    ends_.clear();
    for (std::int64_t bin = 0; bin < bins; ++bin) {
      const std::size_t first = taps_.size();
      for (std::int64_t i = 0; i < samples; ++i) {
        const T at = start + static_cast<T>(bin) * length +
                     (static_cast<T>(i) + static_cast<T>(0.5)) * length / static_cast<T>(samples);
        add_sample(at, cells, first);
      }
      ends_.push_back(taps_.size());
    }
  }

  const Tap* begin(std::int64_t bin) const {
    return taps_.data() + (bin == 0 ? 0 : ends_[static_cast<std::size_t>(bin) - 1]);
  }
  const Tap* end(std::int64_t bin) const { return taps_.data() + ends_[static_cast<std::size_t>(bin)]; }

 private:
  void add_sample(T at, std::int64_t cells, std::size_t first) {
    if (!(at >= T{-1} && at <= static_cast<T>(cells))) return;
    at = std::max(at, T{0});
    const auto low = static_cast<std::int64_t>(at);
    if (low >= cells - 1) {
      add(cells - 1, T{1}, first);
      return;
    }
    const T above = at - static_cast<T>(low);
    add(low, T{1} - above, first);
    add(low + 1, above, first);
  }

  /// Samples ascend, so a cell that is there already is one of the last two.
  void add(std::int64_t cell, T weight, std::size_t first) {
    for (std::size_t back = taps_.size(); back > first && back + 2 > taps_.size(); --back) {
      if (taps_[back - 1].cell != cell) continue;
      taps_[back - 1].weight += weight;
      return;
    }
    taps_.push_back({cell, weight});
  }

  std::vector<Tap> taps_;
  std::vector<std::size_t> ends_;
};

}  // namespace spatialmamba::kernels
