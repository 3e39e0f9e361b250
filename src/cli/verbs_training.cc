// The verbs of a build with LibTorch.
#include <ATen/Version.h>
#include <c10/util/Exception.h>
#include <torch/version.h>

#include <opencv2/core/version.hpp>

#include "cli/verbs.h"
#include "data/dataset.h"

namespace spatialmamba::cli {

std::span<const Verb> verbs() {
  static constexpr Verb kVerbs[] = {
      {"train", "Train or fine-tune a network on labelled pictures",
       "spatialmamba train --config configs/fashion_mnist.yaml --data /usr/share/datasets/fashion-mnist "
       "--out out/run "
       "train.epochs=5",
       add_train},
      {"launch", "Train with several processes, on one machine or on several",
       "spatialmamba launch -n 4 --max-restarts 3 train --config configs/imagenet_tiny.yaml --data "
       "/data/imagenet "
       "--out out/tiny",
       add_launch},
      {"eval", "Accuracy of weights on a labelled data set",
       "spatialmamba eval --weights best.safetensors --data /usr/share/datasets/fashion-mnist --out report",
       add_eval},
      {"predict", "What is in pictures",
       "spatialmamba predict --weights tiny.pth photo.jpg 'holiday/*.jpg' --out annotated", add_predict},
      {"forward", "Every stage's output for a tensor, to compare implementations",
       "spatialmamba forward --weights tiny.pth --input in.safetensors --output out.safetensors --precision "
       "fp64",
       add_forward},
      {"visualize", "Pictures of what happens inside: states before and after fusion, fusion kernels",
       "spatialmamba visualize states --weights tiny.pth --image photo.jpg --out states.png", add_visualize},
      {"info", "Parameters, FLOPs, memory and layers of a model or a weights file",
       "spatialmamba info --variant tiny --size 224", add_info},
      {"bench", "How fast the engine runs a model here: latency, throughput, layer by layer",
       "spatialmamba bench --variant tiny --threads 2 --precision bf16 --layers", add_bench},
      {"convert", "Weights from one format into another: .pth, .safetensors",
       "spatialmamba convert tiny.pth tiny.safetensors", add_convert},
      {"dataset", "Make data: pictures out of a data set, scenes of garments",
       "spatialmamba dataset images --data /usr/share/datasets/fashion-mnist --count 12 --out images",
       add_dataset},
      {"doctor", "What this machine and this build can do, and what is missing", "spatialmamba doctor",
       add_doctor},
  };
  return kVerbs;
}

std::optional<std::string> describe_foreign(const std::exception& exception) {
  const auto* error = dynamic_cast<const c10::Error*>(&exception);
  if (error == nullptr) return std::nullopt;
  const std::string message = error->what_without_backtrace();
  // LibTorch has no type of its own for a failed allocation.
  if (message.find("can't allocate memory") != std::string::npos) {
    return "out of memory; try a smaller --batch or --size";
  }
  return "a defect of this program: LibTorch refused an operation: " + message.substr(0, message.find('\n'));
}

std::vector<Component> training_components() {
  const std::filesystem::path fashion = data::default_fashion_mnist_folder();
  const bool has_fashion = std::filesystem::exists(fashion / "train-images-idx3-ubyte.gz");
  return {{.name = "LibTorch",
           .found = TORCH_VERSION,
           .purpose = "train, eval, visualize, forward in fp64",
           .advice = "run ./setup"},
          {.name = "OpenCV", .found = CV_VERSION, .purpose = "drawing", .advice = "run ./setup"},
          {.name = "Fashion-MNIST",
           .found = has_fashion ? fashion.string() : "",
           .purpose = "the demo: 70,000 real images",
           .advice = "apt-get install dataset-fashion-mnist"}};
}

}  // namespace spatialmamba::cli
