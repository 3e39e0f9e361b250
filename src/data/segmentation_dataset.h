#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/segmentation_transform.h"

namespace spatialmamba::data {

/// What the value 0 of a label map means.
enum class ZeroLabel {
  unlabelled,   ///< nothing is known of the pixel; value k is class k - 1 (ADE20K)
  first_class,  ///< value k is class k, the first of which is usually the background
};

struct SegmentationOptions {
  /// Of a data set in ADE20K's layout, where both conventions occur; other layouts say it themselves.
  ZeroLabel zero = ZeroLabel::unlabelled;
  /// The classes to expect, in their order; empty: those that the data set names.
  std::vector<std::string> classes = {};
};

/// Pictures with label maps. Copies are cheap, and load() may be called from several threads at once.
struct SegmentationDataset {
  std::vector<std::string> classes;
  std::vector<std::filesystem::path> pictures;
  std::vector<std::filesystem::path> masks;
  /// The class of each value of a mask; kIgnored where it counts for nothing, kNoClass where it must not
  /// occur.
  std::array<int, 256> class_of = {};
  /// One sentence for each picture without a mask and each mask without a picture: they are left out.
  std::vector<std::string> problems = {};

  static constexpr int kNoClass = -1;

  std::int64_t size() const { return static_cast<std::int64_t>(pictures.size()); }
  /// Picture i and its labels. Throws Error naming the file when one is broken, the mask is in colour or of
  /// another size than the picture, or holds values that are no class.
  LabelledPicture load(std::int64_t i) const;
};

/// Finds out what `path` is:
///   ADE20K       images/{training,validation} and annotations/{training,validation}, also called train and
///                val; classes.txt, where there is one, names the classes, else 150 of them are ADE20K's
///   Cityscapes   leftImg8bit/SPLIT/CITY/*_leftImg8bit.png and gtFine/SPLIT/CITY/*_gtFine_labelTrainIds.png,
///   or
///                *_labelIds.png; 19 classes
///   Pascal VOC   JPEGImages, SegmentationClass and ImageSets/Segmentation/{train,val}.txt; 21 classes
///   one's own    images, masks and classes.txt: mask value k is the class of line k, from 0, 255 counts for
///                nothing. Either with subfolders train and val, or with train.txt and val.txt that list
///                names, or every tenth picture (by name) is for validation
/// Throws Error that says what was looked for, or that nothing was found in it.
SegmentationDataset open_segmentation(const std::filesystem::path& path, Split split,
                                      const SegmentationOptions& options = {});

}  // namespace spatialmamba::data
