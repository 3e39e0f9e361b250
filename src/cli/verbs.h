#pragma once

#include <CLI/CLI.hpp>
#include <exception>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace spatialmamba::cli {

/// What a verb does once its options are parsed. Failures are thrown as Error (exit code 1) or UsageError
/// (2).
using Run = std::function<void()>;

/// One verb of the program. `add` registers its options on `app` and returns what runs it; options live in a
/// std::shared_ptr that the returned function holds.
struct Verb {
  const char* name;
  const char* summary;
  const char* example;  ///< shown at the end of the verb's help
  Run (*add)(CLI::App& app);
};

/// The verbs that this build has, in the order of the help page. Two files define the three functions below:
/// verbs_training.cc, and verbs_inference.cc for a build without LibTorch.
std::span<const Verb> verbs();

/// A sentence for an exception of a foreign library that this build links, else nothing.
std::optional<std::string> describe_foreign(const std::exception& exception);

/// Something that the program runs on or can use, for `doctor`.
struct Component {
  std::string name;
  std::string found;    ///< version or place; empty when it is missing
  std::string purpose;  ///< what it is for
  std::string advice;   ///< how to get it
};

/// Components beyond those that every build has.
std::vector<Component> training_components();

Run add_bench(CLI::App& app);
Run add_convert(CLI::App& app);
Run add_dataset(CLI::App& app);
Run add_doctor(CLI::App& app);
Run add_eval(CLI::App& app);
Run add_forward(CLI::App& app);
Run add_info(CLI::App& app);
Run add_launch(CLI::App& app);
Run add_predict(CLI::App& app);
Run add_train(CLI::App& app);
Run add_visualize(CLI::App& app);

}  // namespace spatialmamba::cli
