#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace spatialmamba {

/// A class of a segmentation data set and the colour that its label maps are shown in.
struct LabelClass {
  std::string_view name;
  std::array<std::uint8_t, 3> color;  ///< red, green, blue
};

/// In the order of the network's outputs.
std::span<const LabelClass> ade20k_classes();      ///< 150
std::span<const LabelClass> cityscapes_classes();  ///< 19
std::span<const LabelClass> voc_classes();         ///< 21, the background first

/// The number that each of Cityscapes' 19 classes has in its published label maps.
std::span<const std::uint8_t> cityscapes_label_ids();

/// A colour for class `index` of a data set that has none: Pascal VOC's rule, black first.
std::array<std::uint8_t, 3> label_color(std::size_t index);

/// The colours of classes: those of the built-in data set whose names they are, else label_color().
std::vector<std::array<std::uint8_t, 3>> palette_of(const std::vector<std::string>& names);

}  // namespace spatialmamba
