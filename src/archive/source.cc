#include "archive/source.h"

#include "base/file.h"

namespace spatialmamba {

Source open_source(const std::filesystem::path& path) {
  std::shared_ptr<const MappedFile> file = MappedFile::open(path);
  const std::span<const std::byte> bytes = file->bytes();
  return {path.string(), bytes, std::move(file), Tensor::Backing::mapped_file};
}

std::string printable(std::string_view text) {
  std::string line(text.substr(0, kMaxMessage));
  for (char& c : line) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  }
  return text.size() > kMaxMessage ? line + " ..." : line;
}

}  // namespace spatialmamba
