#include "model/scan_order.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/error.h"

namespace spatialmamba {
namespace {

using Entry = std::pair<ScanOrder, std::string_view>;

constexpr std::array<Entry, 3> kOrders = {
    {{ScanOrder::row, "row"}, {ScanOrder::column, "column"}, {ScanOrder::snake, "snake"}}};

}  // namespace

std::vector<std::string> scan_order_names() {
  std::vector<std::string> names;
  for (const Entry& entry : kOrders) names.emplace_back(entry.second);
  return names;
}

std::string_view name_of(ScanOrder order) {
  return std::ranges::find(kOrders, order, &Entry::first)->second;
}

ScanOrder scan_order_from_name(std::string_view name) {
  const auto* found = std::ranges::find(kOrders, name, &Entry::second);
  if (found == kOrders.end()) fail_usage("unknown scan order '{}': expected row, column or snake", name);
  return found->first;
}

ScanOrder scan_order_of(const std::map<std::string, std::string>& metadata, const std::string& source) {
  const auto found = metadata.find(kScanEntry);
  if (found == metadata.end()) return ScanOrder::row;
  const auto* order = std::ranges::find(kOrders, found->second, &Entry::second);
  if (order == kOrders.end())
    fail("{}: the metadata name the unknown scan order '{}'", source, found->second);
  return order->first;
}

}  // namespace spatialmamba
