#pragma once

#include <bit>
#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"
#include "spatialmamba/tensor.h"

namespace spatialmamba {

// Every format read through this is little-endian and read in place.
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

/// Bytes and what keeps them alive.
struct Record {
  std::span<const std::byte> bytes;
  std::shared_ptr<const void> owner;
};

/// Longest error message that quotes a file's content.
inline constexpr std::size_t kMaxMessage = 4000;

/// A text from a file as an error may show it: one line, no control characters, of bounded length.
std::string printable(std::string_view text);

/// fail() with the file's name first and what comes from the file made printable.
template <typename... Args>
[[noreturn]] void fail_in(const std::string& file, fmt::format_string<Args...> format, Args&&... args) {
  fail("{}: {}", file, printable(fmt::format(format, std::forward<Args>(args)...)));
}

}  // namespace spatialmamba
