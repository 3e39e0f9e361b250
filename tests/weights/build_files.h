#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "weights/tensor_bytes.h"

/// Files made by hand, so that they can be wrong in exactly one respect.
namespace spatialmamba::test {

/// Bytes as a source that owns them.
Source source_of(std::string bytes, const std::string& name = "test");

/// Little-endian bytes of a number.
template <typename T>
std::string little(T value) {
  return {reinterpret_cast<const char*>(&value), sizeof(T)};
}

using Records = std::vector<std::pair<std::string, std::string>>;  ///< names and contents

struct ZipOptions {
  bool deflate = false;
  bool zip64 = false;
  std::string comment = {};
};
std::string make_zip(const Records& records, const ZipOptions& options = {});

/// A .safetensors file with this header.
std::string make_safetensors(const std::string& header, const std::string& data);

/// Pieces of protocol 2 pickles.
namespace pickled {
std::string text(const std::string& value);
std::string integer(std::int32_t value);
std::string global(const std::string& module, const std::string& name);
std::string tuple(const std::vector<std::int32_t>& values);
/// The arguments of a tensor's constructor: a persistent storage, offset, shape, strides, False,
/// OrderedDict().
std::string tensor_arguments(const std::string& storage_type, const std::string& key, std::int32_t elements,
                             std::int32_t offset, const std::vector<std::int32_t>& shape,
                             const std::vector<std::int32_t>& strides);
/// A call of torch._utils._rebuild_tensor_v2 with them, for 32-bit floats.
std::string tensor(const std::string& key, std::int32_t elements, std::int32_t offset,
                   const std::vector<std::int32_t>& shape, const std::vector<std::int32_t>& strides);
/// {key: value, ...} from pickled values.
std::string dict(const Records& entries);
}  // namespace pickled

/// A checkpoint in the zip format that holds this object (without PROTO and STOP) and these storages.
std::string make_checkpoint(const std::string& object, const Records& storages = {});

}  // namespace spatialmamba::test
