// Classifies a picture with a weights file.
#include <spatialmamba/classifier.h>
#include <spatialmamba/version.h>

#include <iostream>

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: consumer WEIGHTS PICTURE\n";
    return 2;
  }
  try {
    const spatialmamba::Model model = spatialmamba::Model::load(argv[1]);
    spatialmamba::Classifier classifier(model);
    std::cout << "version " << spatialmamba::kVersion << '\n'
              << "model " << model.architecture().variant << ", " << model.architecture().num_classes
              << " classes\n";
    for (const auto& guess : classifier.classify(argv[2])) {
      std::cout << guess.index << ' ' << guess.probability << ' ' << guess.name << '\n';
    }
  } catch (const spatialmamba::Error& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
}
