#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <vector>

#include "base/parallel.h"
#include "kernels/isa.h"

namespace spatialmamba::kernels {

/// How products of floats are formed. bf16 and fp16 round both factors to the nearest bfloat16 or half (ties
/// to even) and add the exact products up in float. What is too large for a half, from 65520 on, becomes
/// infinite. Doubles are always multiplied in full.
enum class Multiply { full, bf16, fp16 };

enum class GemmActivation { none, relu, gelu, silu };

/// Working memory of matrix products: aligned buffers that a call borrows and gives back, kept until the
/// scratch dies, so that repeated calls allocate nothing. Threads may share one.
class GemmScratch {
 public:
  class Lease;
  GemmScratch() = default;
  ~GemmScratch();
  GemmScratch(const GemmScratch&) = delete;
  GemmScratch& operator=(const GemmScratch&) = delete;

  /// At least `bytes`, aligned to 64; returned when the lease ends.
  Lease borrow(std::size_t bytes);
  /// Sees to it that `leases` held at once, of no more bytes each than any before, will allocate nothing:
  /// how many are held at once in a parallel loop is otherwise a matter of chance. No lease may be held.
  void provide(int leases);

  /// Bytes of the buffers that are not lent out.
  std::int64_t bytes() const;

 private:
  struct Buffer {
    std::byte* data = nullptr;
    std::size_t bytes = 0;
  };
  void give_back(Buffer buffer);

  static Buffer allocate(std::size_t bytes);

  mutable std::mutex mutex_;
  std::vector<Buffer> free_;  // with room for those that are lent
  std::size_t buffers_ = 0;   // free and lent
  std::size_t largest_ = 0;   // bytes of the largest
};

/// Where and how a product is computed. The result depends on the number of threads only by rounding, and is
/// the same in every run with the same number.
struct GemmContext {
  Isa isa;
  ParallelFor parallel;
  GemmScratch& scratch;
  Multiply multiply = Multiply::full;
};

/// A matrix in memory, rows `stride` elements apart (it may be a slice of a wider one), or its transpose:
/// element (i, j) of op(A) is data[i * stride + j], and data[j * stride + i] where transposed.
template <typename T>
struct Operand {
  const T* data;
  std::int64_t stride;
  bool transposed = false;
};

/// What is done with the product P = op(A) op(B). In this order, what is absent being left out:
///   C = P + (accumulate ? C : 0) + bias + residual;  activated = activation(C)
template <typename T>
struct GemmOutput {
  T* data;  ///< C [m, n]
  std::int64_t stride;
  bool accumulate = false;
  const T* bias = nullptr;      ///< [n], added to every row
  const T* residual = nullptr;  ///< [m, n]
  std::int64_t residual_stride = 0;
  GemmActivation activation = GemmActivation::none;
  T* activated = nullptr;  ///< [m, n]; may be C itself, whose values before the activation are then lost
  std::int64_t activated_stride = 0;
  /// [m]: (accumulate ? row_sums : 0) + the sums over k of op(A), unrounded: the gradient of a bias.
  T* row_sums = nullptr;
};

/// C [m, n] from op(A) [m, k] and op(B) [k, n]; T is float or double. Sizes may be 0 (k = 0: P = 0). Nothing
/// may overlap but as said above. NaN and infinity propagate as in a plain loop. Sums are formed in another
/// order than a plain loop's; each holds k terms in T.
template <typename T>
void gemm(std::int64_t m, std::int64_t n, std::int64_t k, Operand<T> a, Operand<T> b, const GemmOutput<T>& c,
          const GemmContext& context);

/// A linear layer: `tokens` rows of `inputs` features become rows of `outputs` features.
struct LinearShape {
  std::int64_t tokens;
  std::int64_t inputs;
  std::int64_t outputs;
};

/// y [tokens, outputs] = x [tokens, inputs] w^T, with w [outputs, inputs] dense; then what `y` asks for.
template <typename T>
void linear_forward(LinearShape shape, const T* x, std::int64_t x_stride, const T* w, const GemmOutput<T>& y,
                    const GemmContext& context) {
  gemm<T>(shape.tokens, shape.outputs, shape.inputs, {x, x_stride}, {w, shape.inputs, true}, y, context);
}

/// dx [tokens, inputs] = dy [tokens, outputs] w; then what `dx` asks for.
template <typename T>
void linear_input_gradient(LinearShape shape, const T* dy, std::int64_t dy_stride, const T* w,
                           const GemmOutput<T>& dx, const GemmContext& context) {
  gemm<T>(shape.tokens, shape.inputs, shape.outputs, {dy, dy_stride}, {w, shape.inputs}, dx, context);
}

/// dw [outputs, inputs] dense (=|+=) dy^T x, and where dbias is given, dbias [outputs] (=|+=) the sums of dy
/// over the tokens.
template <typename T>
void linear_weight_gradient(LinearShape shape, const T* dy, std::int64_t dy_stride, const T* x,
                            std::int64_t x_stride, T* dw, T* dbias, bool accumulate,
                            const GemmContext& context) {
  GemmOutput<T> output{.data = dw, .stride = shape.inputs, .accumulate = accumulate};
  output.row_sums = dbias;
  gemm<T>(shape.outputs, shape.inputs, shape.tokens, {dy, dy_stride, true}, {x, x_stride}, output, context);
}

/// A borrowed buffer.
class GemmScratch::Lease {
 public:
  Lease(GemmScratch& owner, Buffer buffer) : owner_(owner), buffer_(buffer) {}
  ~Lease() { owner_.give_back(buffer_); }
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;

  std::byte* data() const { return buffer_.data; }

 private:
  GemmScratch& owner_;
  Buffer buffer_;
};

}  // namespace spatialmamba::kernels
