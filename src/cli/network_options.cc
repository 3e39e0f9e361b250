#include <fmt/format.h>
#include <fmt/ranges.h>

#include "cli/network.h"

namespace spatialmamba::cli {

void add_network(CLI::App& app, NetworkOptions& options) {
  add_weights(app, options.weights);
  add_ema(app, options.ema);
  app.add_flag("--lenient", options.lenient, "Run although weights are missing or unexpected, and list them");
  app.add_option("--variant", options.variant,
                 fmt::format("A built-in model instead of weights: {}", fmt::join(variant_names(), ", ")))
      ->type_name("NAME");
  app.add_flag("--untrained", options.untrained, "Give that model random weights: its answers mean nothing");
  add_seed(app, options.seed);
  add_threads(app, options.threads);
  add_precision(app, options.precision);
}

}  // namespace spatialmamba::cli
