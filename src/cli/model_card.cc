#include "cli/model_card.h"

#include <sstream>
#include <utility>

#include "base/file.h"
#include "classifier/card_parts.h"
#include "spatialmamba/classifier.h"

namespace spatialmamba::cli {
namespace {

std::vector<std::string> read_class_names(const std::filesystem::path& path) {
  std::vector<std::string> names;
  std::istringstream lines(read_text(path));
  for (std::string line; std::getline(lines, line);) {
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ' || line.back() == '\t'))
      line.pop_back();
    if (!line.empty()) names.push_back(line);
  }
  return names;
}

/// Those that the user lists, one for each class.
std::vector<std::string> listed_names(const CardOptions& options, std::int64_t classes) {
  std::vector<std::string> names = read_class_names(options.classes);
  require_class_count(names, classes, options.classes.string());
  return names;
}

}  // namespace

void add_card(CLI::App& app, CardOptions& options) {
  app.add_option("--classes", options.classes, "Names of the classes, one per line")->type_name("FILE");
  add_size(app, options.size);
}

ClassNames class_names(std::int64_t classes, const std::map<std::string, std::string>& metadata,
                       const std::string& source, const CardOptions& options,
                       const std::vector<std::string>& built_in) {
  if (!options.classes.empty()) return {.names = listed_names(options, classes), .known = true};
  return spatialmamba::class_names(classes, metadata, source, built_in);
}

ModelCard model_card(const Architecture& architecture, const std::map<std::string, std::string>& metadata,
                     const std::string& source, const CardOptions& options) {
  CardOverrides overrides{.height = options.size.height, .width = options.size.width};
  if (!options.classes.empty()) overrides.classes = listed_names(options, architecture.num_classes);
  spatialmamba::ModelCard card = spatialmamba::model_card(architecture, metadata, source, overrides);
  return {std::move(card.classes), card.named, eval_transform(card.transform)};
}

}  // namespace spatialmamba::cli
