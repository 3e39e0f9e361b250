#include "data/segmentation_dataset.h"

#include <algorithm>
#include <map>
#include <set>
#include <string_view>

#include "base/error.h"
#include "base/file.h"
#include "image/codec.h"
#include "model/segmentation_classes.h"

namespace spatialmamba::data {
namespace {

namespace fs = std::filesystem;

constexpr int kValidationShare = 10;  // every so many-th picture, where the data set is not divided

std::vector<std::string> names_of(std::span<const LabelClass> classes) {
  std::vector<std::string> names;
  for (const LabelClass& entry : classes) names.emplace_back(entry.name);
  return names;
}

/// Value k is class k - offset; values below the offset and 255 count for nothing, further ones must not
/// occur.
std::array<int, 256> shifted_values(std::size_t classes, int offset) {
  std::array<int, 256> table{};
  for (int value = 0; value < 256; ++value) {
    const int number = value - offset;
    const bool known = number >= 0 && number < static_cast<int>(classes);
    const bool ignored = number < 0 || value == kIgnored;
    table[static_cast<std::size_t>(value)] = known     ? number
                                             : ignored ? kIgnored
                                                       : SegmentationDataset::kNoClass;
  }
  return table;
}

/// Files below a folder by what tells pictures and masks of a pair: the path without `suffix`.
std::map<std::string, fs::path> files_by_stem(const fs::path& folder, const std::string& suffix) {
  std::map<std::string, fs::path> files;
  if (!fs::is_directory(folder)) return files;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (!entry.is_regular_file() || !image::is_image_name(entry.path())) continue;
    std::string name = fs::relative(entry.path(), folder).replace_extension().string();
    if (!name.ends_with(suffix)) continue;
    name.resize(name.size() - suffix.size());
    files.emplace(name, entry.path());
  }
  return files;
}

/// Joins pictures and masks of the same stem; what has no partner is a problem.
void add_pairs(SegmentationDataset& dataset, const std::map<std::string, fs::path>& pictures,
               const std::map<std::string, fs::path>& masks) {
  for (const auto& [stem, picture] : pictures) {
    const auto mask = masks.find(stem);
    if (mask == masks.end()) {
      dataset.problems.push_back(fmt::format("{}: the picture has no label map", picture.string()));
      continue;
    }
    dataset.pictures.push_back(picture);
    dataset.masks.push_back(mask->second);
  }
  for (const auto& [stem, mask] : masks) {
    if (!pictures.contains(stem)) {
      dataset.problems.push_back(fmt::format("{}: the label map has no picture", mask.string()));
    }
  }
}

/// The names that data sets give to their parts.
std::vector<std::string> split_names(Split split) {
  if (split == Split::train) return {"training", "train"};
  return {"validation", "val", "test"};
}

/// The first of the split's names below the folder, or an empty path.
fs::path split_folder(const fs::path& folder, Split split) {
  for (const std::string& name : split_names(split)) {
    if (fs::is_directory(folder / name)) return folder / name;
  }
  return {};
}

SegmentationDataset open_ade20k(const fs::path& path, Split split, const SegmentationOptions& options) {
  SegmentationDataset dataset;
  const fs::path list = path / "classes.txt";
  dataset.classes = fs::exists(list) ? read_lines(list) : names_of(ade20k_classes());
  const bool zero_counts = options.zero == ZeroLabel::first_class;
  if (zero_counts) dataset.classes.insert(dataset.classes.begin(), "background");
  dataset.class_of = shifted_values(dataset.classes.size(), zero_counts ? 0 : 1);
  const fs::path pictures = split_folder(path / "images", split);
  const fs::path masks = split_folder(path / "annotations", split);
  if (pictures.empty() || masks.empty()) {
    fail("{}: images/ and annotations/ must both have a folder {}", path.string(),
         split == Split::train ? "training (or train)" : "validation (or val)");
  }
  add_pairs(dataset, files_by_stem(pictures, ""), files_by_stem(masks, ""));
  return dataset;
}

SegmentationDataset open_cityscapes(const fs::path& path, Split split) {
  SegmentationDataset dataset;
  dataset.classes = names_of(cityscapes_classes());
  const char* part = split == Split::train ? "train" : "val";
  auto masks = files_by_stem(path / "gtFine" / part, "_gtFine_labelTrainIds");
  dataset.class_of = shifted_values(dataset.classes.size(), 0);
  if (masks.empty()) {  // as published, before the numbers of training were written
    masks = files_by_stem(path / "gtFine" / part, "_gtFine_labelIds");
    dataset.class_of.fill(kIgnored);
    const auto ids = cityscapes_label_ids();
    for (std::size_t i = 0; i < ids.size(); ++i) dataset.class_of[ids[i]] = static_cast<int>(i);
  }
  add_pairs(dataset, files_by_stem(path / "leftImg8bit" / part, "_leftImg8bit"), masks);
  return dataset;
}

/// Keeps the pairs whose stems are listed; what is listed but not there is a problem.
void keep_listed(SegmentationDataset& dataset, const fs::path& list,
                 const std::map<std::string, fs::path>& pictures,
                 const std::map<std::string, fs::path>& masks) {
  for (const std::string& line : read_lines(list)) {
    const std::string stem = fs::path(line).replace_extension().string();
    const auto picture = pictures.find(stem);
    const auto mask = masks.find(stem);
    if (picture == pictures.end() || mask == masks.end()) {
      dataset.problems.push_back(fmt::format("{}: lists {}, which has no {}", list.string(), line,
                                             picture == pictures.end() ? "picture" : "label map"));
      continue;
    }
    dataset.pictures.push_back(picture->second);
    dataset.masks.push_back(mask->second);
  }
}

SegmentationDataset open_voc(const fs::path& path, Split split) {
  SegmentationDataset dataset;
  dataset.classes = names_of(voc_classes());
  dataset.class_of = shifted_values(dataset.classes.size(), 0);
  const char* name = split == Split::train ? "train.txt" : "val.txt";
  keep_listed(dataset, path / "ImageSets" / "Segmentation" / name, files_by_stem(path / "JPEGImages", ""),
              files_by_stem(path / "SegmentationClass", ""));
  return dataset;
}

/// Divides pictures that nobody divided.
void keep_share(SegmentationDataset& dataset, Split split) {
  SegmentationDataset all = std::move(dataset);
  dataset = all;
  dataset.pictures.clear();
  dataset.masks.clear();
  for (std::size_t i = 0; i < all.pictures.size(); ++i) {
    const bool validation = i % kValidationShare == kValidationShare - 1;
    if (validation != (split == Split::validation)) continue;
    dataset.pictures.push_back(all.pictures[i]);
    dataset.masks.push_back(all.masks[i]);
  }
}

SegmentationDataset open_own(const fs::path& path, Split split) {
  SegmentationDataset dataset;
  const fs::path list = path / "classes.txt";
  if (!fs::exists(list)) fail("{}: missing; it names the classes of the masks, one per line", list.string());
  dataset.classes = read_lines(list);
  dataset.class_of = shifted_values(dataset.classes.size(), 0);
  const fs::path listed = path / (split == Split::train ? "train.txt" : "val.txt");
  const fs::path pictures = split_folder(path / "images", split);
  if (!pictures.empty()) {
    add_pairs(dataset, files_by_stem(pictures, ""), files_by_stem(split_folder(path / "masks", split), ""));
  } else if (fs::exists(listed)) {
    keep_listed(dataset, listed, files_by_stem(path / "images", ""), files_by_stem(path / "masks", ""));
  } else {
    add_pairs(dataset, files_by_stem(path / "images", ""), files_by_stem(path / "masks", ""));
    keep_share(dataset, split);
  }
  return dataset;
}

SegmentationDataset open_layout(const fs::path& path, Split split, const SegmentationOptions& options) {
  if (fs::is_directory(path / "leftImg8bit")) return open_cityscapes(path, split);
  if (fs::is_directory(path / "SegmentationClass")) return open_voc(path, split);
  if (fs::is_directory(path / "images") && fs::is_directory(path / "masks")) return open_own(path, split);
  if (fs::is_directory(path / "images") && fs::is_directory(path / "annotations")) {
    return open_ade20k(path, split, options);
  }
  fail(
      "{}: no data set for segmentation: expected images/ with annotations/ (ADE20K) or masks/ and "
      "classes.txt, "
      "leftImg8bit/ with gtFine/ (Cityscapes), or JPEGImages/ with SegmentationClass/ (Pascal VOC)",
      path.string());
}

}  // namespace

