#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "base/error.h"
#include "base/file.h"
#include "base/random.h"
#include "cli/dataset_verbs.h"
#include "cli/options.h"
#include "cli/verbs.h"
#include "data/dataset.h"
#include "image/codec.h"

namespace spatialmamba::cli {
namespace {

struct ImagesOptions {
  std::filesystem::path data;
  std::filesystem::path out;
  std::string split = "test";
  std::int64_t count = 100;
  std::uint64_t seed = 0;
  bool json = false;
};

/// `count` different indices below `size`, drawn by the seed, ascending.
std::vector<std::int64_t> draw_indices(std::int64_t size, std::int64_t count, std::uint64_t seed) {
  std::vector<std::int64_t> indices(static_cast<std::size_t>(size));
  for (std::size_t i = 0; i < indices.size(); ++i) indices[i] = static_cast<std::int64_t>(i);
  Random random(seed);
  random.shuffle(std::span(indices));
  indices.resize(static_cast<std::size_t>(std::min(size, count)));
  std::sort(indices.begin(), indices.end());
  return indices;
}

/// A class name that is safe as a part of a file name.
std::string file_name_part(std::string text) {
  std::replace_if(
      text.begin(), text.end(), [](unsigned char c) { return std::isalnum(c) == 0; }, '_');
  return text;
}

void export_images(const ImagesOptions& options) {
  if (options.count < 1) fail_usage("--count must be at least 1, not {}", options.count);
  const auto split = options.split == "train" ? data::Split::train : data::Split::validation;
  const data::Dataset dataset = data::open_dataset(options.data, split, {.channels = 0});
  make_folder(options.out);
  auto files = nlohmann::ordered_json::array();
  for (const std::int64_t index : draw_indices(dataset.size(), options.count, options.seed)) {
    const std::string& label =
        dataset.classes[static_cast<std::size_t>(dataset.labels[static_cast<std::size_t>(index)])];
    const auto path = options.out / fmt::format("{:06}_{}.png", index, file_name_part(label));
    image::write_image(path, dataset.load(index));
    files.push_back({{"file", path.string()}, {"label", label}});
  }
  if (options.json) {
    print_json({{"images", files}});
  } else {
    fmt::print("wrote {} images of {} to {}\n", files.size(), dataset.size(), options.out.string());
  }
}

}  // namespace

Run add_dataset(CLI::App& app) {
  app.require_subcommand(1);
  auto options = std::make_shared<ImagesOptions>();
  CLI::App* images =
      app.add_subcommand("images", "Write pictures of a data set as PNG files named NUMBER_LABEL.png");
  add_data(*images, options->data)->required();
  images->add_option("--out", options->out, "Folder to write to")->required();
  images->add_option("--split", options->split, "Part of the data set")
      ->check(CLI::IsMember({"train", "test"}))
      ->capture_default_str();
  images->add_option("--count", options->count, "How many, drawn by the seed")->capture_default_str();
  add_seed(*images, options->seed);
  add_json(*images, options->json);
  CLI::App* scenes = app.add_subcommand(
      "fashion-scenes", "Compose pictures of several garments, with label maps and COCO instances");
  const Run write_scenes = add_fashion_scenes(*scenes);
  return [options, images, write_scenes] {
    if (images->parsed()) {
      export_images(*options);
    } else {
      write_scenes();
    }
  };
}

}  // namespace spatialmamba::cli
