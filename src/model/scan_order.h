#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace spatialmamba {

/// The order in which the state scan visits the tokens of a map. The paper's networks scan rows; the others
/// are its ablations. Names and shapes of the weights are the same, so a file says in its metadata which one
/// it needs.
enum class ScanOrder {
  row,     ///< row by row, each from left to right
  column,  ///< column by column, each from top to bottom
  snake,   ///< row by row, every second one from right to left
};

/// "row", "column", "snake".
std::vector<std::string> scan_order_names();
std::string_view name_of(ScanOrder order);
/// Throws UsageError listing the known names.
ScanOrder scan_order_from_name(std::string_view name);

/// The metadata's entry for it.
inline constexpr const char* kScanEntry = "scan";
/// What a weights file says; row where it says nothing. Throws Error with `source` in front for an unknown
/// name.
ScanOrder scan_order_of(const std::map<std::string, std::string>& metadata, const std::string& source);

}  // namespace spatialmamba
