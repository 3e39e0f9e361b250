#include "weights/pickle.h"

namespace spatialmamba::pickle {
namespace {

/// What a constructor such as OrderedDict([[key, value], ...]) or Counter({key: value}) was given.
std::optional<Entries> entries_of_argument(const Value& argument) {
  if (const Dict* dict = argument.as<Dict>()) return dict->entries;
  const List* list = argument.as<List>();
  if (list == nullptr) return std::nullopt;
  Entries entries;
  for (const Value* pair : list->items) {
    const auto parts = pair->items();
    if (parts.size() != 2) return std::nullopt;
    entries.emplace_back(parts[0], parts[1]);
  }
  return entries;
}

}  // namespace

std::optional<std::int64_t> Value::integer() const {
  if (const auto* value = as<std::int64_t>()) return *value;
  return std::nullopt;
}

std::optional<double> Value::number() const {
  if (const auto* value = as<double>()) return *value;
  if (const auto* value = as<std::int64_t>()) return static_cast<double>(*value);
  return std::nullopt;
}

std::optional<std::string_view> Value::text() const {
  if (const auto* value = as<Text>()) return value->value;
  return std::nullopt;
}

std::span<const Value* const> Value::items() const {
  if (const auto* list = as<List>()) return list->items;
  if (const auto* tuple = as<Tuple>()) return tuple->items;
  if (const auto* set = as<Set>()) return set->items;
  if (const auto* object = as<Object>()) return object->items;
  return {};
}

std::optional<Entries> Value::entries() const {
  if (const auto* dict = as<Dict>()) return dict->entries;
  const auto* object = as<Object>();
  if (object == nullptr) return std::nullopt;
  if (!object->entries.empty()) return object->entries;
  const auto arguments = object->arguments->items();
  if (arguments.size() == 1) return entries_of_argument(*arguments[0]);
  const Global* type = constructor();
  if (arguments.empty() && type != nullptr && type->full() == "collections.OrderedDict") return Entries{};
  return std::nullopt;
}

const Value* Value::find(std::string_view key) const {
  const std::optional<Entries> all = entries();
  if (!all) return nullptr;
  // As in Python, the last one of a key counts.
  for (auto entry = all->rbegin(); entry != all->rend(); ++entry) {
    if (entry->first->text() == key) return entry->second;
  }
  return nullptr;
}

const Global* Value::constructor() const {
  const auto* object = as<Object>();
  return object == nullptr ? nullptr : object->callable->as<Global>();
}

}  // namespace spatialmamba::pickle
