#include "weights/class_map.h"

#include <charconv>
#include <cstring>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/error.h"
#include "base/file.h"

namespace spatialmamba {
namespace {

Tensor select_rows(const Tensor& from, std::span<const std::int64_t> rows) {
  Shape shape = from.shape();
  const auto row_bytes = static_cast<std::size_t>(static_cast<std::int64_t>(from.bytes()) / shape[0]);
  shape[0] = std::ssize(rows);
  Tensor to(from.dtype(), shape);
  std::byte* out = to.mutable_raw();
  for (const std::int64_t row : rows) {
    std::memcpy(out, from.raw() + static_cast<std::size_t>(row) * row_bytes, row_bytes);
    out += row_bytes;
  }
  return to;
}

void select_names(Weights& weights, std::span<const std::int64_t> classes) {
  const auto entry = weights.metadata.find("classes");
  if (entry == weights.metadata.end()) return;
  const nlohmann::json names = nlohmann::json::parse(entry->second, nullptr, false);
  nlohmann::json kept = nlohmann::json::array();
  for (const std::int64_t number : classes) {
    const auto at = static_cast<std::size_t>(number);
    if (!names.is_array() || at >= names.size()) {
      weights.metadata.erase(entry);  // names that do not fit the head name nothing
      return;
    }
    kept.push_back(names[at]);
  }
  entry->second = kept.dump();
}

}  // namespace

std::vector<std::int64_t> read_class_map(const std::filesystem::path& path) {
  std::istringstream text(read_text(path));
  std::vector<std::int64_t> classes;
  std::int64_t number = 0;
  for (std::string line; std::getline(text, line);) {
    ++number;
    if (line.ends_with('\r')) line.pop_back();
    if (line.empty()) continue;
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), value);
    if (error != std::errc() || end != line.data() + line.size() || value < 0) {
      fail("{}: line {} is not the number of a class", path.string(), number);
    }
    classes.push_back(value);
  }
  if (classes.empty()) fail("{}: lists no classes", path.string());
  return classes;
}

void select_classes(Weights& weights, std::span<const std::int64_t> classes, const std::string& source) {
  if (weights.tensors.find("head.weight") == nullptr)
    fail("{}: has no head.weight to select classes of", source);
  TensorMap selected;
  for (const auto& [name, tensor] : weights.tensors) {
    if (name != "head.weight" && name != "head.bias") {
      selected.add(name, tensor);
      continue;
    }
    const std::int64_t rows = tensor.shape().empty() ? 0 : tensor.shape().front();
    for (const std::int64_t number : classes) {
      if (number >= rows) fail("{}: {} has {} classes, the map names class {}", source, name, rows, number);
    }
    selected.add(name, select_rows(tensor, classes));
  }
  weights.tensors = std::move(selected);
  select_names(weights, classes);
  weights.metadata.erase("checksums");  // the head's are others now
}

}  // namespace spatialmamba
