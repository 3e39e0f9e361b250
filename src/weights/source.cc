#include "weights/source.h"

#include <cstring>

#include "base/file.h"

namespace spatialmamba {

Source open_source(const std::filesystem::path& path) {
  std::shared_ptr<const MappedFile> file = MappedFile::open(path);
  const std::span<const std::byte> bytes = file->bytes();
  return {path.string(), bytes, std::move(file), Tensor::Backing::mapped_file};
}

std::string printable(std::string_view text) {
  std::string line(text.substr(0, kMaxMessage));
  for (char& c : line) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  }
  return text.size() > kMaxMessage ? line + " ..." : line;
}

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
