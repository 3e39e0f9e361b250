#include "weights/torch_tensor.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "weights/tensor_bytes.h"

namespace spatialmamba {
namespace {

using pickle::Value;

struct StorageType {
  std::string_view name;
  std::optional<DType> dtype;
  std::uint64_t element_bytes;
};

constexpr StorageType kStorageTypes[] = {
    {"DoubleStorage", DType::f64, 8},
    {"FloatStorage", DType::f32, 4},
    {"HalfStorage", DType::f16, 2},
    {"BFloat16Storage", DType::bf16, 2},
    {"LongStorage", DType::i64, 8},
    {"IntStorage", DType::i32, 4},
    {"ShortStorage", DType::i16, 2},
    {"CharStorage", DType::i8, 1},
    {"ByteStorage", DType::u8, 1},
    {"BoolStorage", DType::boolean, 1},
    // Only to be stepped over: tensors of these types cannot be read.
    {"UntypedStorage", std::nullopt, 1},
    {"_UntypedStorage", std::nullopt, 1},
    {"ComplexFloatStorage", std::nullopt, 8},
    {"ComplexDoubleStorage", std::nullopt, 16},
    {"QInt8Storage", std::nullopt, 1},
    {"QUInt8Storage", std::nullopt, 1},
    {"QInt32Storage", std::nullopt, 4},
};

constexpr std::pair<std::string_view, DType> kTorchDTypes[] = {
    {"float64", DType::f64}, {"double", DType::f64}, {"float32", DType::f32},   {"float", DType::f32},
    {"float16", DType::f16}, {"half", DType::f16},   {"bfloat16", DType::bf16}, {"int64", DType::i64},
    {"long", DType::i64},    {"int32", DType::i32},  {"int", DType::i32},       {"int16", DType::i16},
    {"short", DType::i16},   {"int8", DType::i8},    {"uint8", DType::u8},      {"bool", DType::boolean},
};

/// Largest count that is believed: far beyond memory, and bytes of it still fit 64 bits.
constexpr std::int64_t kMaxElements = std::int64_t{1} << 48;

std::uint64_t count_of(const Value& value, std::string_view what) {
  const std::optional<std::int64_t> count = value.integer();
  if (!count || *count < 0 || *count > kMaxElements) fail("the {} is not a plausible number", what);
  return static_cast<std::uint64_t>(*count);
}

Shape numbers_of(const Value& value, std::string_view what) {
  const Value* list = &value;
  // torch.Size((64, 3)) instead of (64, 3)
  if (const auto* object = value.as<pickle::Object>();
      object != nullptr && !object->arguments->items().empty()) {
    list = object->arguments->items()[0];
  }
  if (list->as<pickle::Tuple>() == nullptr && list->as<pickle::List>() == nullptr)
    fail("the {} is not a tuple", what);
  const auto items = list->items();
  if (items.size() > kMaxDimensions) fail("the {} has {} dimensions", what, items.size());
  Shape numbers;
  for (const Value* item : items) numbers.push_back(static_cast<std::int64_t>(count_of(*item, what)));
  return numbers;
}

/// A call as the pickle states it: of an object, or of what such a call hands on.
struct Call {
  const pickle::Global* function;
  const Value* arguments;
};

Call call_of(const Value& value) {
  const pickle::Global* function = value.constructor();
  if (function == nullptr) fail("is not a tensor");
  return {function, value.as<pickle::Object>()->arguments};
}

bool is_rebuild(const pickle::Global& function) {
  return (function.module == "torch._utils" || function.module == "torch._tensor") &&
         function.name.starts_with("_rebuild_");
}

/// Follows parameters and tensor subclasses down to the call that makes the plain tensor.
Call unwrap(const Value& value) {
  Call call = call_of(value);
  for (int depth = 0; depth < kMaxWrappers; ++depth) {
    const auto arguments = call.arguments->items();
    const std::string& name = call.function->name;
    if (!is_rebuild(*call.function)) fail("is made by {}, which is not a tensor", call.function->full());
    if (name.starts_with("_rebuild_parameter") && !arguments.empty()) {
      call = call_of(*arguments[0]);
    } else if (name == "_rebuild_from_type_v2" && arguments.size() >= 3) {
      call = {arguments[0]->as<pickle::Global>(), arguments[2]};
      if (call.function == nullptr) fail("is made by an unknown function");
    } else {
      return call;
    }
  }
  fail("is wrapped more than {} times", kMaxWrappers);
}

DType named_dtype(const Value& value) {
  const auto* global = value.as<pickle::Global>();
  if (global != nullptr && global->module == "torch") {
    for (const auto& [name, dtype] : kTorchDTypes) {
      if (name == global->name) return dtype;
    }
  }
  fail("has the element type {}, which is not supported", global == nullptr ? "?" : global->full());
}

void require_inside(const TensorLayout& layout) {
  const std::uint64_t available =
      layout.storage.view_elements * layout.storage.element_bytes / size_of(layout.dtype);
  if (layout.shape.size() != layout.strides.size())
    fail("has {} dimensions and {} strides", layout.shape.size(), layout.strides.size());
  byte_count(layout.dtype, layout.shape);  // refuses overflow
  if (element_count(layout.shape) == 0) return;
  std::int64_t last = static_cast<std::int64_t>(layout.offset);
  for (std::size_t i = 0; i < layout.shape.size(); ++i) {
    std::int64_t reach = 0;
    if (__builtin_mul_overflow(layout.shape[i] - 1, layout.strides[i], &reach) ||
        __builtin_add_overflow(last, reach, &last)) {
      fail("of shape {} has impossible strides {}", to_string(layout.shape), to_string(layout.strides));
    }
  }
  if (static_cast<std::uint64_t>(last) >= available) {
    fail("of shape {}, strides {} and offset {} reaches beyond its storage of {} elements",
         to_string(layout.shape), to_string(layout.strides), layout.offset, available);
  }
}

template <std::size_t kElementBytes>
void gather_elements(const TensorLayout& layout, const std::byte* source, std::byte* target) {
  const std::size_t rank = layout.shape.size();
  const std::int64_t row = rank == 0 ? 1 : layout.shape.back();
  const std::int64_t step = rank == 0 ? 0 : layout.strides.back();
  const std::int64_t rows = element_count(layout.shape) / row;
  Shape index(rank, 0);
  std::int64_t start = static_cast<std::int64_t>(layout.offset);
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t i = 0; i < row; ++i) {
      std::memcpy(target, source + static_cast<std::size_t>(start + i * step) * kElementBytes, kElementBytes);
      target += kElementBytes;
    }
    for (std::size_t d = rank > 0 ? rank - 1 : 0; d-- > 0;) {
      start += layout.strides[d];
      if (++index[d] < layout.shape[d]) break;
      start -= layout.strides[d] * layout.shape[d];
      index[d] = 0;
    }
  }
}

}  // namespace

