#pragma once

#include <cstdint>
#include <string>

namespace spatialmamba::image {

struct ImageSize {
  std::int64_t height = 0;
  std::int64_t width = 0;
};

/// "224" or "224x320" (height first). Throws UsageError.
ImageSize parse_size(const std::string& text);

}  // namespace spatialmamba::image
