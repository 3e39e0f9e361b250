#include <charconv>
#include <limits>
#include <memory>

#include "archive/zip.h"
#include "base/error.h"
#include "base/file.h"
#include "data/dataset.h"
#include "data/encoded_dataset.h"

namespace spatialmamba::data {
namespace {

/// What a picture may unfold to where the archive is compressed.
constexpr std::uint64_t kMaxPictureBytes = std::uint64_t{1} << 28;

struct MappedPictures {
  std::vector<std::string> names;
  std::vector<std::int64_t> labels;
};

/// Lines of "NAME<tab>LABEL".
MappedPictures read_map(const std::filesystem::path& path) {
  const std::string text = read_text(path);
  MappedPictures pictures;
  std::int64_t number = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    std::string_view line = std::string_view(text).substr(at, end - at);
    at = end + 1;
    ++number;
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty()) continue;
    const std::size_t tab = line.rfind('\t');
    const std::string_view digits = tab == std::string_view::npos ? "" : line.substr(tab + 1);
    std::int64_t label = 0;
    const auto [rest, error] = std::from_chars(digits.data(), digits.data() + digits.size(), label);
    if (error != std::errc() || rest != digits.data() + digits.size() || label < 0) {
      fail("{}: line {} is no picture's name, a tab and the number of its class", path.string(), number);
    }
    pictures.names.emplace_back(line.substr(0, tab));
    pictures.labels.push_back(label);
  }
  if (pictures.names.empty()) fail("{}: lists no pictures", path.string());
  return pictures;
}

class PictureArchive {
 public:
  explicit PictureArchive(const std::filesystem::path& path) : name_(path.string()), zip_(open(path)) {}

  const std::string& name() const { return name_; }

  Record read(const std::string& member) const {
    const ZipReader::Entry* entry = zip_.find(member);
    if (entry == nullptr) fail_in(name_, "has no {}, which its map lists", member);
    if (entry->bytes > kMaxPictureBytes) fail_in(name_, "{} is of {} bytes", member, entry->bytes);
    try {
      return zip_.read(*entry);
    } catch (const Error& error) {
      fail_in(name_, "{}", error.what());
    }
  }

 private:
  static ZipReader open(const std::filesystem::path& path) {
    try {
      return ZipReader(open_source(path), std::numeric_limits<std::uint64_t>::max());
    } catch (const Error& error) {
      const std::string_view what = error.what();
      if (what.starts_with(path.string())) throw;
      fail_in(path.string(), "{}", what);
    }
  }

  std::string name_;
  ZipReader zip_;
};

}  // namespace

Dataset zip_dataset(const std::filesystem::path& archive, const std::filesystem::path& map,
                    const DatasetOptions& options) {
  const auto zip = std::make_shared<const PictureArchive>(archive);
  MappedPictures pictures = read_map(map);
  Dataset dataset;
  dataset.labels = std::move(pictures.labels);
  dataset.classes = numbered_classes(map.parent_path(), map.string(), dataset.labels, options);
  const auto names = std::make_shared<const std::vector<std::string>>(std::move(pictures.names));
  dataset.name = [zip, names](std::int64_t i) {
    return zip->name() + ": " + names->at(static_cast<std::size_t>(i));
  };
  load_encoded(
      dataset, [zip, names](std::int64_t i) { return zip->read(names->at(static_cast<std::size_t>(i))); },
      options);
  return dataset;
}

}  // namespace spatialmamba::data
