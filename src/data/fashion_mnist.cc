#include <memory>
#include <utility>

#include <fmt/format.h>

#include "base/error.h"
#include "data/dataset.h"
#include "data/idx.h"

namespace spatialmamba::data {
namespace {

const std::vector<std::string>& class_names() {
  static const std::vector<std::string> names = {"T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
                                                 "Sandal",      "Shirt",   "Sneaker",  "Bag",   "Ankle boot"};
  return names;
}

std::filesystem::path idx_file(const std::filesystem::path& folder, const std::string& name) {
  for (const std::string& candidate : {name + ".gz", name}) {
    if (std::filesystem::exists(folder / candidate)) return folder / candidate;
  }
  fail("{}: expected a Fashion-MNIST folder with {}.gz", folder.string(), name);
}

image::Image picture_at(const IdxArray& images, std::int64_t i) {
  const std::int64_t area = images.dimensions[1] * images.dimensions[2];
  image::Image picture(static_cast<int>(images.dimensions[2]), static_cast<int>(images.dimensions[1]), 1);
  std::copy_n(images.values.begin() + i * area, area, picture.pixels.begin());
  return picture;
}

}  // namespace

std::filesystem::path default_fashion_mnist_folder() {
  return "/usr/share/datasets/fashion-mnist";
}

Dataset fashion_mnist(const std::filesystem::path& folder, bool train, const DatasetOptions& options) {
  const std::string part = train ? "train" : "t10k";
  const std::filesystem::path images_path = idx_file(folder, part + "-images-idx3-ubyte");
  const std::filesystem::path labels_path = idx_file(folder, part + "-labels-idx1-ubyte");
  const auto images = std::make_shared<const IdxArray>(read_idx(images_path, 3));
  const IdxArray labels = read_idx(labels_path, 1);
  if (labels.dimensions[0] != images->dimensions[0]) {
    fail("{}: {} labels for the {} pictures of {}", labels_path.string(), labels.dimensions[0],
         images->dimensions[0], images_path.string());
  }
  if (!options.classes.empty() && options.classes != class_names()) {
    fail("{}: Fashion-MNIST does not have the {} expected classes", folder.string(), options.classes.size());
  }
  Dataset dataset;
  dataset.classes = class_names();
  dataset.labels.assign(labels.values.begin(), labels.values.end());
  for (std::size_t i = 0; i < dataset.labels.size(); ++i) {
    if (dataset.labels[i] >= static_cast<std::int64_t>(dataset.classes.size())) {
      fail("{}: label {} of picture {}, expected one of {} classes", labels_path.string(), dataset.labels[i],
           i, dataset.classes.size());
    }
  }
  const int channels = options.channels == 0 ? 1 : options.channels;
  dataset.load = [images, channels](std::int64_t i) {
    return image::with_channels(picture_at(*images, i), channels);
  };
  dataset.name = [part](std::int64_t i) { return fmt::format("{} #{}", part, i); };
  return dataset;
}

}  // namespace spatialmamba::data
