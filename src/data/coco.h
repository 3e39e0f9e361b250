#pragma once

#include <cstdint>
#include <filesystem>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "image/rle.h"

namespace spatialmamba::data {

/// The id of what has none in the file.
inline constexpr std::int64_t kNoId = std::numeric_limits<std::int64_t>::min();

struct CocoImage {
  std::int64_t id = kNoId;
  std::string file;
  std::int64_t width = 0;
  std::int64_t height = 0;
};

struct CocoCategory {
  std::int64_t id = kNoId;
  std::string name;
};

/// Where an outline lies in the stores of the file that it was read from.
struct CocoOutline {
  enum class Kind : std::uint8_t {
    none,
    polygons,  ///< parts of x0, y0, x1, y1, ...
    runs,      ///< run lengths as numbers
    text,      ///< run lengths as COCO's text
  };
  Kind kind = Kind::none;
  std::uint64_t begin = 0;  ///< of parts, numbers or characters
  std::uint64_t end = 0;
  std::uint32_t height = 0;  ///< of a mask of run lengths
  std::uint32_t width = 0;
};

/// An annotated object, or with a score a detection.
struct CocoObject {
  std::int64_t id = kNoId;
  std::int64_t image = kNoId;
  std::int64_t category = kNoId;
  image::XywhBox box;
  double area = 0.0;
  double score = 0.0;
  bool has_box = false;
  bool has_area = false;
  bool has_score = false;
  bool crowd = false;
  bool ignore = false;
  CocoOutline outline;
};

/// A COCO annotation file, or (then without images and categories) a result file. Outlines stay in the form
/// they have in the file, in three common stores: what is held is no larger than the file.
struct CocoFile {
  std::string name;  ///< for messages
  std::vector<CocoImage> images;
  std::vector<CocoCategory> categories;
  std::vector<CocoObject> objects;
  std::vector<double> numbers;
  std::vector<std::uint64_t>
      part_ends;  ///< end of each polygon in `numbers`; it begins where the last one ends
  std::string text;
  /// What was left out, or kept though it is strange, and why, with a count and the first of each kind.
  std::vector<std::string> problems;

  std::span<const double> part(std::uint64_t index) const;
  /// Parts of three points and more; those of fewer, or of an odd count of numbers, are passed over.
  std::vector<std::span<const double>> polygons(const CocoObject& object) const;
};

/// Reads an annotation file as a stream: the file is mapped, not loaded. Left out, counted and named in
/// `problems`: an image, category or object whose id was there before, objects of unknown images or
/// categories, objects without a box whose outline gives none, boxes that are not four finite numbers, and
/// outlines that make no sense. Counted and named as well, but kept: boxes outside their image and without an
/// area, and those that only the outline gives. Throws Error naming the file: with the position of the byte
/// at which it stops being JSON, for a field of another type, and where there are no images or no categories
/// at all.
CocoFile read_coco(const std::filesystem::path& path);

/// Reads a result file, a list of objects with image_id, category_id, score and bbox or segmentation. Ids are
/// 1, 2, 3, ... Throws Error as read_coco() does, and naming the first entry that lacks one of them or whose
/// image is not in `truth`.
CocoFile read_coco_results(const std::filesystem::path& path, const CocoFile& truth);

/// The pixels of an object in a picture of that size. Throws Error naming the object for an outline that
/// makes no sense there; without one the mask is that of the box.
image::Rle mask_of(const CocoFile& file, const CocoObject& object, std::int64_t height, std::int64_t width);

}  // namespace spatialmamba::data
