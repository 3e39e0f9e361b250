#include <limits>

#include "base/error.h"
#include "spatialmamba/weights.h"
#include "weights/checkpoint.h"
#include "weights/torch_tensor.h"
#include "archive/zip.h"

namespace spatialmamba {
namespace {

/// Writes the few operations of pickle protocol 2 that a state dictionary needs, without a memo.
class Pickler {
 public:
  void op(std::string_view code) { text_ += code; }

  void text(std::string_view value) {
    op("X");
    raw(static_cast<std::uint32_t>(value.size()));
    text_ += value;
  }

  void integer(std::int64_t value) {
    if (value >= std::numeric_limits<std::int32_t>::min() &&
        value <= std::numeric_limits<std::int32_t>::max()) {
      op("J");
      raw(static_cast<std::int32_t>(value));
    } else {
      op("\x8a\x08");
      raw(value);
    }
  }

  void tuple(const Shape& values) {
    op("(");
    for (const std::int64_t value : values) integer(value);
    op("t");
  }

  void global(std::string_view module, std::string_view name) {
    text_ += fmt::format("c{}\n{}\n", module, name);
  }

  /// OrderedDict()
  void ordered_dict() {
    global("collections", "OrderedDict");
    op(")R");
  }

  const std::string& result() const { return text_; }

 private:
  template <typename T>
  void raw(T value) {
    text_.append(reinterpret_cast<const char*>(&value), sizeof(T));
  }

  std::string text_ = "\x80\x02";
};

/// torch._utils._rebuild_tensor_v2(storage, 0, shape, strides, False, OrderedDict())
void pickle_tensor(Pickler& pickler, const Tensor& tensor, const std::string& key) {
  pickler.global("torch._utils", "_rebuild_tensor_v2");
  pickler.op("((");
  pickler.text("storage");
  pickler.global("torch", storage_type_of(tensor.dtype()));
  pickler.text(key);
  pickler.text("cpu");
  pickler.integer(tensor.numel());
  pickler.op("tQ");  // the tuple is a persistent id
  pickler.integer(0);
  pickler.tuple(tensor.shape());
  pickler.tuple(dense_strides(tensor.shape()));
  pickler.op("\x89");
  pickler.ordered_dict();
  pickler.op("tR");
}

void pickle_state_dict(Pickler& pickler, const TensorMap& tensors) {
  pickler.ordered_dict();
  pickler.op("(");
  std::size_t key = 0;
  for (const auto& [name, tensor] : tensors) {
    pickler.text(name);
    pickle_tensor(pickler, tensor, std::to_string(key++));
  }
  pickler.op("u");
}

std::string pickle_weights(const Weights& weights, const std::string& top_key) {
  Pickler pickler;
  if (top_key.empty()) {
    pickle_state_dict(pickler, weights.tensors);
  } else {
    pickler.op("}(");
    pickler.text(top_key);
    pickle_state_dict(pickler, weights.tensors);
    if (!weights.metadata.empty()) {
      pickler.text(kMetadataKey);
      pickler.op("}(");
      for (const auto& [name, value] : weights.metadata) {
        pickler.text(name);
        pickler.text(value);
      }
      pickler.op("u");
    }
    pickler.op("u");
  }
  pickler.op(".");
  return pickler.result();
}

}  // namespace

void write_pth(const std::filesystem::path& path, const Weights& weights, const std::string& top_key) {
  // The records that PyTorch writes, in its order. The folder's name means nothing.
  const std::string folder = "archive/";
  ZipWriter zip(path);
  zip.add(folder + "data.pkl", pickle_weights(weights, top_key));
  zip.add(folder + ".format_version", "1");
  zip.add(folder + ".storage_alignment", std::to_string(ZipWriter::kContentAlignment));
  zip.add(folder + "byteorder", "little");
  std::size_t key = 0;
  for (const auto& [name, tensor] : weights.tensors) {
    zip.add(fmt::format("{}data/{}", folder, key++), std::span(tensor.raw(), tensor.bytes()));
  }
  zip.add(folder + "version", "3\n");
  zip.finish();
}

}  // namespace spatialmamba
