#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_map>
#include <vector>

#include "spatialmamba/error.h"

namespace spatialmamba {

/// Element types that weight files hold.
enum class DType : std::uint8_t { f64, f32, f16, bf16, i64, i32, i16, i8, u8, boolean };

/// Bytes of one element.
std::size_t size_of(DType dtype);

/// "F32", "BF16", "I64", "BOOL" …: the names that safetensors uses.
std::string_view name_of(DType dtype);

using Shape = std::vector<std::int64_t>;

/// Product of the dimensions (1 for a scalar). Throws Error for a negative dimension or on overflow.
std::int64_t element_count(const Shape& shape);

/// "[2, 3, 224, 224]".
std::string to_string(const Shape& shape);

template <typename T>
inline constexpr bool is_tensor_element = false;
template <>
inline constexpr bool is_tensor_element<double> = true;
template <>
inline constexpr bool is_tensor_element<float> = true;
template <>
inline constexpr bool is_tensor_element<std::int64_t> = true;
template <>
inline constexpr bool is_tensor_element<std::int32_t> = true;
template <>
inline constexpr bool is_tensor_element<std::uint8_t> = true;

template <typename T>
constexpr DType dtype_of() {
  static_assert(is_tensor_element<T>);
  if constexpr (std::is_same_v<T, double>) return DType::f64;
  if constexpr (std::is_same_v<T, float>) return DType::f32;
  if constexpr (std::is_same_v<T, std::int64_t>) return DType::i64;
  if constexpr (std::is_same_v<T, std::int32_t>) return DType::i32;
  return DType::u8;
}

/// A dense row-major array of a known type. Copies share the bytes, which may belong to a mapped file: they
/// are read-only except through mutable_data() of a tensor that was allocated here and is not shared.
class Tensor {
 public:
  Tensor() = default;
  /// Zero-initialised storage of its own, 64-byte aligned.
  Tensor(DType dtype, Shape shape);
  /// Where the bytes of a view come from.
  enum class Backing : std::uint8_t { memory, mapped_file };
  /// Views bytes that `owner` keeps alive. `bytes` must equal the shape's size; throws Error otherwise.
  Tensor(DType dtype, Shape shape, const std::byte* data, std::size_t bytes,
         std::shared_ptr<const void> owner, Backing backing = Backing::memory);

  template <typename T>
  static Tensor from(Shape shape, const std::vector<T>& values);

  DType dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }
  std::int64_t numel() const { return numel_; }
  std::size_t bytes() const { return static_cast<std::size_t>(numel_) * size_of(dtype_); }
  const std::byte* raw() const { return data_; }
  /// Throws Error where the storage belongs to somebody else (a mapped file).
  std::byte* mutable_raw();

  /// The elements as T. Throws Error when T is not the element type. The pointer may be unaligned for T where
  /// the tensor views a file; values() copes with that.
  template <typename T>
  const T* data() const {
    require(dtype_of<T>());
    return reinterpret_cast<const T*>(data_);
  }
  template <typename T>
  T* mutable_data() {
    require(dtype_of<T>());
    return reinterpret_cast<T*>(mutable_raw());
  }
  /// Lets the system take back the memory of a tensor that views a mapped file, which is read again when it
  /// is next needed. Nothing happens to others.
  void drop_pages() const;
  /// A copy of the elements as T, which must be the element type.
  template <typename T>
  std::vector<T> values() const;

 private:
  void require(DType wanted) const;

  DType dtype_ = DType::f32;
  Shape shape_ = {0};
  std::int64_t numel_ = 0;
  const std::byte* data_ = nullptr;
  bool own_storage_ = false;
  Backing backing_ = Backing::memory;
  std::shared_ptr<const void> owner_;
};

/// Tensors by name, in the order in which they were added (a state dictionary).
class TensorMap {
 public:
  struct Entry {
    std::string name;
    Tensor tensor;
  };

  /// Throws Error when the name exists.
  void add(std::string name, Tensor tensor);
  bool contains(std::string_view name) const { return find(name) != nullptr; }
  /// nullptr when there is none.
  const Tensor* find(std::string_view name) const;
  /// Throws Error when there is none.
  const Tensor& at(std::string_view name) const;

  std::size_t size() const { return entries_.size(); }
  bool empty() const { return entries_.empty(); }
  auto begin() const { return entries_.begin(); }
  auto end() const { return entries_.end(); }

 private:
  std::vector<Entry> entries_;
  std::unordered_map<std::string, std::size_t> index_;
};

template <typename T>
Tensor Tensor::from(Shape shape, const std::vector<T>& values) {
  Tensor tensor(dtype_of<T>(), std::move(shape));
  if (static_cast<std::size_t>(tensor.numel()) != values.size()) {
    throw Error("tensor of shape " + to_string(tensor.shape()) + " given " + std::to_string(values.size()) +
                " values");
  }
  std::copy(values.begin(), values.end(), tensor.mutable_data<T>());
  return tensor;
}

template <typename T>
std::vector<T> Tensor::values() const {
  require(dtype_of<T>());
  std::vector<T> out(static_cast<std::size_t>(numel_));
  std::copy(data_, data_ + bytes(), reinterpret_cast<std::byte*>(out.data()));
  return out;
}

}  // namespace spatialmamba
