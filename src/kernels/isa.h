#pragma once

#include <string_view>
#include <vector>

namespace spatialmamba::kernels {

/// Instruction sets that kernels are compiled for, weakest first. avx512bf16 and amx differ from avx512 in
/// the bf16 matrix product only.
enum class Isa { scalar, sse4, neon, avx2, avx512, avx512bf16, amx };

std::string_view name_of(Isa isa);

/// Those that this build holds and this processor (and its kernel) can run, weakest first.
std::vector<Isa> supported_isas();

/// The strongest one, or what SPATIALMAMBA_ISA names. Throws UsageError for an unknown name or one that this
/// machine cannot run, listing those it can.
Isa default_isa();
Isa isa_from_name(std::string_view name);

/// What the kernels that run for `isa` were compiled for, as told by code compiled with them: "Scalar",
/// "SSE4", "NEON", "AVX2" or "AVX3" (Highway's name of AVX-512).
std::string_view compiled_target(Isa isa);

}  // namespace spatialmamba::kernels
