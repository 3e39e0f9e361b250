#include "weights/tensor_bytes.h"

#include <cstring>

namespace spatialmamba {

std::uint64_t byte_count(DType dtype, const Shape& shape) {
  std::int64_t bytes = 0;
  if (__builtin_mul_overflow(element_count(shape), static_cast<std::int64_t>(size_of(dtype)), &bytes)) {
    fail("shape {} overflows", to_string(shape));
  }
  return static_cast<std::uint64_t>(bytes);
}

bool is_aligned(const std::byte* data, DType dtype) {
  return reinterpret_cast<std::uintptr_t>(data) % size_of(dtype) == 0;
}

Tensor view_or_copy(DType dtype, Shape shape, std::span<const std::byte> bytes,
                    const std::shared_ptr<const void>& owner, Tensor::Backing backing) {
  if (is_aligned(bytes.data(), dtype)) {
    return {dtype, std::move(shape), bytes.data(), bytes.size(), owner, backing};
  }
  Tensor copy(dtype, std::move(shape));
  if (copy.bytes() != bytes.size()) {
    fail("a tensor of shape {} has {} bytes, found {}", to_string(copy.shape()), copy.bytes(), bytes.size());
  }
  std::memcpy(copy.mutable_raw(), bytes.data(), bytes.size());
  return copy;
}

}  // namespace spatialmamba
