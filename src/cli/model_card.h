#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "classifier/card_parts.h"
#include "cli/options.h"
#include "image/transform.h"
#include "spatialmamba/architecture.h"

namespace spatialmamba::cli {

/// How to feed a network and what its answers are called.
struct ModelCard {
  std::vector<std::string> classes;
  bool named = false;  ///< false: nobody knows the names, `classes` holds "class 0", ...
  image::EvalTransform transform;
};

/// What the user wants otherwise.
struct CardOptions {
  std::filesystem::path classes;  ///< one name per line
  ImageSize size;                 ///< 0: as trained
};

void add_card(CLI::App& app, CardOptions& options);

/// Names of classes from --classes; without it from the metadata or, if there are none, those given. Throws
/// Error for another number of names than of classes.
ClassNames class_names(std::int64_t classes, const std::map<std::string, std::string>& metadata,
                       const std::string& source, const CardOptions& options,
                       const std::vector<std::string>& built_in);

/// From the metadata of a weights file of ours (classes, size, mean, std, crop, interpolation); what they
/// leave open is ImageNet's: 224 pixels, its normalisation and, for 1000 classes, its names. Throws Error
/// naming the file for metadata that make no sense and for another number of names than of classes.
ModelCard model_card(const Architecture& architecture, const std::map<std::string, std::string>& metadata,
                     const std::string& source, const CardOptions& options);

}  // namespace spatialmamba::cli
