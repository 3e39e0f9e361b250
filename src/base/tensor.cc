#include "spatialmamba/tensor.h"

#include <sys/mman.h>
#include <unistd.h>

#include <new>

#include "base/error.h"

namespace spatialmamba {
namespace {

constexpr std::align_val_t kAlignment{64};

std::shared_ptr<std::byte> allocate_zeroed(std::size_t bytes) {
  if (bytes == 0) bytes = 1;
  auto* memory = static_cast<std::byte*>(::operator new(bytes, kAlignment));
  std::fill_n(memory, bytes, std::byte{0});
  return {memory, [](std::byte* p) { ::operator delete(p, kAlignment); }};
}

}  // namespace

std::size_t size_of(DType dtype) {
  switch (dtype) {
    case DType::f64:
    case DType::i64:
      return 8;
    case DType::f32:
    case DType::i32:
      return 4;
    case DType::f16:
    case DType::bf16:
    case DType::i16:
      return 2;
    case DType::i8:
    case DType::u8:
    case DType::boolean:
      return 1;
  }
  fail("unknown element type {}", static_cast<int>(dtype));
}

std::string_view name_of(DType dtype) {
  switch (dtype) {
    case DType::f64:
      return "F64";
    case DType::f32:
      return "F32";
    case DType::f16:
      return "F16";
    case DType::bf16:
      return "BF16";
    case DType::i64:
      return "I64";
    case DType::i32:
      return "I32";
    case DType::i16:
      return "I16";
    case DType::i8:
      return "I8";
    case DType::u8:
      return "U8";
    case DType::boolean:
      return "BOOL";
  }
  fail("unknown element type {}", static_cast<int>(dtype));
}

std::int64_t element_count(const Shape& shape) {
  std::int64_t count = 1;
  for (const std::int64_t size : shape) {
    if (size < 0) fail("shape {} has a negative dimension", to_string(shape));
    if (__builtin_mul_overflow(count, size, &count)) fail("shape {} overflows", to_string(shape));
  }
  return count;
}

std::string to_string(const Shape& shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }

Tensor::Tensor(DType dtype, Shape shape) : dtype_(dtype), shape_(std::move(shape)), own_storage_(true) {
  numel_ = element_count(shape_);
  std::int64_t size = 0;
  if (__builtin_mul_overflow(numel_, static_cast<std::int64_t>(size_of(dtype)), &size)) {
    fail("shape {} overflows", to_string(shape_));
  }
  auto storage = allocate_zeroed(static_cast<std::size_t>(size));
  data_ = storage.get();
  owner_ = std::move(storage);
}

Tensor::Tensor(DType dtype, Shape shape, const std::byte* data, std::size_t bytes,
               std::shared_ptr<const void> owner, Backing backing)
    : dtype_(dtype), shape_(std::move(shape)), data_(data), backing_(backing), owner_(std::move(owner)) {
  numel_ = element_count(shape_);
  std::int64_t expected = 0;
  if (__builtin_mul_overflow(numel_, static_cast<std::int64_t>(size_of(dtype)), &expected) ||
      static_cast<std::uint64_t>(expected) != bytes) {
    fail("a tensor of shape {} and type {} does not have {} bytes", to_string(shape_), name_of(dtype), bytes);
  }
}

std::byte* Tensor::mutable_raw() {
  if (!own_storage_) fail("this tensor views a file and cannot be written");
  return const_cast<std::byte*>(data_);  // allocated by this class
}

void Tensor::drop_pages() const {
  if (backing_ != Backing::mapped_file) return;
  // Whole pages only: the first and the last one hold parts of the neighbours.
  static const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto address = reinterpret_cast<std::uintptr_t>(data_);
  const std::uintptr_t begin = (address + page - 1) / page * page;
  const std::uintptr_t end = (address + bytes()) / page * page;
  if (begin < end) ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

void Tensor::require(DType wanted) const {
  if (wanted != dtype_) fail("tensor holds {}, expected {}", name_of(dtype_), name_of(wanted));
}

void TensorMap::add(std::string name, Tensor tensor) {
  if (!index_.emplace(name, entries_.size()).second) fail("tensor '{}' occurs twice", name);
  entries_.push_back({std::move(name), std::move(tensor)});
}

const Tensor* TensorMap::find(std::string_view name) const {
  const auto it = index_.find(std::string(name));
  return it == index_.end() ? nullptr : &entries_[it->second].tensor;
}

const Tensor& TensorMap::at(std::string_view name) const {
  const Tensor* tensor = find(name);
  if (tensor == nullptr) fail("there is no tensor '{}'", name);
  return *tensor;
}

}  // namespace spatialmamba
