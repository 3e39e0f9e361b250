#include <zlib.h>

#include <limits>

#include "archive/zip.h"
#include "archive/zip_format.h"
#include "base/error.h"

namespace spatialmamba {
namespace {

/// The extra field that fills up to it: PyTorch's tag, a size, then its filler.
constexpr std::string_view kFillerTag = "FB";
constexpr char kFiller = 'Z';
constexpr std::uint64_t kFillerHeader = 4;
/// 1 January 1980, the format's first day: the same content makes the same file.
constexpr std::uint32_t kDate = 0x00210000;

/// Little-endian fields one after the other.
class Fields {
 public:
  template <typename T>
  Fields& add(T value) {
    text_.append(reinterpret_cast<const char*>(&value), sizeof(T));
    return *this;
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

std::string filler_for(std::uint64_t content) {
  constexpr std::uint64_t kStep = ZipWriter::kContentAlignment;
  const std::uint64_t missing = (kStep - (content + kFillerHeader) % kStep) % kStep;
  std::string filler(kFillerTag);
  const auto size = static_cast<std::uint16_t>(missing);
  filler.append(reinterpret_cast<const char*>(&size), sizeof(size));
  filler.append(missing, kFiller);
  return filler;
}

}  // namespace

void ZipWriter::add(const std::string& name, std::span<const std::byte> content) {
  const std::uint64_t header = file_.position();
  if (content.size() >= zip::kIn64 || header >= zip::kIn64) {
    fail("{}: a .pth file beyond 4 GiB is not supported; write .safetensors instead", name_);
  }
  const std::string filler = filler_for(header + zip::kLocalHeaderBytes + name.size());
  const auto bytes = static_cast<std::uint32_t>(content.size());
  const auto crc =
      static_cast<std::uint32_t>(crc32_z(0, reinterpret_cast<const Bytef*>(content.data()), content.size()));
  Fields fields;
  fields.add(zip::kLocalHeader).add<std::uint16_t>(0).add(zip::kFlagUtf8).add(zip::kStored).add(kDate);
  fields.add(crc).add(bytes).add(bytes);
  fields.add(static_cast<std::uint16_t>(name.size())).add(static_cast<std::uint16_t>(filler.size()));
  file_.write(fields.text());
  file_.write(name);
  file_.write(filler);
  file_.write(content.data(), content.size());
  entries_.push_back({name, crc, bytes, static_cast<std::uint32_t>(header)});
}

void ZipWriter::add(const std::string& name, std::string_view content) {
  add(name, std::as_bytes(std::span(content)));
}

void ZipWriter::finish() {
  const std::uint64_t start = file_.position();
  for (const Entry& entry : entries_) {
    Fields fields;
    fields.add(zip::kDirectoryEntry).add<std::uint32_t>(0).add(zip::kFlagUtf8).add(zip::kStored).add(kDate);
    fields.add(entry.crc).add(entry.bytes).add(entry.bytes);
    fields.add(static_cast<std::uint16_t>(entry.name.size()));
    fields.add<std::uint32_t>(0).add<std::uint64_t>(0);  // extra, comment; disk, attributes
    fields.add(entry.header);
    file_.write(fields.text());
    file_.write(entry.name);
  }
  const std::uint64_t end = file_.position();
  if (end >= zip::kIn64 || entries_.size() >= zip::kIn64Short) {
    fail("{}: a .pth file beyond 4 GiB or 65534 tensors is not supported; write .safetensors instead", name_);
  }
  const auto count = static_cast<std::uint16_t>(entries_.size());
  Fields fields;
  fields.add(zip::kDirectoryEnd).add<std::uint32_t>(0).add(count).add(count);
  fields.add(static_cast<std::uint32_t>(end - start))
      .add(static_cast<std::uint32_t>(start))
      .add<std::uint16_t>(0);
  file_.write(fields.text());
  file_.commit();
}

}  // namespace spatialmamba
