#pragma once

#include <torch/torch.h>

#include <memory>
#include <string_view>

#include "kernels/gemm.h"
#include "kernels/isa.h"
#include "model/scan_order.h"

namespace spatialmamba::nn {

/// How matrix products are formed; everything else is computed in the tensors' own type.
enum class Precision {
  full,  ///< in the type of the parameters: float32 or float64
  bf16,  ///< factors rounded to bfloat16, sums, storage and master weights in float32
  fp16,  ///< factors rounded to half precision, the rest as above; gradients want their loss scaled
};

/// By the type that factors are rounded to: "bf16", "fp16"; full for any other.
inline Precision precision_of(std::string_view type) {
  if (type == "bf16") return Precision::bf16;
  return type == "fp16" ? Precision::fp16 : Precision::full;
}

/// What the network's functions are made of.
enum class Operators {
  fused,     ///< the kernels of src/kernels, for CPUs
  composed,  ///< LibTorch's operators (nn/composed), for any device
};

/// "composed"; fused for any other name.
inline Operators operators_of(std::string_view name) {
  return name == "composed" ? Operators::composed : Operators::fused;
}

/// Whether a function of x is to be composed of LibTorch's operators.
inline bool is_composed(Operators operators, const torch::Tensor& x) {
  return operators == Operators::composed || !x.is_cpu();
}

/// What the functions of one model run with. Shared by its modules and by the autograd nodes they leave
/// behind.
struct Compute {
  kernels::Isa isa = kernels::default_isa();
  Precision precision = Precision::full;
  ScanOrder scan = ScanOrder::row;
  Operators operators = Operators::fused;  ///< of tensors on a CPU; elsewhere they are composed
  kernels::GemmScratch scratch;
};

using ComputePtr = std::shared_ptr<Compute>;

}  // namespace spatialmamba::nn
