#pragma once

#include "cli/verbs.h"

namespace spatialmamba::cli {

/// `dataset fashion-scenes`: pictures of several garments for segmentation and detection.
Run add_fashion_scenes(CLI::App& app);

}  // namespace spatialmamba::cli
