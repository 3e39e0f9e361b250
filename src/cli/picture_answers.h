#pragma once

#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "image/codec.h"

namespace spatialmamba::cli {

/// How `predict` goes through pictures.

struct PictureList {
  std::vector<std::filesystem::path> files;
  std::vector<std::filesystem::path> names;  ///< of what is drawn of each, see output_names()
};

/// What find_pictures() finds. Throws UsageError where `out` is a picture and there are several.
PictureList list_pictures(const std::vector<std::string>& arguments, const std::filesystem::path& out);

/// Adds to a picture's answer what the network says of it; `name` is that of its drawings.
using Look = std::function<void(const image::Image& picture, const std::filesystem::path& name,
                                nlohmann::ordered_json& answer)>;

/// One answer for each picture: `file`, then `error` where it cannot be read, or else `width`, `height` and
/// what `look` adds. Shows progress.
nlohmann::ordered_json answer_pictures(const PictureList& pictures, const image::DecodeOptions& decode,
                                       const Look& look);

/// Prints the answers: by `print`, or with `json` as `document` with them as its `images`. Throws Error when
/// pictures could not be read, after all others were reported.
void report_answers(const nlohmann::ordered_json& answers, bool json, nlohmann::ordered_json document,
                    const std::function<void(const nlohmann::ordered_json& answer)>& print);

}  // namespace spatialmamba::cli
