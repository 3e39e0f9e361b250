#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/parallel.h"
#include "data/dataset.h"
#include "image/image.h"

namespace spatialmamba::data {

/// What `write_fashion_scenes` makes.
struct SceneSetOptions {
  std::int64_t train = 500;
  std::int64_t validation = 100;
  int size = 128;  ///< pixels of a side
  std::uint64_t seed = 0;
};

/// Writes scenes of Fashion-MNIST garments with the truth about them, for segmentation and for detection:
///   images/{train,val}/000001.png
///   annotations/{train,val}/000001.png   8-bit grey: 0 unlabelled, 1 + class elsewhere
///   instances_{train,val}.json           COCO: visible box, area and mask (uncompressed RLE) of each garment
///   classes.txt                          one class per line, in the order of the labels
/// Training scenes hold garments of the training part, validation scenes of the test part. Scene k of a part
/// depends on (seed, part, k) and the size alone. Throws UsageError for numbers that mean nothing, Error when
/// the folder holds pictures of another set.
void write_fashion_scenes(const std::filesystem::path& out, const std::filesystem::path& fashion_mnist_folder,
                          const std::vector<image::Image>& photographs, const SceneSetOptions& options,
                          const ParallelFor& parallel);

}  // namespace spatialmamba::data
