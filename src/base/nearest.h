#pragma once

#include <span>
#include <string>
#include <string_view>

namespace spatialmamba {

/// The candidate that was most likely meant by a mistyped `word` (fewest inserted, removed, replaced or
/// swapped letters), or empty when none is close. For messages such as "did you mean --weights?".
std::string nearest(std::string_view word, std::span<const std::string> candidates);

}  // namespace spatialmamba
