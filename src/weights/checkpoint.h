#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "spatialmamba/weights.h"
#include "weights/pickle.h"
#include "weights/tensor_bytes.h"
#include "archive/zip.h"

namespace spatialmamba {

/// Most keys that an error lists.
inline constexpr std::size_t kMaxListedKeys = 40;

/// Where write_pth() puts what a .safetensors file calls __metadata__.
inline constexpr std::string_view kMetadataKey = "metadata";

/// A PyTorch checkpoint (torch.save): the zip format, or the one before version 1.6. Nothing of it is
/// executed; what is not a tensor can be looked at as a tree, e.g. root().find("epoch")->integer().
class Checkpoint {
 public:
  /// Throw Error naming the file.
  static Checkpoint open(const std::filesystem::path& path);
  static Checkpoint parse(Source source);

  const pickle::Value& root() const { return tree_.root(); }
  /// The keys of the top-level dictionary, empty when it is none.
  std::vector<std::string> keys() const;

  /// The tensor of a pickled tensor or parameter: a view of the file where it is dense and aligned there,
  /// else a copy. `what` is its name in errors. Throws Error naming the file.
  Tensor tensor(const pickle::Value& value, std::string_view what);
  /// A dictionary from names to tensors. Throws Error naming the file and `what` when it is something else.
  TensorMap state_dict(const pickle::Value& value, std::string_view what);
  /// The state dictionary at a key of the top level, by read_pth()'s rule when the key is empty.
  TensorMap state_dict_at(const std::string& key);

 private:
  Checkpoint(Source source, pickle::Tree tree) : source_(std::move(source)), tree_(std::move(tree)) {}
  static Checkpoint from_zip(Source source);
  static Checkpoint from_legacy(Source source);

  Record storage(const std::string& key, std::uint64_t bytes);
  Tensor read_tensor(const pickle::Value& value);
  void charge(std::uint64_t bytes);
  std::string describe_keys() const;

  Source source_;
  pickle::Tree tree_;
  std::optional<ZipReader> zip_;
  std::string folder_;                                ///< of the zip's records, "archive/"
  std::unordered_map<std::string, Record> storages_;  ///< those verified so far; all of them in a legacy file
  std::uint64_t copied_ = 0;
};

/// True when the bytes begin like a checkpoint of either format.
bool looks_like_checkpoint(std::span<const std::byte> bytes);

/// read_pth() and read_weights() on bytes in memory.
Weights parse_pth(Source source, const std::string& key);
Weights parse_weights(Source source, const std::string& key);

}  // namespace spatialmamba
