#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "spatialmamba/tensor.h"
#include "weights/pickle.h"

/// How PyTorch pickles tensors: a call of torch._utils._rebuild_tensor_v2(storage, offset, shape, strides,
/// ...), the storage being a persistent id ("storage", torch.FloatStorage, key, location, elements[, view]).
namespace spatialmamba {

/// Copying a strided tensor may need this many times the file's bytes altogether, and kFreeCopyBytes more.
inline constexpr std::uint64_t kMaxCopyFactor = 8;
inline constexpr std::uint64_t kFreeCopyBytes = std::uint64_t{1} << 26;
/// Dimensions of a tensor; PyTorch's own limit.
inline constexpr std::size_t kMaxDimensions = 64;
/// Parameter(Subclass(Tensor)) and the like.
inline constexpr int kMaxWrappers = 8;

/// What a persistent id says of a storage, in elements of its type.
struct StorageId {
  std::string key;
  std::string type;            ///< e.g. "FloatStorage"
  std::optional<DType> dtype;  ///< nothing for an untyped storage and for types that we do not have
  std::uint64_t element_bytes = 1;
  std::uint64_t elements = 0;     ///< of the storage as a whole
  std::uint64_t view_offset = 0;  ///< legacy files may name a part of a storage
  std::uint64_t view_elements = 0;

  std::uint64_t bytes() const { return elements * element_bytes; }
};

/// Throws Error when the persistent id is not that of a storage.
StorageId storage_id(const pickle::Persistent& persistent);

/// A tensor as the pickle describes it. Strides and offset count elements.
struct TensorLayout {
  StorageId storage;
  DType dtype = DType::f32;
  std::uint64_t offset = 0;
  Shape shape;
  Shape strides;

  bool contiguous() const;
};

/// The storage class of an element type: "FloatStorage".
std::string_view storage_type_of(DType dtype);

/// The strides of a dense row-major tensor, as PyTorch counts them: those of an empty one as if its empty
/// dimensions had one element.
Shape dense_strides(const Shape& shape);

/// True for a pickled tensor or parameter of any kind, also of a kind that layout_of() refuses.
bool is_tensor(const pickle::Value& value);

/// Throws Error (without names) for something that is not a plain tensor, and for one that reaches beyond its
/// storage.
TensorLayout layout_of(const pickle::Value& value);

/// Copies a strided tensor out of its storage (the bytes of storage.bytes()) into a dense one.
Tensor gather(const TensorLayout& layout, std::span<const std::byte> storage);

}  // namespace spatialmamba
