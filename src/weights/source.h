#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "spatialmamba/tensor.h"

namespace spatialmamba {

// Every format of this folder is little-endian and read in place.
static_assert(std::endian::native == std::endian::little);

/// Bytes to be parsed: what errors call them, and who keeps them alive.
struct Source {
  std::string name;
  std::span<const std::byte> bytes;
  std::shared_ptr<const void> owner;
  Tensor::Backing backing = Tensor::Backing::memory;
};

/// Maps a file. Throws Error naming it.
Source open_source(const std::filesystem::path& path);

/// Longest error message that quotes a file's content.
inline constexpr std::size_t kMaxMessage = 4000;

/// A text from a file as an error may show it: one line, no control characters, of bounded length.
std::string printable(std::string_view text);

/// fail() with the file's name first and what comes from the file made printable.
template <typename... Args>
[[noreturn]] void fail_in(const std::string& file, fmt::format_string<Args...> format, Args&&... args) {
  fail("{}: {}", file, printable(fmt::format(format, std::forward<Args>(args)...)));
}

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
