#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/random.h"
#include "data/coco.h"
#include "data/dataset.h"
#include "data/detection_sample.h"

namespace spatialmamba::data {

/// One object as training reads it, in the order of the file.
struct DetectionObject {
  detection::Box box;
  std::int64_t label = 0;
  bool crowd = false;
  std::size_t row = 0;  ///< in the file's objects
};

struct DetectionImage {
  std::int64_t id = 0;
  std::filesystem::path path;
  std::int64_t width = 0;
  std::int64_t height = 0;
  std::vector<DetectionObject> objects;
};

/// Pictures with COCO annotations, by mmdetection's rules: an object goes that is marked `ignore`, lies
/// outside its picture, has no area, is less than a pixel wide or high, or of a category that is not asked
/// for. Labels count the categories in the order of the file.
struct DetectionDataset {
  std::shared_ptr<const CocoFile> coco;
  std::vector<std::string> classes;
  std::vector<std::int64_t> category_ids;  ///< of each label
  std::vector<DetectionImage> images;

  std::int64_t size() const { return static_cast<std::int64_t>(images.size()); }
  /// Reads a picture alone.
  image::Image load_picture(std::int64_t index) const;
  /// Reads a picture with its objects. Throws Error naming the file when it is broken or of another size than
  /// the annotations say.
  DetectionPicture load(std::int64_t index) const;
};

struct DetectionDatasetOptions {
  /// Categories to keep, by name; empty: all. Throws Error for one that there is not.
  std::vector<std::string> classes = {};
  /// Leave out images without any annotation of these categories, and those with a side below `least_side`.
  bool only_annotated = false;
  std::int64_t least_side = 32;
};

DetectionDataset detection_dataset(std::shared_ptr<const CocoFile> coco,
                                   const std::filesystem::path& image_folder,
                                   const DetectionDatasetOptions& options = {});

/// Annotations and the folder of their pictures.
struct CocoPlace {
  std::filesystem::path annotations;
  std::filesystem::path images;
};

/// Finds them in `path`: instances_{train,val}.json with images/{train,val}/; COCO's own layout
/// (annotations/instances_{train,val}2017.json with {train,val}2017/); or, where `path` is a JSON file, that
/// file with the folder images/ or else its own. Throws Error that says what was looked for.
CocoPlace find_coco(const std::filesystem::path& path, Split split);

/// The images of one epoch in batches of equal orientation: the order is followed, and a batch is complete as
/// soon as it has `batch` wide (or high) images; what is left over at the end makes mixed batches. With
/// `drop_last` an incomplete one goes.
std::vector<std::vector<std::int64_t>> batches_by_orientation(const std::vector<std::int64_t>& order,
                                                              const std::vector<DetectionImage>& images,
                                                              std::int64_t batch, bool drop_last);

}  // namespace spatialmamba::data
