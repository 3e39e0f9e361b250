#pragma once

#include <type_traits>

#include "hwy/highway.h"
#include "kernels/isa.h"

namespace spatialmamba::kernels {

/// Picks the variant for an instruction set, or the strongest one below it that this build holds (those that
/// it does not are nullptr). The choice is a value of the caller's: Highway's own, which is global to the
/// process, is not used.
template <typename Function>
Function choose(Isa isa, Function scalar, std::type_identity_t<Function> sse4,
                std::type_identity_t<Function> neon, std::type_identity_t<Function> avx2,
                std::type_identity_t<Function> avx512) {
  if (isa >= Isa::avx512 && avx512 != nullptr) return avx512;
  if (isa >= Isa::avx2 && avx2 != nullptr) return avx2;
  if (isa == Isa::neon && neon != nullptr) return neon;
  if (isa >= Isa::sse4 && isa != Isa::neon && sse4 != nullptr) return sse4;
  return scalar;
}

}  // namespace spatialmamba::kernels

/// The variant of `function` for `isa` in a source that Highway compiles for each instruction set: a macro,
/// since only the preprocessor knows which namespaces exist.
#define SPATIALMAMBA_CHOOSE(isa, function)                                                         \
  choose(isa, HWY_CHOOSE_FALLBACK(function), HWY_CHOOSE_SSE4(function), HWY_CHOOSE_NEON(function), \
         HWY_CHOOSE_AVX2(function), HWY_CHOOSE_AVX3(function))
