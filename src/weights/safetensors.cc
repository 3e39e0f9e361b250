#include "weights/safetensors.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "base/error.h"
#include "base/file.h"
#include "weights/safetensors_header.h"

namespace spatialmamba {
namespace {

constexpr std::size_t kLengthBytes = sizeof(std::uint64_t);
constexpr DType kDTypes[] = {DType::f64, DType::f32, DType::f16, DType::bf16, DType::i64,
                             DType::i32, DType::i16, DType::i8,  DType::u8,   DType::boolean};

DType dtype_named(const SafetensorsEntry& entry) {
  for (const DType dtype : kDTypes) {
    if (name_of(dtype) == entry.dtype) return dtype;
  }
  fail("'{}' has the element type '{}', which is not supported", entry.name, entry.dtype);
}

std::uint64_t header_length(std::span<const std::byte> bytes) {
  std::uint64_t length = 0;
  std::memcpy(&length, bytes.data(), kLengthBytes);
  return length;
}

/// The data must be covered exactly once.
void require_exact_cover(const std::vector<SafetensorsEntry>& entries, std::uint64_t data_bytes) {
  std::vector<const SafetensorsEntry*> sorted;
  sorted.reserve(entries.size());
  for (const SafetensorsEntry& entry : entries) sorted.push_back(&entry);
  std::ranges::sort(sorted, {}, [](const SafetensorsEntry* entry) { return entry->offsets; });
  std::uint64_t position = 0;
  for (const SafetensorsEntry* entry : sorted) {
    if (entry->offsets[0] != position) {
      fail("'{}' begins at byte {} of the data, expected {} (no gap, no overlap)", entry->name,
           entry->offsets[0], position);
    }
    position = entry->offsets[1];
  }
  if (position != data_bytes) fail("the tensors cover {} bytes of data, found {}", position, data_bytes);
}

Tensor tensor_of(const SafetensorsEntry& entry, std::span<const std::byte> data,
                 const Source& source) {
  const auto [begin, end] = entry.offsets;
  if (begin > end || end > data.size()) {
    fail("'{}' lies at bytes {} to {} of {} bytes of data", entry.name, begin, end, data.size());
  }
  const DType dtype = dtype_named(entry);
  const std::uint64_t expected = byte_count(dtype, entry.shape);
  if (expected != end - begin) {
    fail("'{}' of shape {} and type {} needs {} bytes, found {}", entry.name, to_string(entry.shape),
         entry.dtype, expected, end - begin);
  }
  return view_or_copy(dtype, entry.shape, data.subspan(begin, end - begin), source.owner, source.backing);
}

Weights parse(const Source& source) {
  const std::span<const std::byte> bytes = source.bytes;
  if (bytes.size() < kLengthBytes) fail("too short: {} bytes", bytes.size());
  const std::uint64_t length = header_length(bytes);
  if (length > kMaxSafetensorsHeader)
    fail("a header of {} bytes, at most {} are read", length, kMaxSafetensorsHeader);
  if (length > bytes.size() - kLengthBytes) {
    fail("a header of {} bytes, found {}", length, bytes.size() - kLengthBytes);
  }
  SafetensorsHeader header = parse_safetensors_header(
      {reinterpret_cast<const char*>(bytes.data()) + kLengthBytes, static_cast<std::size_t>(length)});
  const std::span<const std::byte> data = bytes.subspan(kLengthBytes + static_cast<std::size_t>(length));
  require_exact_cover(header.entries, data.size());
  Weights weights;
  weights.metadata = std::move(header.metadata);
  for (const SafetensorsEntry& entry : header.entries) {
    weights.tensors.add(entry.name, tensor_of(entry, data, source));
  }
  return weights;
}

}  // namespace

bool looks_like_safetensors(std::span<const std::byte> bytes) {
  return bytes.size() > kLengthBytes && header_length(bytes) <= kMaxSafetensorsHeader &&
         bytes[kLengthBytes] == std::byte{'{'};
}

Weights parse_safetensors(const Source& source) {
  try {
    return parse(source);
  } catch (const Error& error) {
    fail_in(source.name, "not a valid safetensors file: {}", error.what());
  }
}

Weights read_safetensors(const std::filesystem::path& path) {
  return parse_safetensors(open_source(path));
}

void write_safetensors(const std::filesystem::path& path, const Weights& weights) {
  std::vector<const TensorMap::Entry*> layout;
  layout.reserve(weights.tensors.size());
  for (const TensorMap::Entry& entry : weights.tensors) layout.push_back(&entry);
  std::vector<std::size_t> order(layout.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  // Widest elements first: nothing may stand between tensors, so this alone keeps every one of them aligned.
  std::ranges::stable_sort(order, std::ranges::greater{},
                           [&](std::size_t i) { return size_of(layout[i]->tensor.dtype()); });

  SafetensorsHeader header;
  header.metadata = weights.metadata;
  header.entries.resize(layout.size());
  std::uint64_t position = 0;
  for (const std::size_t i : order) {
    const Tensor& tensor = layout[i]->tensor;
    header.entries[i] = {layout[i]->name,
                         std::string(name_of(tensor.dtype())),
                         tensor.shape(),
                         {position, position + tensor.bytes()}};
    position += tensor.bytes();
  }
  const std::string text = format_safetensors_header(header);
  const std::uint64_t length = text.size();

  AtomicFile file(path);
  file.write(&length, sizeof(length));
  file.write(text);
  for (const std::size_t i : order) file.write(layout[i]->tensor.raw(), layout[i]->tensor.bytes());
  file.commit();
}

}  // namespace spatialmamba
