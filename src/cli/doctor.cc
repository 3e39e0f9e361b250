#include <fmt/format.h>

#include "base/parallel.h"
#include "cli/options.h"
#include "cli/verbs.h"

namespace spatialmamba::cli {
namespace {

void doctor(bool json) {
  nlohmann::ordered_json report;
  report["threads"] = available_cores();
  for (const Component& component : training_components())
    report["libraries"][component.name] = component.version;
  if (json) print_json(report);
}

}  // namespace

Run add_doctor(CLI::App& app) {
  auto json = std::make_shared<bool>(false);
  add_json(app, *json);
  return [json] { doctor(*json); };
}

}  // namespace spatialmamba::cli
