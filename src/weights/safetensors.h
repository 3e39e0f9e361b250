#pragma once

#include <cstdint>

#include "spatialmamba/weights.h"
#include "weights/tensor_bytes.h"

namespace spatialmamba {

/// Longest header (JSON) of a .safetensors file that is read: what the format's own library allows.
inline constexpr std::uint64_t kMaxSafetensorsHeader = 100'000'000;

/// True when the bytes begin like a .safetensors file: a plausible header length, then '{'.
bool looks_like_safetensors(std::span<const std::byte> bytes);

/// read_safetensors() on bytes in memory. Throws Error for anything that is not exactly the format: an
/// unknown element type, a name twice, sizes that do not fit the shape, data that overlaps, has holes, lies
/// outside or is left over.
Weights parse_safetensors(const Source& source);

}  // namespace spatialmamba
