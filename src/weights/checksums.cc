#include "weights/checksums.h"

#include <zlib.h>

#include <nlohmann/json.hpp>

#include "archive/source.h"

namespace spatialmamba {
namespace {

constexpr const char* kEntry = "checksums";

std::uint32_t checksum_of(const Tensor& tensor) {
  return static_cast<std::uint32_t>(crc32_z(0, reinterpret_cast<const Bytef*>(tensor.raw()), tensor.bytes()));
}

}  // namespace

void add_checksums(Weights& weights) {
  nlohmann::json checksums = nlohmann::json::object();
  for (const auto& [name, tensor] : weights.tensors) checksums[name] = checksum_of(tensor);
  weights.metadata[kEntry] = checksums.dump();
}

void verify_checksums(const Weights& weights, const std::string& source) {
  const auto entry = weights.metadata.find(kEntry);
  if (entry == weights.metadata.end()) return;
  const nlohmann::json checksums = nlohmann::json::parse(entry->second, nullptr, false);
  if (!checksums.is_object()) fail("{}: its metadata entry '{}' cannot be read", source, kEntry);
  for (const auto& [name, tensor] : weights.tensors) {
    const auto expected = checksums.find(name);
    if (expected != checksums.end() && *expected != checksum_of(tensor)) {
      fail_in(source, "tensor {} is damaged (checksum)", name);
    }
  }
}

}  // namespace spatialmamba
