#include "data/scene_background.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <functional>
#include <numbers>
#include <span>
#include <string>

#include "image/codec.h"
#include "image/resize.h"

namespace spatialmamba::data {

/// Written by CMake (cmake/Embed.cmake) from the files in backgrounds/.
std::span<const std::span<const unsigned char>> background_files();

namespace {

using Color = std::array<double, 3>;
/// Where a point of the unit square lies between two colours, 0 to 1.
using Pattern = std::function<double(double x, double y)>;

Color random_color(Random& random) {
  return {random.uniform(20.0, 235.0), random.uniform(20.0, 235.0), random.uniform(20.0, 235.0)};
}

std::uint8_t to_byte(double value) {
  return static_cast<std::uint8_t>(std::clamp(std::lround(value), 0L, 255L));
}

/// The coordinate along a random direction, in units of a random period.
std::function<double(double, double)> random_wave(Random& random) {
  const double angle = random.uniform(0.0, std::numbers::pi);
  const double frequency = random.uniform(3.0, 16.0);
  const double phase = random.uniform();
  return [c = std::cos(angle) * frequency, s = std::sin(angle) * frequency, phase](double x, double y) {
    return c * x + s * y + phase;
  };
}

double triangle(double x) {
  return std::abs(2.0 * (x - std::floor(x)) - 1.0);
}

Pattern blend(Random& random) {
  const double angle = random.uniform(0.0, 2.0 * std::numbers::pi);
  return [c = std::cos(angle), s = std::sin(angle)](double x, double y) {
    return 0.5 + 0.7 * (c * (x - 0.5) + s * (y - 0.5));
  };
}

Pattern stripes(Random& random) {
  return [wave = random_wave(random)](double x, double y) { return triangle(wave(x, y)); };
}

Pattern checks(Random& random) {
  const double cells = random.uniform(3.0, 12.0);
  return [cells](double x, double y) {
    return (static_cast<int>(x * cells) + static_cast<int>(y * cells)) % 2 == 0 ? 0.0 : 1.0;
  };
}

Pattern weave(Random& random) {
  return [first = random_wave(random), second = random_wave(random)](double x, double y) {
    return 0.5 * (triangle(first(x, y)) + triangle(second(x, y)));
  };
}

/// Noise on a grid, blended smoothly between its points.
class Noise {
 public:
  Noise(int cells, Random& random) : cells_(cells) {
    values_.resize(static_cast<std::size_t>(cells + 2) * static_cast<std::size_t>(cells + 2));
    for (double& value : values_) value = random.uniform();
  }

  double at(double x, double y) const {
    const double u = x * cells_;
    const double v = y * cells_;
    const int column = static_cast<int>(u);
    const int row = static_cast<int>(v);
    const double fx = smooth(u - column);
    const double fy = smooth(v - row);
    const double top = std::lerp(value(row, column), value(row, column + 1), fx);
    const double bottom = std::lerp(value(row + 1, column), value(row + 1, column + 1), fx);
    return std::lerp(top, bottom, fy);
  }

 private:
  static double smooth(double t) { return t * t * (3.0 - 2.0 * t); }
  double value(int row, int column) const {
    return values_[static_cast<std::size_t>(row * (cells_ + 2) + column)];
  }

  int cells_;
  std::vector<double> values_;
};

Pattern clouds(Random& random) {
  std::vector<Noise> octaves;
  for (int cells = 3; cells <= 48; cells *= 2) octaves.emplace_back(cells, random);
  return [octaves](double x, double y) {
    double sum = 0.0;
    double weight = 0.5;
    for (const Noise& noise : octaves) {
      sum += weight * noise.at(x, y);
      weight *= 0.6;
    }
    return sum;
  };
}

image::Image texture(int size, Random& random) {
  static constexpr std::array kPatterns = {blend, stripes, checks, weave, clouds};
  const Color first = random_color(random);
  const Color second = random_color(random);
  const auto kind = static_cast<std::size_t>(random.below(static_cast<std::int64_t>(kPatterns.size())));
  const Pattern pattern = kPatterns[kind](random);
  const double grain = random.uniform(0.0, 12.0);
  image::Image picture(size, size, 3);
  std::uint8_t* out = picture.pixels.data();
  for (int y = 0; y < size; ++y) {
    for (int x = 0; x < size; ++x, out += 3) {
      const double share = pattern((x + 0.5) / size, (y + 0.5) / size);
      const double noise = random.uniform(-grain, grain);
      for (std::size_t c = 0; c < 3; ++c) out[c] = to_byte(std::lerp(first[c], second[c], share) + noise);
    }
  }
  return picture;
}

/// A square part of the photograph, at least half as wide as its short side.
image::Image photograph(int size, const image::Image& source, Random& random) {
  const int shortest = std::min(source.width, source.height);
  const int side = shortest / 2 + static_cast<int>(random.below(shortest - shortest / 2 + 1));
  const image::Rect box{static_cast<int>(random.below(source.width - side + 1)),
                        static_cast<int>(random.below(source.height - side + 1)), side, side};
  image::Image picture = image::resize(source, box, size, size, image::Filter::bicubic);
  const double brightness = random.uniform(0.6, 1.2);
  for (std::uint8_t& value : picture.pixels) value = to_byte(value * brightness);
  return random.chance(0.5) ? image::flip_horizontal(picture) : picture;
}

}  // namespace

std::vector<image::Image> built_in_photographs() {
  std::vector<image::Image> pictures;
  for (const std::span<const unsigned char> file : background_files()) {
    pictures.push_back(image::decode(std::as_bytes(file), "built-in photograph"));
  }
  return pictures;
}

image::Image scene_background(int size, const std::vector<image::Image>& photographs, Random& random) {
  if (photographs.empty() || random.chance(0.5)) return texture(size, random);
  const auto which = static_cast<std::size_t>(random.below(static_cast<std::int64_t>(photographs.size())));
  return photograph(size, photographs[which], random);
}

}  // namespace spatialmamba::data
