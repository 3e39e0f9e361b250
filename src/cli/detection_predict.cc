#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "base/file.h"
#include "cli/detection.h"
#include "cli/picture_answers.h"
#include "image/codec.h"

namespace spatialmamba::cli {
namespace {

using nlohmann::ordered_json;

ordered_json as_json(const detection::Instance& instance, const DetectionCard& card) {
  const detection::Box& box = instance.box;
  return {{"class", instance.label},
          {"name", card.classes[static_cast<std::size_t>(instance.label)]},
          {"score", instance.score},
          {"bbox", {box.x1, box.y1, box.x2 - box.x1, box.y2 - box.y1}},
          {"segmentation",
           {{"size", {instance.mask.height, instance.mask.width}},
            {"counts", image::rle_to_text(instance.mask)}}}};
}

/// Every pixel's object: 0 none, i + 1 the i-th, the surest on top. 8 bits where they hold the numbers, else
/// 16; of more than 65,535 objects the surest.
std::vector<std::byte> mask_picture(const image::Image& picture, const detection::Prediction& prediction) {
  constexpr std::size_t kBytes = 0xFF;
  constexpr std::size_t kNumbers = 0xFFFF;
  image::Numbers owners(picture.width, picture.height);
  const std::size_t count = std::min(prediction.instances.size(), kNumbers);
  for (std::size_t i = count; i-- > 0;) {
    image::for_each_pixel(prediction.instances[i].mask, [&](std::size_t pixel) {
      owners.values[pixel] = static_cast<std::uint16_t>(i + 1);
    });
  }
  if (count > kBytes) return image::encode_numbers_png(owners);
  image::Image narrow(picture.width, picture.height, 1);
  std::ranges::transform(owners.values, narrow.pixels.begin(),
                         [](std::uint16_t owner) { return static_cast<std::uint8_t>(owner); });
  return image::encode_png(narrow);
}

void write_pictures(const DetectionPredict& options, const DetectionCard& card, const image::Image& picture,
                    const detection::Prediction& prediction, const std::filesystem::path& name,
                    ordered_json& answer) {
  const std::string note = options.network.untrained ? "untrained weights: the boxes mean nothing" : "";
  const image::Image drawn = draw::draw_detections(picture, drawn_objects(prediction, card, 0.0F), note);
  const bool one = image::is_image_name(options.out);
  const std::string stem = (options.out / name).replace_extension().string();
  const std::filesystem::path annotated = one ? options.out : std::filesystem::path(stem + ".png");
  image::write_image(annotated, drawn);
  answer["annotated"] = annotated.string();
  if (one) return;
  write_file(stem + "_masks.png", mask_picture(picture, prediction));
  answer["masks"] = stem + "_masks.png";
}

/// What the network says of a picture; draws it where that is asked for.
void look(const DetectionPredict& options, const DetectionNetwork& network, const DetectionCard& card,
          const image::Image& picture, const std::filesystem::path& name, ordered_json& answer) {
  const detection::Prediction prediction = detection::predict(picture, card.predict, network.network());
  answer["left_out"] = prediction.left_out;
  answer["detections"] = ordered_json::array();
  for (const detection::Instance& instance : prediction.instances) {
    answer["detections"].push_back(as_json(instance, card));
  }
  if (!options.out.empty()) write_pictures(options, card, picture, prediction, name, answer);
}

void print_table(const ordered_json& answer) {
  fmt::print("{}\n", answer["file"].get<std::string>());
  for (const auto& found : answer["detections"]) {
    const auto& box = found["bbox"];
    fmt::print("  {:.3f}  {:24}  {:8.1f} {:8.1f} {:8.1f} {:8.1f}\n", found["score"].get<double>(),
               found["name"].get<std::string>(), box[0].get<double>(), box[1].get<double>(),
               box[2].get<double>(), box[3].get<double>());
  }
  if (const auto left_out = answer["left_out"].get<std::int64_t>(); left_out > 0) {
    fmt::print("  {} more were left out by --max-detections\n", left_out);
  }
}

/// One list of all detections, as COCO's servers take it; image_id counts the pictures from 1.
ordered_json coco_results(const ordered_json& answers) {
  auto results = ordered_json::array();
  std::int64_t image = 0;
  for (const ordered_json& one : answers) {
    ++image;
    if (!one.contains("detections")) continue;
    for (const ordered_json& found : one["detections"]) {
      results.push_back({{"image_id", image},
                         {"category_id", found["class"].get<std::int64_t>() + 1},
                         {"bbox", found["bbox"]},
                         {"score", found["score"]},
                         {"segmentation", found["segmentation"]}});
    }
  }
  return results;
}

}  // namespace

std::vector<draw::DetectedObject> drawn_objects(const detection::Prediction& prediction,
                                                const DetectionCard& card, float least) {
  std::vector<draw::DetectedObject> objects;
  for (const detection::Instance& instance : prediction.instances) {
    if (instance.score < least) continue;
    const detection::Box& box = instance.box;
    const auto x = static_cast<double>(box.x1);
    const auto y = static_cast<double>(box.y1);
    const auto label = static_cast<std::size_t>(instance.label);
    objects.push_back({{x, y, static_cast<double>(box.x2) - x, static_cast<double>(box.y2) - y},
                       instance.mask,
                       card.classes[label],
                       static_cast<double>(instance.score),
                       label});
  }
  return objects;
}

void predict_detection(const DetectionPredict& options) {
  const PictureList pictures = list_pictures(options.pictures, options.out);
  const DetectionNetwork network = DetectionNetwork::open(options.network);
  const DetectionCard card = detection_card(network.architecture().num_classes, network.metadata(),
                                            options.network.weights.string(), options.card, options.how);
  if (options.network.untrained) spdlog::warn("untrained weights: the boxes mean nothing");
  const ordered_json answers =
      answer_pictures(pictures, {.apply_orientation = !options.ignore_orientation},
                      [&](const image::Image& picture, const std::filesystem::path& name,
                          ordered_json& answer) { look(options, network, card, picture, name, answer); });
  if (!options.out.empty() && !image::is_image_name(options.out)) {
    write_text(options.out / "results.json", coco_results(answers).dump() + "\n");
  }
  report_answers(answers, options.json,
                 {{"weights", options.network.weights.string()},
                  {"task", "detection"},
                  {"untrained", options.network.untrained},
                  {"variant", network.architecture().backbone.variant}},
                 print_table);
}

}  // namespace spatialmamba::cli
