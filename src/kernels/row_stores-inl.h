// Stores of numbers in the formats of rows, compiled per instruction set: include after hwy/foreach_target.h
// and hwy/highway.h.

#if defined(SPATIALMAMBA_ROW_STORES_TOGGLE) == defined(HWY_TARGET_TOGGLE)
#ifdef SPATIALMAMBA_ROW_STORES_TOGGLE
#undef SPATIALMAMBA_ROW_STORES_TOGGLE
#else
#define SPATIALMAMBA_ROW_STORES_TOGGLE
#endif

#include <cstdint>

#include "hwy/highway.h"
#include "kernels/row_destination.h"

HWY_BEFORE_NAMESPACE();
namespace spatialmamba::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// To the nearest bfloat16, ties to even; the quiet bit keeps NaN from becoming infinity.
template <class D>
HWY_INLINE hn::Vec<D> round_to_bf16(D d, hn::Vec<D> value) {
  const hn::RebindToUnsigned<D> du;
  const auto bits = hn::BitCast(du, value);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(du, 1));
  const auto rounded = hn::Add(bits, hn::Add(odd, hn::Set(du, 0x7FFF)));
  const auto quiet = hn::Or(bits, hn::Set(du, 0x400000));
  const auto kept = hn::IfThenElse(hn::RebindMask(du, hn::IsNaN(value)), quiet, rounded);
  return hn::BitCast(d, hn::And(kept, hn::Set(du, 0xFFFF0000)));
}

// Pairs are asked for where the processor has the instructions of AVX-512-BF16.
template <class D>
HWY_INLINE void store_pairs(D d, hn::Vec<D> value, std::uint16_t* to) {
#if HWY_TARGET == HWY_AVX3
  if constexpr (hn::MaxLanes(D()) == 16) {
    __m256i bits;
    asm("vcvtneps2bf16 %1, %0" : "=v"(bits) : "v"(value.raw));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), bits);
    return;
  }
#endif
  const hn::RebindToUnsigned<D> du;
  const hn::Rebind<std::uint16_t, D> d16;
  hn::StoreU(hn::TruncateTo(d16, hn::ShiftRight<16>(hn::BitCast(du, round_to_bf16(d, value)))), d16, to);
}

/// The number j of a row.
template <RowFormat kFormat, class D>
HWY_INLINE void store_as(D d, hn::Vec<D> value, float* row, std::int64_t j) {
  if constexpr (kFormat == RowFormat::floats) {
    hn::StoreU(value, d, row + j);
  } else if constexpr (kFormat == RowFormat::rounded) {
    hn::StoreU(round_to_bf16(d, value), d, row + j);
  } else {
    store_pairs(d, value, reinterpret_cast<std::uint16_t*>(row) + j);
  }
}

// The place of the last number's partner, which there is none.
template <RowFormat kFormat>
HWY_INLINE void end_row(float* row, std::int64_t count) {
  if (kFormat == RowFormat::pairs && count % 2 != 0) reinterpret_cast<std::uint16_t*>(row)[count] = 0;
}

}  // namespace spatialmamba::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
