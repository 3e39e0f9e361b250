#pragma once

#include <span>
#include <string_view>

namespace spatialmamba {

/// Names of the 1000 classes of ImageNet-1K, in the order of the network's outputs.
std::span<const std::string_view> imagenet_classes();

}  // namespace spatialmamba
