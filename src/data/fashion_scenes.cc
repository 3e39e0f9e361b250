#include "data/fashion_scenes.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <utility>

#include "data/scene_background.h"

namespace spatialmamba::data {
namespace {

constexpr int kFewestGarments = 2;
constexpr int kMostGarments = 5;
constexpr int kTries = 40;          // places tried for one garment before it is given up
constexpr double kSmallest = 0.30;  // side of the garment's square, as a part of the scene's
constexpr double kLargest = 0.60;
constexpr double kMargin = 0.15;  // of the scene that holds no garment's centre
constexpr double kMostTilt = std::numbers::pi / 6.0;
constexpr double kVisiblePart = 0.6;  // of each garment that later ones leave visible, at least
constexpr int kBlack = 24;            // darker is background where it touches the border

/// Brightness and extent of a garment; extent is 1 inside, 0 outside.
struct Sprite {
  int width = 0;
  int height = 0;
  std::vector<double> light;
  std::vector<double> extent;
};

/// Everything that the black around the garment does not reach belongs to it, dark parts inside as well.
Sprite cut_out(const image::Image& grey) {
  Sprite sprite{grey.width, grey.height, {}, std::vector<double>(grey.pixels.size(), 1.0)};
  for (const std::uint8_t value : grey.pixels) sprite.light.push_back(value);
  std::vector<std::pair<int, int>> open;
  for (int x = -1; x <= grey.width; ++x) {
    open.emplace_back(x, 0);
    open.emplace_back(x, grey.height - 1);
  }
  for (int y = 0; y < grey.height; ++y) {
    open.emplace_back(0, y);
    open.emplace_back(grey.width - 1, y);
  }
  while (!open.empty()) {
    const auto [x, y] = open.back();
    open.pop_back();
    if (x < 0 || y < 0 || x >= grey.width || y >= grey.height) continue;
    const auto at = static_cast<std::size_t>(y * grey.width + x);
    if (sprite.extent[at] == 0.0 || grey.pixels[at] > kBlack) continue;
    sprite.extent[at] = 0.0;
    for (const int step : {-1, 1}) {
      open.emplace_back(x + step, y);
      open.emplace_back(x, y + step);
    }
  }
  return sprite;
}

/// Bilinear between the pixels' centres, 0 outside.
double sample(const std::vector<double>& values, const Sprite& sprite, double x, double y) {
  const double left = std::floor(x - 0.5);
  const double top = std::floor(y - 0.5);
  double sum = 0.0;
  for (int dy = 0; dy < 2; ++dy) {
    for (int dx = 0; dx < 2; ++dx) {
      const double column = left + dx;
      const double row = top + dy;
      if (column < 0 || row < 0 || column >= sprite.width || row >= sprite.height) continue;
      const double weight = (1.0 - std::abs(x - 0.5 - column)) * (1.0 - std::abs(y - 0.5 - row));
      sum += weight * values[static_cast<std::size_t>(row) * static_cast<std::size_t>(sprite.width) +
                             static_cast<std::size_t>(column)];
    }
  }
  return sum;
}

/// A saturated or pale tint, bright enough to show the garment's own shading.
std::array<double, 3> random_tint(Random& random) {
  const double hue = random.uniform(0.0, 6.0);
  const double saturation = random.uniform(0.0, 0.8);
  const double value = random.uniform(0.55, 1.0);
  std::array<double, 3> tint{};
  for (std::size_t c = 0; c < 3; ++c) {
    const double k = std::fmod(5.0 - 2.0 * static_cast<double>(c) + hue, 6.0);
    tint[c] = value * (1.0 - saturation * std::clamp(std::min(k, 4.0 - k), 0.0, 1.0));
  }
  return tint;
}

/// Pixels of each owner.
std::array<std::int64_t, 256> areas(const image::Image& owners) {
  std::array<std::int64_t, 256> counts{};
  for (const std::uint8_t owner : owners.pixels) ++counts[owner];
  return counts;
}

/// How a garment's square lies in the scene.
struct Pose {
  double scale = 1.0;  ///< sprite pixels per scene pixel
  double cosine = 1.0;
  double sine = 0.0;
  double mirror = 1.0;
  double centre_x = 0.0;
  double centre_y = 0.0;
};

Pose random_pose(const Sprite& sprite, int size, Random& random) {
  Pose pose;
  pose.scale = sprite.width / (size * random.uniform(kSmallest, kLargest));
  const double angle = random.uniform(-kMostTilt, kMostTilt);
  pose.cosine = std::cos(angle) * pose.scale;
  pose.sine = std::sin(angle) * pose.scale;
  pose.mirror = random.chance(0.5) ? -1.0 : 1.0;
  pose.centre_x = random.uniform(kMargin, 1.0 - kMargin) * size;
  pose.centre_y = random.uniform(kMargin, 1.0 - kMargin) * size;
  return pose;
}

/// A garment where it could go: for each pixel of the scene how much it covers and in which colour.
struct Placement {
  std::vector<float> cover;
  std::vector<std::array<std::uint8_t, 3>> colors;
};

Placement place(const Sprite& sprite, const Pose& pose, const std::array<double, 3>& tint, int size) {
  const auto pixels = static_cast<std::size_t>(size) * static_cast<std::size_t>(size);
  Placement placement{std::vector<float>(pixels), std::vector<std::array<std::uint8_t, 3>>(pixels)};
  for (std::size_t at = 0; at < pixels; ++at) {
    const double dx = static_cast<double>(at % static_cast<std::size_t>(size)) + 0.5 - pose.centre_x;
    const double dy = static_cast<double>(at / static_cast<std::size_t>(size)) + 0.5 - pose.centre_y;
    const double u = pose.mirror * (pose.cosine * dx + pose.sine * dy) + 0.5 * sprite.width;
    const double v = pose.cosine * dy - pose.sine * dx + 0.5 * sprite.height;
    const double extent = sample(sprite.extent, sprite, u, v);
    if (extent <= 0.0) continue;
    // The edge is where half of the extent is left, made one pixel of the scene wide.
    placement.cover[at] = static_cast<float>(std::clamp((extent - 0.5) / pose.scale + 0.5, 0.0, 1.0));
    const double light = sample(sprite.light, sprite, u, v) / extent;
    for (std::size_t k = 0; k < tint.size(); ++k) {
      placement.colors[at][k] = static_cast<std::uint8_t>(std::clamp(light * tint[k], 0.0, 255.0));
    }
  }
  return placement;
}

void paint(const Placement& placement, image::Image& picture) {
  for (std::size_t i = 0; i < placement.cover.size(); ++i) {
    for (std::size_t k = 0; k < 3; ++k) {
      std::uint8_t& value = picture.pixels[3 * i + k];
      const double mixed = std::lerp(static_cast<double>(value), static_cast<double>(placement.colors[i][k]),
                                     static_cast<double>(placement.cover[i]));
      value = static_cast<std::uint8_t>(std::lround(mixed));
    }
  }
}

image::Image with_owner(image::Image owners, const Placement& placement, std::uint8_t owner) {
  for (std::size_t i = 0; i < owners.pixels.size(); ++i) {
    if (placement.cover[i] >= 0.5F) owners.pixels[i] = owner;
  }
  return owners;
}

/// True when enough remains of every garment; `whole` holds their pixels before others covered them.
bool all_visible(const std::array<std::int64_t, 256>& counts, const std::vector<std::int64_t>& whole) {
  for (std::size_t i = 0; i < whole.size(); ++i) {
    if (static_cast<double>(counts[i + 1]) < kVisiblePart * static_cast<double>(whole[i])) return false;
  }
  return true;
}

}  // namespace

SceneComposer::SceneComposer(Dataset garments, std::vector<image::Image> photographs, int size)
    : garments_(std::move(garments)), photographs_(std::move(photographs)), size_(size) {
  by_class_.resize(garments_.classes.size());
  for (std::int64_t i = 0; i < garments_.size(); ++i) {
    by_class_[static_cast<std::size_t>(garments_.labels[static_cast<std::size_t>(i)])].push_back(i);
  }
  std::erase_if(by_class_, [](const auto& members) { return members.empty(); });
}

std::int64_t SceneComposer::draw_garment(Random& random) const {
  const auto& members = by_class_[static_cast<std::size_t>(random.below(std::ssize(by_class_)))];
  return members[static_cast<std::size_t>(random.below(std::ssize(members)))];
}

Scene SceneComposer::compose(Random random) const {
  Scene scene{scene_background(size_, photographs_, random), image::Image(size_, size_, 1), {}};
  std::vector<std::int64_t> whole;
  const std::int64_t wanted = kFewestGarments + random.below(kMostGarments - kFewestGarments + 1);
  for (int attempt = 0; attempt < kTries && std::ssize(whole) < wanted; ++attempt) {
    const std::int64_t garment = draw_garment(random);
    const Sprite sprite = cut_out(image::with_channels(garments_.load(garment), 1));
    const Pose pose = random_pose(sprite, size_, random);
    const Placement placement = place(sprite, pose, random_tint(random), size_);
    const auto owner = static_cast<std::uint8_t>(whole.size() + 1);
    image::Image owners = with_owner(scene.owners, placement, owner);
    const auto counts = areas(owners);
    if (counts[owner] == 0 || !all_visible(counts, whole)) continue;
    scene.owners = std::move(owners);
    scene.classes.push_back(garments_.labels[static_cast<std::size_t>(garment)]);
    whole.push_back(counts[owner]);
    paint(placement, scene.picture);
  }
  return scene;
}

}  // namespace spatialmamba::data
