#include "weights/checkpoint.h"

#include <algorithm>
#include <set>

#include "base/error.h"
#include "archive/cursor.h"
#include "weights/safetensors.h"
#include "weights/torch_tensor.h"

namespace spatialmamba {
namespace {

using pickle::Value;

/// 0x1950a86a20f9469cfc6c as the first pickle of a legacy file has it.
constexpr std::string_view kLegacyMagic("\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", 10);
constexpr std::int64_t kLegacyProtocol = 1001;
/// Keys under which training programs keep the state dictionary, the usual one first.
constexpr std::string_view kStateKeys[] = {"model", "state_dict"};

std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

bool looks_like_legacy(std::span<const std::byte> bytes) {
  // Before the number stand PROTO, in newer protocols FRAME, and LONG1 with their operands.
  constexpr std::size_t kLongestBefore = 13;
  const auto start = as_text(bytes.first(std::min(bytes.size(), kLongestBefore + kLegacyMagic.size())));
  return start.find(kLegacyMagic) != std::string_view::npos;
}

std::string name_of_key(const Value& key) {
  if (const auto text = key.text()) return std::string(*text);
  if (const auto integer = key.integer()) return std::to_string(*integer);
  return "?";
}

std::string kind_of(const Value& value) {
  if (is_tensor(value)) return "a tensor";
  if (const pickle::Global* type = value.constructor()) return "an object of class " + type->full();
  if (value.as<pickle::Dict>() != nullptr) return "a dictionary";
  if (value.text()) return "a text";
  if (value.number()) return "a number";
  if (value.is_none()) return "None";
  return "something else";
}

bool holds_only_tensors(const pickle::Entries& entries) {
  return !entries.empty() && std::ranges::all_of(entries, [](const auto& entry) {
    return entry.first->text().has_value() && is_tensor(*entry.second);
  });
}

/// The tensors `KEY/NAME` of a training run's .safetensors file, called NAME; by default those of the usual
/// key or, in a plain weights file, all of them.
Weights section_of(Weights weights, const std::string& key, const std::string& file) {
  std::set<std::string> keys;
  for (const auto& [name, tensor] : weights.tensors) {
    if (const std::size_t slash = name.find('/'); slash != std::string::npos)
      keys.insert(name.substr(0, slash));
  }
  const std::string wanted(key.empty() ? kStateKeys[0] : key);
  if (!keys.contains(wanted)) {
    if (key.empty()) return weights;
    if (keys.empty()) fail_in(file, "has no '{}': it holds one set of weights, and no keys", key);
    fail_in(file, "has no '{}'; its keys are {}", key, fmt::join(keys, ", "));
  }
  TensorMap section;
  for (const auto& [name, tensor] : weights.tensors) {
    if (name.starts_with(wanted + '/')) section.add(name.substr(wanted.size() + 1), tensor);
  }
  weights.tensors = std::move(section);
  return weights;
}

}  // namespace

bool looks_like_checkpoint(std::span<const std::byte> bytes) {
  return looks_like_zip(bytes) || looks_like_legacy(bytes);
}

Checkpoint Checkpoint::open(const std::filesystem::path& path) {
  return parse(open_source(path));
}

Checkpoint Checkpoint::parse(Source source) {
  const std::string name = source.name;
  try {
    if (looks_like_zip(source.bytes)) return from_zip(std::move(source));
    if (looks_like_legacy(source.bytes)) return from_legacy(std::move(source));
  } catch (const Error& error) {
    fail_in(name, "not a readable PyTorch checkpoint: {}", error.what());
  }
  fail_in(name, "not a PyTorch checkpoint: it begins like neither of the two formats of torch.save");
}

Checkpoint Checkpoint::from_zip(Source source) {
  ZipReader zip(source);
  constexpr std::string_view kPickle = "data.pkl";
  const auto is_pickle = [&](const ZipReader::Entry& entry) {
    return entry.name.ends_with(kPickle) && entry.name.find('/') == entry.name.size() - kPickle.size() - 1;
  };
  const auto pickle_entry = std::ranges::find_if(zip.entries(), is_pickle);
  if (pickle_entry == zip.entries().end()) fail("the zip archive has no data.pkl");
  std::string folder = pickle_entry->name.substr(0, pickle_entry->name.size() - kPickle.size());
  if (zip.find(folder + "constants.pkl") != nullptr) {
    fail("it is a TorchScript program; save the state dictionary of the model instead");
  }
  if (const ZipReader::Entry* order = zip.find(folder + "byteorder")) {
    const Record record = zip.read(*order);
    if (as_text(record.bytes) != "little") fail("byte order '{}', expected 'little'", as_text(record.bytes));
  }
  if (pickle_entry->bytes > pickle::kMaxBytes) {
    fail("a pickle of {} bytes, at most {} are read", pickle_entry->bytes, pickle::kMaxBytes);
  }
  Checkpoint checkpoint(std::move(source), pickle::parse(zip.read(*pickle_entry).bytes));
  checkpoint.zip_ = std::move(zip);
  checkpoint.folder_ = std::move(folder);
  return checkpoint;
}

Checkpoint Checkpoint::from_legacy(Source source) {
  // Five pickles (magic number, protocol, system, the object, storage keys), then for each key the number of
  // elements and the elements.
  std::size_t position = 0;
  const auto next = [&] {
    pickle::Tree tree = pickle::parse(source.bytes.subspan(position));
    position += tree.bytes();
    return tree;
  };
  next();
  if (next().root().integer() != kLegacyProtocol) fail("another protocol than {}", kLegacyProtocol);
  const pickle::Tree system = next();
  const Value* little = system.root().find("little_endian");
  if (little == nullptr || little->as<bool>() == nullptr || !*little->as<bool>())
    fail("it is not little-endian");
  pickle::Tree tree = next();
  std::unordered_map<std::string, StorageId> known;
  for (const Value& value : tree.values()) {
    const auto* persistent = value.as<pickle::Persistent>();
    if (persistent == nullptr) continue;
    StorageId id = storage_id(*persistent);
    const auto [entry, added] = known.emplace(id.key, id);
    if (!added && entry->second.bytes() != id.bytes()) fail("storage '{}' has two sizes", id.key);
  }
  const pickle::Tree keys = next();
  Cursor cursor(source.bytes, position);
  std::unordered_map<std::string, Record> storages;
  for (const Value* value : keys.root().items()) {
    const std::string key = name_of_key(*value);
    const auto found = known.find(key);
    if (found == known.end()) fail("storage '{}' belongs to no tensor", key);
    const auto elements = cursor.read<std::uint64_t>();
    if (elements != found->second.elements) {
      fail("storage '{}' has {} elements, expected {}", key, elements, found->second.elements);
    }
    storages[key] = {cursor.take(found->second.bytes()), source.owner};
  }
  if (cursor.left() != 0) fail("{} bytes are left over at the end", cursor.left());
  Checkpoint checkpoint(std::move(source), std::move(tree));
  checkpoint.storages_ = std::move(storages);
  return checkpoint;
}

std::vector<std::string> Checkpoint::keys() const {
  std::vector<std::string> keys;
  if (const auto entries = root().entries()) {
    for (const auto& entry : *entries) keys.push_back(name_of_key(*entry.first));
  }
  return keys;
}

std::string Checkpoint::describe_keys() const {
  std::vector<std::string> all = keys();
  const std::size_t count = all.size();
  if (count > kMaxListedKeys) all.resize(kMaxListedKeys);
  return fmt::format("its keys are {}{}", fmt::join(all, ", "),
                     count > kMaxListedKeys ? fmt::format(", ... ({} in all)", count) : "");
}

Record Checkpoint::storage(const std::string& key, std::uint64_t bytes) {
  auto found = storages_.find(key);
  if (found == storages_.end()) {
    const ZipReader::Entry* entry = zip_ ? zip_->find(folder_ + "data/" + key) : nullptr;
    if (entry == nullptr) fail("has the storage '{}', which is not in the file", key);
    found = storages_.emplace(key, zip_->read(*entry)).first;
  }
  if (found->second.bytes.size() != bytes) {
    fail("has the storage '{}' of {} bytes, found {}", key, bytes, found->second.bytes.size());
  }
  return found->second;
}

void Checkpoint::charge(std::uint64_t bytes) {
  const std::uint64_t limit = kFreeCopyBytes + kMaxCopyFactor * source_.bytes.size();
  if (bytes > limit - copied_) fail("needs more memory than the whole file is worth ({} bytes)", limit);
  copied_ += bytes;
}

Tensor Checkpoint::read_tensor(const Value& value) {
  const TensorLayout layout = layout_of(value);
  const Record record = storage(layout.storage.key, layout.storage.bytes());
  const std::uint64_t bytes = byte_count(layout.dtype, layout.shape);
  if (!layout.contiguous()) {
    charge(bytes);
    return gather(layout, record.bytes);
  }
  const std::uint64_t begin = bytes == 0 ? 0
                                         : layout.storage.view_offset * layout.storage.element_bytes +
                                               layout.offset * size_of(layout.dtype);
  const auto part = record.bytes.subspan(begin, bytes);
  if (!is_aligned(part.data(), layout.dtype)) charge(bytes);
  return view_or_copy(layout.dtype, layout.shape, part, record.owner);
}

Tensor Checkpoint::tensor(const Value& value, std::string_view what) {
  try {
    return read_tensor(value);
  } catch (const Error& error) {
    fail_in(source_.name, "'{}' {}", what, error.what());
  }
}

TensorMap Checkpoint::state_dict(const Value& value, std::string_view what) {
  const auto entries = value.entries();
  if (!entries) fail_in(source_.name, "'{}' is {}, expected a state dictionary", what, kind_of(value));
  TensorMap tensors;
  for (const auto& [key, content] : *entries) {
    if (!key->text()) fail_in(source_.name, "'{}' has a key that is not a text", what);
    std::string name(*key->text());
    if (!is_tensor(*content)) {
      fail_in(source_.name, "'{}' of '{}' is {}, expected a tensor", name, what, kind_of(*content));
    }
    if (tensors.contains(name)) fail_in(source_.name, "'{}' has '{}' twice", what, name);
    Tensor read = tensor(*content, name);
    tensors.add(std::move(name), std::move(read));
  }
  return tensors;
}

TensorMap Checkpoint::state_dict_at(const std::string& key) {
  const auto entries = root().entries();
  if (!entries) fail_in(source_.name, "holds {}, expected a dictionary", kind_of(root()));
  if (!key.empty()) {
    const Value* value = root().find(key);
    if (value == nullptr) fail_in(source_.name, "has no '{}'; {}", key, describe_keys());
    return state_dict(*value, key);
  }
  for (const std::string_view usual : kStateKeys) {
    const Value* value = root().find(usual);
    if (value != nullptr && !is_tensor(*value)) return state_dict(*value, usual);
  }
  if (!holds_only_tensors(*entries)) {
    fail_in(source_.name, "has no '{}' and is no state dictionary itself; {}",
            fmt::join(kStateKeys, "', no '"), describe_keys());
  }
  return state_dict(root(), "state dictionary");
}

Weights parse_pth(Source source, const std::string& key) {
  Checkpoint checkpoint = Checkpoint::parse(std::move(source));
  Weights weights;
  weights.tensors = checkpoint.state_dict_at(key);
  const Value* metadata = checkpoint.root().find(kMetadataKey);
  if (metadata == nullptr) return weights;
  for (const auto& [name, text] : metadata->entries().value_or(pickle::Entries{})) {
    if (name->text() && text->text()) weights.metadata[std::string(*name->text())] = *text->text();
  }
  return weights;
}

Weights parse_weights(Source source, const std::string& key) {
  if (looks_like_checkpoint(source.bytes)) return parse_pth(std::move(source), key);
  if (looks_like_safetensors(source.bytes)) return section_of(parse_safetensors(source), key, source.name);
  fail_in(source.name, "neither a .safetensors file nor a PyTorch checkpoint (.pth)");
}

Weights read_pth(const std::filesystem::path& path, const std::string& key) {
  return parse_pth(open_source(path), key);
}

Weights read_weights(const std::filesystem::path& path, const std::string& key) {
  return parse_weights(open_source(path), key);
}

}  // namespace spatialmamba
