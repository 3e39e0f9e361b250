#include "data/detection_dataset.h"

#include <algorithm>
#include <array>
#include <unordered_map>
#include <unordered_set>

#include "base/error.h"
#include "image/codec.h"

namespace spatialmamba::data {
namespace {

/// The label of each category id that is asked for.
std::unordered_map<std::int64_t, std::int64_t> label_categories(const CocoFile& coco,
                                                                const std::vector<std::string>& wanted,
                                                                DetectionDataset& dataset) {
  for (const std::string& name : wanted) {
    if (std::ranges::find(coco.categories, name, &CocoCategory::name) == coco.categories.end()) {
      fail("{}: there is no category '{}'", coco.name, name);
    }
  }
  std::unordered_map<std::int64_t, std::int64_t> labels;
  for (const CocoCategory& category : coco.categories) {
    if (!wanted.empty() && std::ranges::find(wanted, category.name) == wanted.end()) continue;
    labels.emplace(category.id, std::ssize(dataset.classes));
    dataset.classes.push_back(category.name);
    dataset.category_ids.push_back(category.id);
  }
  return labels;
}

bool is_learnable(const CocoObject& object, const DetectionImage& image) {
  const image::XywhBox& box = object.box;
  const double w = std::min(box.x + box.w, static_cast<double>(image.width)) - std::max(box.x, 0.0);
  const double h = std::min(box.y + box.h, static_cast<double>(image.height)) - std::max(box.y, 0.0);
  return !object.ignore && w > 0 && h > 0 && object.area > 0 && box.w >= 1 && box.h >= 1;
}

detection::Box corners(const image::XywhBox& box) {
  return {static_cast<float>(box.x), static_cast<float>(box.y), static_cast<float>(box.x + box.w),
          static_cast<float>(box.y + box.h)};
}

/// The pixels of an object; nothing for polygons that are all too short.
image::Image draw_mask(const CocoFile& coco, const CocoObject& object, const DetectionImage& image) {
  image::Image mask(static_cast<int>(image.width), static_cast<int>(image.height), 1);
  std::vector<image::Rle> parts;
  if (object.outline.kind == CocoOutline::Kind::polygons) {
    for (const std::span<const double> points : coco.polygons(object)) {
      parts.push_back(image::rasterize_polygon(points, static_cast<std::uint32_t>(image.height),
                                               static_cast<std::uint32_t>(image.width)));
    }
  } else {
    parts.push_back(mask_of(coco, object, image.height, image.width));
  }
  if (parts.empty()) return mask;
  const image::Rle whole = image::merge(parts, image::Merge::unite);
  if (whole.height != image.height || whole.width != image.width) {
    fail("{}: object {}: its mask is {}x{}, its picture {}x{}", coco.name, object.id, whole.height,
         whole.width, image.height, image.width);
  }
  mask.pixels = image::decode_mask(whole);
  return mask;
}

}  // namespace

DetectionDataset detection_dataset(std::shared_ptr<const CocoFile> coco,
                                   const std::filesystem::path& image_folder,
                                   const DetectionDatasetOptions& options) {
  DetectionDataset dataset;
  const auto labels = label_categories(*coco, options.classes, dataset);
  std::unordered_map<std::int64_t, std::size_t> places;
  for (const CocoImage& image : coco->images) {
    places.emplace(image.id, dataset.images.size());
    dataset.images.push_back({image.id, image_folder / image.file, image.width, image.height, {}});
  }
  std::unordered_set<std::int64_t> annotated;
  for (std::size_t row = 0; row < coco->objects.size(); ++row) {
    const CocoObject& object = coco->objects[row];
    const auto label = labels.find(object.category);
    if (label == labels.end()) continue;
    annotated.insert(object.image);
    DetectionImage& image = dataset.images[places.at(object.image)];
    if (is_learnable(object, image))
      image.objects.push_back({corners(object.box), label->second, object.crowd, row});
  }
  if (options.only_annotated) {
    std::erase_if(dataset.images, [&](const DetectionImage& image) {
      return !annotated.contains(image.id) || std::min(image.width, image.height) < options.least_side;
    });
  }
  dataset.coco = std::move(coco);
  return dataset;
}

image::Image DetectionDataset::load_picture(std::int64_t index) const {
  const DetectionImage& image = images.at(static_cast<std::size_t>(index));
  image::Image picture = image::read_image(image.path);
  if (picture.width != image.width || picture.height != image.height) {
    fail("{}: the picture is {}x{}, {} says {}x{}", image.path.string(), picture.width, picture.height,
         coco->name, image.width, image.height);
  }
  return picture;
}

DetectionPicture DetectionDataset::load(std::int64_t index) const {
  const DetectionImage& image = images.at(static_cast<std::size_t>(index));
  DetectionPicture sample{load_picture(index), {}};
  for (const DetectionObject& object : image.objects) {
    image::Image mask = draw_mask(*coco, coco->objects[object.row], image);
    const bool short_polygons = coco->objects[object.row].outline.kind == CocoOutline::Kind::polygons &&
                                coco->polygons(coco->objects[object.row]).empty();
    sample.objects.push_back({object.box, object.label, object.crowd || short_polygons, std::move(mask)});
  }
  return sample;
}

CocoPlace find_coco(const std::filesystem::path& path, Split split) {
  namespace fs = std::filesystem;
  const std::string part = split == Split::train ? "train" : "val";
  if (path.extension() == ".json") {
    const fs::path folder = path.parent_path();
    return {path, fs::is_directory(folder / "images") ? folder / "images" : folder};
  }
  const std::array<CocoPlace, 2> places = {
      {{path / fmt::format("instances_{}.json", part), path / "images" / part},
       {path / "annotations" / fmt::format("instances_{}2017.json", part),
        path / fmt::format("{}2017", part)}}};
  for (const CocoPlace& place : places) {
    if (fs::exists(place.annotations)) return place;
  }
  fail("{}: neither {} nor {} is there", path.string(), places[0].annotations.string(),
       places[1].annotations.string());
}

std::vector<std::vector<std::int64_t>> batches_by_orientation(const std::vector<std::int64_t>& order,
                                                              const std::vector<DetectionImage>& images,
                                                              std::int64_t batch, bool drop_last) {
  std::vector<std::vector<std::int64_t>> batches;
  std::array<std::vector<std::int64_t>, 2> waiting;  // high, wide
  const auto full = [&](const std::vector<std::int64_t>& rows) { return std::ssize(rows) == batch; };
  for (const std::int64_t row : order) {
    const DetectionImage& image = images[static_cast<std::size_t>(row)];
    std::vector<std::int64_t>& bucket = waiting[image.width < image.height ? 0 : 1];
    bucket.push_back(row);
    if (full(bucket)) batches.push_back(std::exchange(bucket, {}));
  }
  std::vector<std::int64_t> rest;
  for (const std::vector<std::int64_t>& bucket : waiting) {
    for (const std::int64_t row : bucket) {
      rest.push_back(row);
      if (full(rest)) batches.push_back(std::exchange(rest, {}));
    }
  }
  if (!rest.empty() && !drop_last) batches.push_back(rest);
  return batches;
}

}  // namespace spatialmamba::data
