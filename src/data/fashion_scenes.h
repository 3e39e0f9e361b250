#pragma once

#include <cstdint>
#include <vector>

#include "base/random.h"
#include "data/dataset.h"
#include "image/image.h"

namespace spatialmamba::data {

/// Garments on a background, and which pixel belongs to what.
struct Scene {
  image::Image picture;               ///< colour
  image::Image owners;                ///< 1 channel: 0 background, i + 1 garment i
  std::vector<std::int64_t> classes;  ///< of each garment; every one has visible pixels
};

/// Composes scenes of real garments (Fashion-MNIST: 28 x 28, grey on black). Each scene holds two to five
/// of them in random sizes (0.3 to 0.6 of the scene), colours, tilts (up to 30 degrees) and places, later ones
/// above earlier ones; of each at least three fifths stay visible. Classes are equally frequent.
class SceneComposer {
 public:
  /// Scenes of size x size pixels. `photographs` are backgrounds in colour, may be empty.
  SceneComposer(Dataset garments, std::vector<image::Image> photographs, int size);

  /// The scene depends on `random` alone. Safe to call from several threads at once.
  Scene compose(Random random) const;

 private:
  /// Every class is as likely as any other.
  std::int64_t draw_garment(Random& random) const;

  Dataset garments_;
  std::vector<std::vector<std::int64_t>> by_class_;  ///< indices of the garments of each class
  std::vector<image::Image> photographs_;
  int size_;
};

}  // namespace spatialmamba::data
