#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "spatialmamba/tensor.h"

namespace spatialmamba {

/// One tensor as the header of a .safetensors file states it; unchecked but for its JSON types.
struct SafetensorsEntry {
  std::string name;
  std::string dtype;
  Shape shape;
  std::array<std::uint64_t, 2> offsets{};  ///< [begin, end) within the data that follows the header
};

struct SafetensorsHeader {
  std::vector<SafetensorsEntry> entries;  ///< in the header's order
  std::map<std::string, std::string> metadata;
};

/// Parses the JSON. Throws Error (without a file name) for a malformed text, another structure than the
/// format's, a key that is unknown, missing or there twice.
SafetensorsHeader parse_safetensors_header(std::string_view json);

/// The JSON of a header, padded with spaces to a multiple of 8 bytes.
std::string format_safetensors_header(const SafetensorsHeader& header);

}  // namespace spatialmamba
