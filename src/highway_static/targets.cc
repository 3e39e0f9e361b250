// What a program takes from libhwy, for one that must not need the shared library: which instruction sets there
// are. Newer sets than AVX-512 need no entry: our kernels name them themselves, see kernels/isa.cc.
#include "hwy/targets.h"

namespace hwy {

int64_t SupportedTargets() {
  int64_t targets = HWY_STATIC_TARGET;
#if HWY_ARCH_X86
  __builtin_cpu_init();
  const auto with = [&](bool all, int64_t target) {
    if (all) targets |= target;
    return all;
  };
  if (with(__builtin_cpu_supports("ssse3"), HWY_SSSE3) &&
      with(__builtin_cpu_supports("sse4.1") && __builtin_cpu_supports("sse4.2"), HWY_SSE4) &&
      with(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&
               __builtin_cpu_supports("bmi2"),
           HWY_AVX2)) {
    with(__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
             __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw"),
         HWY_AVX3);
  }
#endif
  return targets;
}

ChosenTarget& GetChosenTarget() {
  static ChosenTarget chosen;
  return chosen;
}

}  // namespace hwy