StorageId storage_id(const pickle::Persistent& persistent) {
  const auto parts = persistent.id->items();
  if (persistent.id->as<pickle::Tuple>() == nullptr || parts.size() < 5 || parts[0]->text() != "storage") {
    fail("refers to something that is not a storage");
  }
  const auto* type = parts[1]->as<pickle::Global>();
  const auto key = parts[2]->text();
  if (type == nullptr || !key) fail("refers to a storage without a type or a key");
  StorageId id;
  id.key = *key;
  id.type = type->name;
  const auto known = std::ranges::find(kStorageTypes, type->name, &StorageType::name);
  if (known == std::end(kStorageTypes) || !type->module.starts_with("torch")) {
    fail("refers to a storage of the unknown type {}", type->full());
  }
  id.dtype = known->dtype;
  id.element_bytes = known->element_bytes;
  id.elements = count_of(*parts[4], "size of a storage");
  id.view_elements = id.elements;
  if (parts.size() > 5 && !parts[5]->is_none()) {  // (key, offset, elements)
    const auto view = parts[5]->items();
    if (view.size() != 3) fail("refers to an unknown kind of part of a storage");
    id.view_offset = count_of(*view[1], "offset of a storage");
    id.view_elements = count_of(*view[2], "size of a storage");
    if (id.view_offset > id.elements || id.view_elements > id.elements - id.view_offset) {
      fail("refers to a part outside its storage");
    }
  }
  return id;
}

std::string_view storage_type_of(DType dtype) {
  return std::ranges::find(kStorageTypes, std::optional(dtype), &StorageType::dtype)->name;
}

Shape dense_strides(const Shape& shape) {
  Shape strides(shape.size());
  std::int64_t step = 1;
  for (std::size_t i = shape.size(); i-- > 0;) {
    strides[i] = step;
    step *= std::max<std::int64_t>(shape[i], 1);
  }
  return strides;
}

bool TensorLayout::contiguous() const {
  if (element_count(shape) == 0) return true;
  const Shape dense = dense_strides(shape);
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] != 1 && strides[i] != dense[i]) return false;
  }
  return true;
}

bool is_tensor(const Value& value) {
  const pickle::Global* function = value.constructor();
  return function != nullptr && is_rebuild(*function);
}

TensorLayout layout_of(const Value& value) {
  const Call call = unwrap(value);
  const auto arguments = call.arguments->items();
  const std::string& name = call.function->name;
  const bool typed = name == "_rebuild_tensor_v3";  // (..., requires_grad, hooks, dtype, ...)
  if (!typed && name != "_rebuild_tensor" && name != "_rebuild_tensor_v2") {
    fail("is made by {}, which is not a plain tensor", call.function->full());
  }
  if (arguments.size() < (typed ? 7U : 4U)) fail("is described by {} values only", arguments.size());
  const auto* persistent = arguments[0]->as<pickle::Persistent>();
  if (persistent == nullptr) fail("has no storage");
  TensorLayout layout;
  layout.storage = storage_id(*persistent);
  layout.offset = count_of(*arguments[1], "offset");
  layout.shape = numbers_of(*arguments[2], "shape");
  layout.strides = numbers_of(*arguments[3], "strides");
  if (typed) {
    layout.dtype = named_dtype(*arguments[6]);
  } else if (layout.storage.dtype) {
    layout.dtype = *layout.storage.dtype;
  } else {
    fail("has the element type of {}, which is not supported", layout.storage.type);
  }
  require_inside(layout);
  return layout;
}

Tensor gather(const TensorLayout& layout, std::span<const std::byte> storage) {
  Tensor tensor(layout.dtype, layout.shape);
  if (tensor.numel() == 0) return tensor;
  const std::byte* source = storage.data() + layout.storage.view_offset * layout.storage.element_bytes;
  switch (size_of(layout.dtype)) {
    case 8:
      gather_elements<8>(layout, source, tensor.mutable_raw());
      break;
    case 4:
      gather_elements<4>(layout, source, tensor.mutable_raw());
      break;
    case 2:
      gather_elements<2>(layout, source, tensor.mutable_raw());
      break;
    default:
      gather_elements<1>(layout, source, tensor.mutable_raw());
  }
  return tensor;
}

}  // namespace spatialmamba
