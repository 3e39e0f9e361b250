#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "archive/source.h"
#include "spatialmamba/tensor.h"

namespace spatialmamba {

/// True when the pointer may be read as elements of that type.
bool is_aligned(const std::byte* data, DType dtype);

/// A tensor over bytes that `owner` keeps alive: a view where they are aligned for the element type, else a
/// copy, so that nobody ever meets an unaligned pointer. `bytes` must have the shape's size.
Tensor view_or_copy(DType dtype, Shape shape, std::span<const std::byte> bytes,
                    const std::shared_ptr<const void>& owner,
                    Tensor::Backing backing = Tensor::Backing::memory);

/// Bytes of an array. Throws Error for a negative dimension or on overflow.
std::uint64_t byte_count(DType dtype, const Shape& shape);

}  // namespace spatialmamba
