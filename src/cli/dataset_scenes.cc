#include <fmt/format.h>

#include <memory>

#include "base/parallel.h"
#include "cli/dataset_verbs.h"
#include "cli/inputs.h"
#include "cli/options.h"
#include "data/scene_background.h"
#include "data/scene_files.h"
#include "image/codec.h"

namespace spatialmamba::cli {
namespace {

struct Options {
  std::filesystem::path data = data::default_fashion_mnist_folder();
  std::filesystem::path out;
  std::vector<std::string> backgrounds;
  data::SceneSetOptions scenes;
  int threads = 1;
  bool json = false;
};

std::vector<image::Image> photographs(const Options& options) {
  if (options.backgrounds.empty()) return data::built_in_photographs();
  std::vector<image::Image> pictures;
  for (const auto& path : find_pictures(options.backgrounds)) pictures.push_back(image::read_image(path));
  return pictures;
}

void write_scenes(const Options& options) {
  ThreadPool pool(options.threads);
  data::write_fashion_scenes(options.out, options.data, photographs(options), options.scenes,
                             pool.parallel_for());
  if (options.json) {
    print_json({{"out", options.out.string()},
                {"train", options.scenes.train},
                {"val", options.scenes.validation},
                {"size", options.scenes.size},
                {"seed", options.scenes.seed}});
  } else {
    fmt::print("wrote {} training and {} validation scenes of {} pixels to {}\n", options.scenes.train,
               options.scenes.validation, options.scenes.size, options.out.string());
  }
}

}  // namespace

Run add_fashion_scenes(CLI::App& app) {
  auto options = std::make_shared<Options>();
  app.add_option("-o,--out", options->out, "Folder to write to")->required()->type_name("FOLDER");
  app.add_option("--train", options->scenes.train, "Training scenes")->capture_default_str()->type_name("N");
  app.add_option("--val", options->scenes.validation, "Validation scenes")
      ->capture_default_str()
      ->type_name("N");
  app.add_option("--size", options->scenes.size, "Pixels of a scene's side")
      ->capture_default_str()
      ->type_name("N");
  add_seed(app, options->scenes.seed);
  app.add_option("-d,--data", options->data, "Folder of Fashion-MNIST")
      ->capture_default_str()
      ->type_name("FOLDER");
  app.add_option("--backgrounds", options->backgrounds,
                 "Photographs to stand on: files, folders, patterns (default: six that the program carries)")
      ->type_name("PATH");
  add_threads(app, options->threads);
  add_json(app, options->json);
  return [options] { write_scenes(*options); };
}

}  // namespace spatialmamba::cli