LabelledPicture SegmentationDataset::load(std::int64_t i) const {
  const auto at = static_cast<std::size_t>(i);
  LabelledPicture sample{image::read_image(pictures[at]), image::read_label_map(masks[at])};
  if (sample.picture.width != sample.labels.width || sample.picture.height != sample.labels.height) {
    fail("{}: the label map has {} x {} pixels, its picture {} x {}", masks[at].string(), sample.labels.width,
         sample.labels.height, sample.picture.width, sample.picture.height);
  }
  for (std::uint8_t& value : sample.labels.pixels) {
    const int number = class_of[value];
    if (number == kNoClass) {
      fail("{}: holds the label {}, which none of the {} classes has", masks[at].string(), value,
           classes.size());
    }
    value = static_cast<std::uint8_t>(number);
  }
  return sample;
}

SegmentationDataset open_segmentation(const fs::path& path, Split split, const SegmentationOptions& options) {
  if (!fs::is_directory(path)) fail("{}: there is no such folder of data", path.string());
  SegmentationDataset dataset = open_layout(path, split, options);
  if (dataset.classes.empty() || dataset.classes.size() > kIgnored) {
    fail("{}: names {} classes, expected 1 to {}", path.string(), dataset.classes.size(), kIgnored);
  }
  if (dataset.pictures.empty()) {
    fail("{}: no picture with a label map for {}{}{}", path.string(),
         split == Split::train ? "training" : "validation", dataset.problems.empty() ? "" : "; ",
         dataset.problems.empty() ? "" : dataset.problems.front());
  }
  if (!options.classes.empty() && options.classes != dataset.classes) {
    fail("{}: has {} classes other than the {} expected, or in another order", path.string(),
         dataset.classes.size(), options.classes.size());
  }
  return dataset;
}

}  // namespace spatialmamba::data
