#include "weights/build_files.h"

#include <fmt/format.h>
#include <zlib.h>

#include <memory>

#include "archive/zip_format.h"

namespace spatialmamba::test {
namespace {

std::string deflated(const std::string& content) {
  z_stream stream{};
  deflateInit2(&stream, Z_BEST_COMPRESSION, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
  std::string out(deflateBound(&stream, content.size()), '\0');
  stream.next_in = const_cast<Bytef*>(reinterpret_cast<const Bytef*>(content.data()));
  stream.avail_in = static_cast<uInt>(content.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

std::string end_of_directory64(std::uint64_t count, std::uint64_t bytes, std::uint64_t start) {
  return little(zip::kDirectoryEnd64) + little<std::uint64_t>(44) + little<std::uint32_t>(0) +
         little<std::uint64_t>(0) + little(count) + little(count) + little(bytes) + little(start) +
         little(zip::kLocator64) + little<std::uint32_t>(0) + little(start + bytes) +
         little<std::uint32_t>(1);
}

}  // namespace

Source source_of(std::string bytes, const std::string& name) {
  const auto owner = std::make_shared<const std::string>(std::move(bytes));
  return {name, std::as_bytes(std::span(*owner)), owner};
}

std::string make_zip(const Records& records, const ZipOptions& options) {
  const std::uint16_t method = options.deflate ? zip::kDeflated : zip::kStored;
  std::string file;
  std::string directory;
  for (const auto& [name, content] : records) {
    const std::string stored = options.deflate ? deflated(content) : content;
    const auto crc = static_cast<std::uint32_t>(
        crc32_z(0, reinterpret_cast<const Bytef*>(content.data()), content.size()));
    const std::string checks = little<std::uint32_t>(0) + little(crc);
    const std::string sizes = little(static_cast<std::uint32_t>(stored.size())) +
                              little(static_cast<std::uint32_t>(content.size()));
    const auto header = static_cast<std::uint32_t>(file.size());
    const std::string start = little<std::uint16_t>(0) + little(method) + checks;
    const auto length = static_cast<std::uint16_t>(name.size());
    file += little(zip::kLocalHeader) + little<std::uint16_t>(0) + start + sizes + little(length) +
            little<std::uint16_t>(0) + name + stored;
    std::string extra;
    if (options.zip64) {
      extra = little(zip::kExtra64) + little<std::uint16_t>(24) + little<std::uint64_t>(content.size()) +
              little<std::uint64_t>(stored.size()) + little<std::uint64_t>(header);
    }
    directory += little(zip::kDirectoryEntry) + little<std::uint32_t>(0) + start +
                 (options.zip64 ? little(zip::kIn64) + little(zip::kIn64) : sizes) + little(length) +
                 little(static_cast<std::uint16_t>(extra.size())) + little<std::uint16_t>(0) +
                 little<std::uint64_t>(0) + little(options.zip64 ? zip::kIn64 : header) + name + extra;
  }
  const auto start = static_cast<std::uint32_t>(file.size());
  const auto bytes = static_cast<std::uint32_t>(directory.size());
  const auto count = static_cast<std::uint16_t>(records.size());
  file += directory;
  if (options.zip64) file += end_of_directory64(count, bytes, start);
  file += little(zip::kDirectoryEnd) + little<std::uint32_t>(0);
  file += options.zip64
              ? little(zip::kIn64Short) + little(zip::kIn64Short) + little(zip::kIn64) + little(zip::kIn64)
              : little(count) + little(count) + little(bytes) + little(start);
  return file + little(static_cast<std::uint16_t>(options.comment.size())) + options.comment;
}

std::string make_safetensors(const std::string& header, const std::string& data) {
  return little<std::uint64_t>(header.size()) + header + data;
}

namespace pickled {

std::string text(const std::string& value) {
  return fmt::format("X{}{}", little(static_cast<std::uint32_t>(value.size())), value);
}

std::string integer(std::int32_t value) {
  return fmt::format("J{}", little(value));
}

std::string global(const std::string& module, const std::string& name) {
  return fmt::format("c{}\n{}\n", module, name);
}

std::string tuple(const std::vector<std::int32_t>& values) {
  std::string out = "(";
  for (const std::int32_t value : values) out += integer(value);
  return out + "t";
}

std::string tensor_arguments(const std::string& storage_type, const std::string& key, std::int32_t elements,
                             std::int32_t offset, const std::vector<std::int32_t>& shape,
                             const std::vector<std::int32_t>& strides) {
  return "((" + text("storage") + global("torch", storage_type) + text(key) + text("cpu") +
         integer(elements) + "tQ" + integer(offset) + tuple(shape) + tuple(strides) + "\x89" +
         global("collections", "OrderedDict") + ")Rt";
}

std::string tensor(const std::string& key, std::int32_t elements, std::int32_t offset,
                   const std::vector<std::int32_t>& shape, const std::vector<std::int32_t>& strides) {
  return global("torch._utils", "_rebuild_tensor_v2") +
         tensor_arguments("FloatStorage", key, elements, offset, shape, strides) + "R";
}

std::string dict(const Records& entries) {
  std::string out = "}(";
  for (const auto& [key, value] : entries) out += text(key) + value;
  return out + "u";
}

}  // namespace pickled

std::string make_checkpoint(const std::string& object, const Records& storages) {
  Records records{{"archive/data.pkl", "\x80\x02" + object + "."}};
  for (const auto& [key, content] : storages) records.emplace_back("archive/data/" + key, content);
  return make_zip(records);
}

}  // namespace spatialmamba::test
