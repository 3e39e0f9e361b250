#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

#include "spatialmamba/architecture.h"

namespace spatialmamba::engine {

/// The maps of a batch: (N, H, W, C), dense.
struct MapShape {
  std::int64_t images = 0;
  std::int64_t height = 0;
  std::int64_t width = 0;
  std::int64_t channels = 0;

  std::int64_t tokens() const { return images * height * width; }
  std::int64_t size() const { return tokens() * channels; }
};

/// Half the height and width, rounded up.
constexpr MapShape halved(const MapShape& in, std::int64_t channels) {
  return {in.images, (in.height + 1) / 2, (in.width + 1) / 2, channels};
}

struct Map {
  MapShape shape;
  const float* data = nullptr;
};

/// The maps of all stages; held without an allocation, since a pass makes none.
class Features {
 public:
  void add(const Map& map) { maps_[count_++] = map; }
  std::size_t size() const { return count_; }
  const Map& operator[](std::size_t i) const { return maps_[i]; }
  const Map& back() const { return maps_[count_ - 1]; }
  const Map* begin() const { return maps_.data(); }
  const Map* end() const { return maps_.data() + count_; }

 private:
  std::array<Map, kMaxStages> maps_{};
  std::size_t count_ = 0;
};

/// Sees what a network computes on the way, by the names of its modules.
using Observer = std::function<void(const std::string& name, const MapShape& shape, const float* map)>;

}  // namespace spatialmamba::engine
