#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <type_traits>

#include "base/error.h"

namespace spatialmamba {

/// Walks over bytes from outside; every read is checked. Throws Error (without a file name) at the end.
class Cursor {
 public:
  explicit Cursor(std::span<const std::byte> bytes, std::uint64_t position = 0) : bytes_(bytes) {
    seek(position);
  }

  std::uint64_t position() const { return position_; }
  std::uint64_t left() const { return bytes_.size() - position_; }

  void seek(std::uint64_t position) {
    if (position > bytes_.size()) fail("points to byte {} of {}", position, bytes_.size());
    position_ = static_cast<std::size_t>(position);
  }

  std::span<const std::byte> take(std::uint64_t count) {
    if (count > left())
      fail("ends at byte {}, where {} bytes are expected after byte {}", bytes_.size(), count, position_);
    const auto part = bytes_.subspan(position_, static_cast<std::size_t>(count));
    position_ += static_cast<std::size_t>(count);
    return part;
  }

  /// A little-endian number.
  template <typename T>
  T read() {
    static_assert(std::is_arithmetic_v<T>);
    T value;
    std::memcpy(&value, take(sizeof(T)).data(), sizeof(T));
    return value;
  }

  std::string_view text(std::uint64_t count) {
    const auto part = take(count);
    return {reinterpret_cast<const char*>(part.data()), part.size()};
  }

  /// Up to the next line feed, which is consumed and not returned.
  std::string_view line() {
    const std::string_view rest(reinterpret_cast<const char*>(bytes_.data()) + position_,
                                static_cast<std::size_t>(left()));
    const std::size_t end = rest.find('\n');
    if (end == std::string_view::npos) fail("ends at byte {} within a line", bytes_.size());
    position_ += end + 1;
    return rest.substr(0, end);
  }

 private:
  std::span<const std::byte> bytes_;
  std::size_t position_ = 0;
};

}  // namespace spatialmamba
