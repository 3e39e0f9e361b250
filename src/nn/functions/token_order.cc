#include "nn/functions/token_order.h"

namespace spatialmamba::nn {
namespace {

/// Every second row from right to left; its own inverse.
torch::Tensor turn_rows(const torch::Tensor& x) {
  torch::Tensor turned = x.clone();
  const auto odd = [](const torch::Tensor& rows) { return rows.slice(1, 1, std::nullopt, 2); };
  odd(turned).copy_(odd(x).flip(2));
  return turned;
}

}  // namespace

torch::Tensor to_scan_order(const torch::Tensor& x, ScanOrder order) {
  switch (order) {
    case ScanOrder::row:
      return x;
    case ScanOrder::column:
      return x.transpose(1, 2).contiguous().view(x.sizes());
    case ScanOrder::snake:
      return turn_rows(x);
  }
  return x;
}

torch::Tensor to_map_order(const torch::Tensor& sequence, ScanOrder order) {
  if (order != ScanOrder::column) return to_scan_order(sequence, order);
  const auto size = [&](std::int64_t dimension) { return sequence.size(dimension); };
  return sequence.view({size(0), size(2), size(1), size(3)}).transpose(1, 2).contiguous();
}

}  // namespace spatialmamba::nn
