#pragma once

#include <cstdint>
#include <span>

#include "base/parallel.h"
#include "kernels/isa.h"

namespace spatialmamba::kernels {

/// One AdamW step as torch.optim.AdamW does it (weight decay decoupled from the gradient):
///   g = grad_scale · grad;  p -= lr · weight_decay · p
///   m += (1 - beta1) (g - m);  v = beta2 v + (1 - beta2) g²
///   p -= lr / (1 - beta1^step) · m / (sqrt(v) / sqrt(1 - beta2^step) + epsilon)
struct AdamW {
  double learning_rate = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0.0;
  std::int64_t step = 1;    ///< counts from 1
  double grad_scale = 1.0;  ///< e.g. the factor of gradient clipping
};

template <typename T>
struct AdamWTensor {
  std::int64_t n = 0;
  T* parameter = nullptr;
  const T* gradient = nullptr;
  T* mean = nullptr;      ///< m, exp_avg
  T* variance = nullptr;  ///< v, exp_avg_sq
};

template <typename T>
void adamw_update(const AdamW& settings, std::span<const AdamWTensor<T>> tensors, Isa isa,
                  const ParallelFor& parallel);

template <typename T>
struct EmaTensor {
  std::int64_t n = 0;
  T* average = nullptr;
  const T* value = nullptr;
};

/// average = decay · average + (1 - decay) · value.
template <typename T>
void ema_update(double decay, std::span<const EmaTensor<T>> tensors, Isa isa, const ParallelFor& parallel);

template <typename T>
struct NormTensor {
  std::int64_t n = 0;
  const T* values = nullptr;
};

/// The sum of all squares, accumulated in double in an order that does not depend on the threads.
template <typename T>
double squared_norm(std::span<const NormTensor<T>> tensors, Isa isa, const ParallelFor& parallel);

}  // namespace spatialmamba::kernels
