// What a recipe says of the network and of the tasks that are not classification.
#include "train/recipe_sections.h"

#include "model/scan_order.h"
#include "spatialmamba/architecture.h"

namespace spatialmamba::train {
namespace {

using Integers = std::vector<std::int64_t>;
using Reals = std::vector<double>;
using Optional = std::optional<double>;

}  // namespace

std::vector<RecipeKey> model_keys() {
  std::vector<std::string> variants = variant_names();
  variants.emplace_back("custom");
  return {
      {.name = "model.task",
       .field = Field<std::string>([](Recipe& r) -> std::string& { return r.model.task; }),
       .help = "What the network is trained for",
       .choices = {"classification", "segmentation", "detection"}},
      {.name = "model.variant",
       .field = Field<std::string>([](Recipe& r) -> std::string& { return r.model.variant; }),
       .help = "The network; custom takes dims and depths",
       .choices = variants},
      {.name = "model.dims",
       .field = Field<Integers>([](Recipe& r) -> Integers& { return r.model.dims; }),
       .help = "Channels of each stage (custom only)",
       .low = 1,
       .high = 65536},
      {.name = "model.depths",
       .field = Field<Integers>([](Recipe& r) -> Integers& { return r.model.depths; }),
       .help = "Blocks of each stage (custom only)",
       .low = 1,
       .high = 1000},
      {.name = "model.drop_path",
       .field = Field<Optional>([](Recipe& r) -> Optional& { return r.model.drop_path; }),
       .help = "Drop path rate of the last block, growing linearly from 0; 'variant' is the paper's",
       .low = 0,
       .high = 0.99},
      {.name = "model.fusion",
       .field = Field<std::string>([](Recipe& r) -> std::string& { return r.model.fusion; }),
       .help = "State fusion with dilations 1, 3 and 5, or an ablation of it",
       .choices = {"full", "off", "dilation_1", "dilation_1_3", "shared"}},
      {.name = "model.scan",
       .field = Field<std::string>([](Recipe& r) -> std::string& { return r.model.scan; }),
       .help = "Order in which the state scan visits the tokens; the paper's is row",
       .choices = scan_order_names()},
      {.name = "model.checkpoint_blocks",
       .field = Field<bool>([](Recipe& r) -> bool& { return r.model.checkpoint_blocks; }),
       .help = "Recompute each block in backward: less memory, more time",
       .effect = Effect::conduct},
  };
}

std::vector<RecipeKey> segmentation_keys() {
  return {
      {.name = "segmentation.channels",
       .field = Field<std::int64_t>([](Recipe& r) -> std::int64_t& { return r.segmentation.channels; }),
       .help = "Channels of every map in the decode head",
       .low = 1,
       .high = 16384},
      {.name = "segmentation.auxiliary_channels",
       .field =
           Field<std::int64_t>([](Recipe& r) -> std::int64_t& { return r.segmentation.auxiliary_channels; }),
       .help = "Channels of the auxiliary head; 0: without one",
       .low = 0,
       .high = 16384},
      {.name = "segmentation.auxiliary_weight",
       .field = Field<double>([](Recipe& r) -> double& { return r.segmentation.auxiliary_weight; }),
       .help = "Weight of its loss",
       .low = 0,
       .high = 1000},
      {.name = "segmentation.dropout",
       .field = Field<double>([](Recipe& r) -> double& { return r.segmentation.dropout; }),
       .help = "Share of channels dropped in front of each classifier",
       .low = 0,
       .high = 0.99},
      {.name = "segmentation.zero_label",
       .field = Field<std::string>([](Recipe& r) -> std::string& { return r.segmentation.zero_label; }),
       .help = "Value 0 of a label map in ADE20K's layout: nothing is known, or a class of its own, the "
               "background",
       .choices = {"unlabelled", "background"}},
      {.name = "segmentation.fit",
       .field = Field<Integers>([](Recipe& r) -> Integers& { return r.segmentation.fit; }),
       .help = "Pictures are fitted into [long side, short side]; 0: as they are",
       .low = 0,
       .high = 65536},
      {.name = "segmentation.ratio",
       .field = Field<Reals>([](Recipe& r) -> Reals& { return r.segmentation.ratio; }),
       .help = "In training that size is multiplied by a random number between these",
       .low = 0.01,
       .high = 100},
      {.name = "segmentation.crop",
       .field = Field<std::int64_t>([](Recipe& r) -> std::int64_t& { return r.segmentation.crop; }),
       .help = "Side of the square that training cuts out",
       .low = 1,
       .high = 16384},
      {.name = "segmentation.cat_max_ratio",
       .field = Field<double>([](Recipe& r) -> double& { return r.segmentation.cat_max_ratio; }),
       .help = "A square with a larger share of one class is drawn again",
       .low = 0.001,
       .high = 1},
      {.name = "segmentation.photometric",
       .field = Field<bool>([](Recipe& r) -> bool& { return r.segmentation.photometric; }),
       .help = "Random brightness, contrast, saturation and hue"},
  };
}

std::vector<RecipeKey> detection_keys() {
  return {
      {.name = "detection.channels",
       .field = Field<std::int64_t>([](Recipe& r) -> std::int64_t& { return r.detection.channels; }),
       .help = "Channels of the pyramid, the proposal network and the mask head",
       .low = 1,
       .high = 16384},
      {.name = "detection.fc_channels",
       .field = Field<std::int64_t>([](Recipe& r) -> std::int64_t& { return r.detection.fc_channels; }),
       .help = "Outputs of the box head's linear layers",
       .low = 1,
       .high = 16384},
      {.name = "detection.fit",
       .field = Field<Integers>([](Recipe& r) -> Integers& { return r.detection.fit; }),
       .help = "Pictures are fitted into [long side, short side]",
       .low = 1,
       .high = 65536},
      {.name = "detection.short_sides",
       .field = Field<Integers>([](Recipe& r) -> Integers& { return r.detection.short_sides; }),
       .help = "In training one of these short sides is drawn; empty: that of fit",
       .low = 1,
       .high = 65536},
      {.name = "detection.crop_short_sides",
       .field = Field<Integers>([](Recipe& r) -> Integers& { return r.detection.crop_short_sides; }),
       .help = "Every second training picture is fitted to one of these and cropped first; empty: none",
       .low = 1,
       .high = 65536},
      {.name = "detection.crop",
       .field = Field<Integers>([](Recipe& r) -> Integers& { return r.detection.crop; }),
       .help = "Smallest and largest side of those crops",
       .low = 1,
       .high = 65536},
      {.name = "detection.flip",
       .field = Field<bool>([](Recipe& r) -> bool& { return r.detection.flip; }),
       .help = "Mirror every second training picture"},
      {.name = "detection.least_side",
       .field = Field<std::int64_t>([](Recipe& r) -> std::int64_t& { return r.detection.least_side; }),
       .help = "Training pictures with a shorter side are left out",
       .low = 0,
       .high = 65536},
      {.name = "detection.rpn_samples",
       .field = Field<std::int64_t>([](Recipe& r) -> std::int64_t& { return r.detection.rpn_samples; }),
       .help = "Anchors per picture that the proposal network learns from",
       .low = 2,
       .high = 1000000},
      {.name = "detection.box_samples",
       .field = Field<std::int64_t>([](Recipe& r) -> std::int64_t& { return r.detection.box_samples; }),
       .help = "Boxes per picture that the heads learn from, at most a quarter of them objects",
       .low = 4,
       .high = 1000000},
  };
}

}  // namespace spatialmamba::train
