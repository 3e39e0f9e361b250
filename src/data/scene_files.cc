#include "data/scene_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <mutex>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "base/progress.h"
#include "data/fashion_scenes.h"
#include "image/codec.h"

namespace spatialmamba::data {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

constexpr int kSmallestScene = 32;
constexpr int kLargestScene = 2048;
constexpr std::int64_t kMostScenes = 999'999;  // as many as the files' names can number

struct Part {
  const char* name;
  std::uint64_t stream;  // of random numbers
  Dataset garments;
  std::int64_t count;
};

std::string file_name(std::int64_t index) {
  return fmt::format("{:06}.png", index + 1);
}

/// A picture that this call is not going to replace would silently join the set.
void require_no_others(const fs::path& folder, std::int64_t count) {
  if (!fs::exists(folder)) return;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    const bool ours =
        name.size() == file_name(0).size() && name >= file_name(0) && name <= file_name(count - 1);
    if (count == 0 || !ours)
      fail("{}: the folder holds pictures of another set; choose a new one", entry.path().string());
  }
}

image::Image labels_of(const Scene& scene) {
  image::Image labels = scene.owners;
  for (std::uint8_t& value : labels.pixels) {
    if (value != 0) value = static_cast<std::uint8_t>(scene.classes[value - 1U] + 1);
  }
  return labels;
}

/// Lengths of the runs of other and own pixels in turn, down the columns.
std::vector<std::int64_t> run_lengths(const image::Image& owners, std::uint8_t owner) {
  std::vector<std::int64_t> runs;
  bool inside = false;
  std::int64_t length = 0;
  for (int x = 0; x < owners.width; ++x) {
    for (int y = 0; y < owners.height; ++y) {
      if ((owners.row(y)[x] == owner) != inside) {
        runs.push_back(length);
        length = 0;
        inside = !inside;
      }
      ++length;
    }
  }
  runs.push_back(length);
  return runs;
}

ordered_json annotation(const Scene& scene, std::size_t garment) {
  const auto owner = static_cast<std::uint8_t>(garment + 1);
  const image::Image& owners = scene.owners;
  image::Rect box{owners.width, owners.height, 0, 0};
  int right = 0;
  int bottom = 0;
  std::int64_t area = 0;
  for (int y = 0; y < owners.height; ++y) {
    for (int x = 0; x < owners.width; ++x) {
      if (owners.row(y)[x] != owner) continue;
      ++area;
      box.left = std::min(box.left, x);
      box.top = std::min(box.top, y);
      right = std::max(right, x + 1);
      bottom = std::max(bottom, y + 1);
    }
  }
  return {
      {"category_id", scene.classes[garment] + 1},
      {"bbox", {box.left, box.top, right - box.left, bottom - box.top}},
      {"area", area},
      {"iscrowd", 0},
      {"segmentation", {{"size", {owners.height, owners.width}}, {"counts", run_lengths(owners, owner)}}}};
}

ordered_json image_entry(std::int64_t index, int size) {
  return {{"id", index + 1}, {"file_name", file_name(index)}, {"width", size}, {"height", size}};
}

ordered_json categories(const std::vector<std::string>& classes) {
  auto list = ordered_json::array();
  for (std::size_t i = 0; i < classes.size(); ++i) list.push_back({{"id", i + 1}, {"name", classes[i]}});
  return list;
}

/// COCO's document from what each scene holds.
ordered_json coco(const std::vector<std::string>& classes,
                  const std::vector<std::vector<ordered_json>>& scenes, int size) {
  ordered_json document{{"images", ordered_json::array()},
                        {"annotations", ordered_json::array()},
                        {"categories", categories(classes)}};
  for (std::size_t i = 0; i < scenes.size(); ++i) {
    const auto index = static_cast<std::int64_t>(i);
    document["images"].push_back(image_entry(index, size));
    for (const ordered_json& garment : scenes[i]) {
      ordered_json entry{{"id", document["annotations"].size() + 1}, {"image_id", index + 1}};
      entry.update(garment);
      document["annotations"].push_back(entry);
    }
  }
  return document;
}

void write_part(const fs::path& out, const Part& part, const std::vector<image::Image>& photographs,
                const SceneSetOptions& options, const ParallelFor& parallel) {
  const fs::path images = out / "images" / part.name;
  const fs::path annotations = out / "annotations" / part.name;
  require_no_others(images, part.count);
  require_no_others(annotations, part.count);
  make_folder(images);
  make_folder(annotations);
  const SceneComposer composer(part.garments, photographs, options.size);
  const std::uint64_t seed = Random::mix(options.seed) ^ part.stream;
  std::vector<std::vector<ordered_json>> garments(static_cast<std::size_t>(part.count));
  ProgressBar bar(fmt::format("{} scenes", part.name), part.count, "scenes");
  std::mutex bar_mutex;
  parallel(part.count, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const Scene scene = composer.compose(Random(seed, static_cast<std::uint64_t>(i)));
      image::write_image(images / file_name(i), scene.picture);
      image::write_image(annotations / file_name(i), labels_of(scene));
      for (std::size_t k = 0; k < scene.classes.size(); ++k) {
        garments[static_cast<std::size_t>(i)].push_back(annotation(scene, k));
      }
      const std::lock_guard lock(bar_mutex);
      bar.advance(1);
    }
  });
  write_text(out / fmt::format("instances_{}.json", part.name),
             coco(part.garments.classes, garments, options.size).dump() + "\n");
}

void require_between(const char* what, std::int64_t value, std::int64_t low, std::int64_t high) {
  if (value < low || value > high) fail_usage("{} is {}, expected {} to {}", what, value, low, high);
}

}  // namespace

void write_fashion_scenes(const fs::path& out, const fs::path& fashion_mnist_folder,
                          const std::vector<image::Image>& photographs, const SceneSetOptions& options,
                          const ParallelFor& parallel) {
  require_between("the number of training scenes", options.train, 0, kMostScenes);
  require_between("the number of validation scenes", options.validation, 0, kMostScenes);
  require_between("the size of a scene", options.size, kSmallestScene, kLargestScene);
  const std::vector<Part> parts = {
      {"train", 0, fashion_mnist(fashion_mnist_folder, true, {.channels = 1}), options.train},
      {"val", 1, fashion_mnist(fashion_mnist_folder, false, {.channels = 1}), options.validation}};
  std::string names;
  for (const std::string& name : parts[0].garments.classes) names += name + "\n";
  make_folder(out);
  write_text(out / "classes.txt", names);
  for (const Part& part : parts) write_part(out, part, photographs, options, parallel);
}

}  // namespace spatialmamba::data
