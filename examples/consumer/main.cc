// Opens a weights file, says what model it holds and what that costs.
#include <spatialmamba/architecture.h>
#include <spatialmamba/version.h>
#include <spatialmamba/weights.h>

#include <iostream>

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: consumer WEIGHTS\n";
    return 2;
  }
  try {
    const spatialmamba::Weights weights = spatialmamba::read_weights(argv[1]);
    const spatialmamba::Architecture model = spatialmamba::infer_architecture(weights.tensors);
    std::cout << "version " << spatialmamba::kVersion << '\n'
              << "model " << model.variant << ", " << model.num_classes << " classes\n"
              << "parameters " << spatialmamba::count_parameters(model) << '\n'
              << "flops " << spatialmamba::count_flops(model, 224, 224) << '\n';
  } catch (const spatialmamba::Error& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
}
