#include "kernels/optimizer_update.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/partial_sums.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/optimizer_update.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/dispatch.h"
#include "kernels/vector_math-inl.h"

#ifndef SPATIALMAMBA_KERNELS_OPTIMIZER_UPDATE_SHARED
#define SPATIALMAMBA_KERNELS_OPTIMIZER_UPDATE_SHARED
namespace spatialmamba::kernels {
namespace {

/// The factors of a step, worked out in double.
template <typename T>
struct AdamWFactors {
  explicit AdamWFactors(const AdamW& s)
      : grad_scale(static_cast<T>(s.grad_scale)),
        keep(static_cast<T>(1.0 - s.learning_rate * s.weight_decay)),
        one_minus_beta1(static_cast<T>(1.0 - s.beta1)),
        beta2(static_cast<T>(s.beta2)),
        one_minus_beta2(static_cast<T>(1.0 - s.beta2)),
        root_correction(static_cast<T>(std::sqrt(1.0 - std::pow(s.beta2, static_cast<double>(s.step))))),
        epsilon(static_cast<T>(s.epsilon)),
        step_size(static_cast<T>(s.learning_rate / (1.0 - std::pow(s.beta1, static_cast<double>(s.step))))) {}

  T grad_scale;
  T keep;
  T one_minus_beta1;
  T beta2;
  T one_minus_beta2;
  T root_correction;
  T epsilon;
  T step_size;
};

}  // namespace
}  // namespace spatialmamba::kernels
#endif

HWY_BEFORE_NAMESPACE();
namespace spatialmamba::kernels::HWY_NAMESPACE {
namespace {

template <typename T>
void adamw_range(const AdamWFactors<T>& f, const AdamWTensor<T>& tensor, RowRange range) {
  for_vectors<T>(range.begin, range.end, [&](auto d, std::int64_t i) HWY_ATTR {
    const auto g = hn::Mul(hn::LoadU(d, tensor.gradient + i), hn::Set(d, f.grad_scale));
    const auto p = hn::Mul(hn::LoadU(d, tensor.parameter + i), hn::Set(d, f.keep));
    const auto before = hn::LoadU(d, tensor.mean + i);
    const auto mean = hn::MulAdd(hn::Sub(g, before), hn::Set(d, f.one_minus_beta1), before);
    const auto decayed = hn::Mul(hn::LoadU(d, tensor.variance + i), hn::Set(d, f.beta2));
    const auto variance = hn::MulAdd(hn::Mul(g, g), hn::Set(d, f.one_minus_beta2), decayed);
    const auto root = hn::Div(hn::Sqrt(variance), hn::Set(d, f.root_correction));
    const auto ratio = hn::Div(mean, hn::Add(root, hn::Set(d, f.epsilon)));
    hn::StoreU(mean, d, tensor.mean + i);
    hn::StoreU(variance, d, tensor.variance + i);
    hn::StoreU(hn::NegMulAdd(hn::Set(d, f.step_size), ratio, p), d, tensor.parameter + i);
  });
}

template <typename T>
void ema_range(double decay, const EmaTensor<T>& tensor, RowRange range) {
  for_vectors<T>(range.begin, range.end, [&](auto d, std::int64_t i) HWY_ATTR {
    const auto fresh = hn::Mul(hn::LoadU(d, tensor.value + i), hn::Set(d, static_cast<T>(1.0 - decay)));
    const auto old = hn::LoadU(d, tensor.average + i);
    hn::StoreU(hn::MulAdd(old, hn::Set(d, static_cast<T>(decay)), fresh), d, tensor.average + i);
  });
}

double squares(const double* values, RowRange range) {
  RowSum<double> sum;
  for_vectors<double>(range.begin, range.end, [&](auto d, std::int64_t i) HWY_ATTR {
    const auto v = hn::LoadU(d, values + i);
    sum.add_product(d, v, v);
  });
  return sum.value();
}

double squares(const float* values, RowRange range) {
  RowSum<double> sum;
  for_vectors<double>(range.begin, range.end, [&](auto d, std::int64_t i) HWY_ATTR {
    const auto v = hn::PromoteTo(d, hn::LoadU(hn::Rebind<float, decltype(d)>(), values + i));
    sum.add_product(d, v, v);
  });
  return sum.value();
}

template <typename T>
double squares_range(const NormTensor<T>& tensor, RowRange range) {
  return squares(tensor.values, range);
}

}  // namespace
}  // namespace spatialmamba::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace spatialmamba::kernels {
namespace {

/// A piece of one tensor of a list.
struct Piece {
  std::size_t tensor;
  RowRange range;
};

// Cuts all tensors into pieces of one size, so that many small and a few large ones share the threads evenly.
template <typename Tensor>
std::vector<Piece> pieces_of(std::span<const Tensor> tensors) {
  constexpr std::int64_t kLength = 16384;
  std::vector<Piece> pieces;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    for (std::int64_t begin = 0; begin < tensors[i].n; begin += kLength) {
      pieces.push_back({i, {begin, std::min(begin + kLength, tensors[i].n)}});
    }
  }
  return pieces;
}

template <typename Body>
void for_pieces(const std::vector<Piece>& pieces, const ParallelFor& parallel, const Body& body) {
  parallel(static_cast<std::int64_t>(pieces.size()), 1, [&](std::int64_t begin, std::int64_t end) {
    for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i) body(i, pieces[i]);
  });
}

}  // namespace

template <typename T>
void adamw_update(const AdamW& settings, std::span<const AdamWTensor<T>> tensors, Isa isa,
                  const ParallelFor& parallel) {
  const auto update = SPATIALMAMBA_CHOOSE(isa, adamw_range<T>);
  const AdamWFactors<T> factors(settings);
  for_pieces(pieces_of(tensors), parallel,
             [&](std::size_t, const Piece& piece) { update(factors, tensors[piece.tensor], piece.range); });
}

template <typename T>
void ema_update(double decay, std::span<const EmaTensor<T>> tensors, Isa isa, const ParallelFor& parallel) {
  const auto update = SPATIALMAMBA_CHOOSE(isa, ema_range<T>);
  for_pieces(pieces_of(tensors), parallel,
             [&](std::size_t, const Piece& piece) { update(decay, tensors[piece.tensor], piece.range); });
}

template <typename T>
double squared_norm(std::span<const NormTensor<T>> tensors, Isa isa, const ParallelFor& parallel) {
  const auto square = SPATIALMAMBA_CHOOSE(isa, squares_range<T>);
  const std::vector<Piece> pieces = pieces_of(tensors);
  std::vector<double> sums(pieces.size());
  for_pieces(pieces, parallel, [&](std::size_t i, const Piece& piece) {
    sums[i] = square(tensors[piece.tensor], piece.range);
  });
  double total = 0.0;
  for (const double sum : sums) total += sum;
  return total;
}

template void adamw_update(const AdamW&, std::span<const AdamWTensor<float>>, Isa, const ParallelFor&);
template void adamw_update(const AdamW&, std::span<const AdamWTensor<double>>, Isa, const ParallelFor&);
template void ema_update(double, std::span<const EmaTensor<float>>, Isa, const ParallelFor&);
template void ema_update(double, std::span<const EmaTensor<double>>, Isa, const ParallelFor&);
template double squared_norm(std::span<const NormTensor<float>>, Isa, const ParallelFor&);
template double squared_norm(std::span<const NormTensor<double>>, Isa, const ParallelFor&);

}  // namespace spatialmamba::kernels
#endif
