#include "data/coco.h"

#include <cmath>
#include <functional>
#include <map>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

#include "base/error.h"
#include "data/coco_parser.h"

namespace spatialmamba::data {
namespace {

constexpr std::size_t kLeastCorners = 3;

/// Counts what was left out, or kept though it is strange, by reason.
class Problems {
 public:
  void add(const std::string& reason, const std::string& example) { count(left_out_, reason, example); }
  void doubt(const std::string& reason, const std::string& example) { count(kept_, reason, example); }
  std::vector<std::string> sentences() const {
    std::vector<std::string> all;
    append(left_out_, "left out", all);
    append(kept_, "kept", all);
    return all;
  }

 private:
  using Reasons = std::map<std::string, std::pair<std::int64_t, std::string>>;

  static void count(Reasons& reasons, const std::string& reason, const std::string& example) {
    auto& [count, first] = reasons[reason];
    if (count++ == 0) first = example;
  }
  static void append(const Reasons& reasons, std::string_view fate, std::vector<std::string>& all) {
    for (const auto& [reason, found] : reasons) {
      all.push_back(fmt::format("{} {}: {} (the first is {})", found.first, fate, reason, found.second));
    }
  }

  Reasons left_out_;
  Reasons kept_;
};

std::string call(const CocoObject& object) {
  return object.id == kNoId ? fmt::format("one of image {}", object.image) : fmt::format("{}", object.id);
}

/// Keeps the items that `why_not` gives no reason against.
template <typename T, typename Why>
void keep_sound(std::vector<T>& items, const Why& why_not, Problems& problems) {
  std::size_t kept = 0;
  for (T& item : items) {
    const auto [reason, example] = why_not(item);
    if (!reason.empty()) {
      problems.add(reason, example);
    } else if (T& place = items[kept++]; &place != &item) {
      place = std::move(item);
    }
  }
  items.resize(kept);
}

using Verdict = std::pair<std::string, std::string>;

/// Images or categories: those without an id and those whose id was there before.
template <typename T>
void keep_distinct(std::vector<T>& items, const std::string& plural,
                   const std::function<std::string(const T&)>& call_it, Problems& problems) {
  std::unordered_set<std::int64_t> seen;
  keep_sound(
      items,
      [&](const T& item) -> Verdict {
        if (item.id == kNoId) return {plural + " without an id", call_it(item)};
        if (!seen.insert(item.id).second) return {plural + " whose id was there before", call_it(item)};
        return {};
      },
      problems);
}

bool is_finite(const image::XywhBox& box) {
  return std::isfinite(box.x) && std::isfinite(box.y) && std::isfinite(box.w) && std::isfinite(box.h);
}

/// The box and the area of an object that states none, from its outline.
void complete(const CocoFile& file, CocoObject& object, const CocoImage& image) {
  if (object.has_box && object.has_area) return;
  if (object.outline.kind == CocoOutline::Kind::none) {
    object.area = object.has_area ? object.area : object.box.w * object.box.h;
    return;
  }
  const image::Rle mask = mask_of(file, object, image.height, image.width);
  if (!object.has_box) object.box = image::bounding_box(mask);
  if (!object.has_area) object.area = static_cast<double>(image::area(mask));
  object.has_box = true;
}

template <typename T>
std::unordered_map<std::int64_t, const T*> index_of(const std::vector<T>& items) {
  std::unordered_map<std::int64_t, const T*> index;
  for (const T& item : items) index.emplace(item.id, &item);
  return index;
}

bool touches(const image::XywhBox& box, const CocoImage& image) {
  return box.x < static_cast<double>(image.width) && box.y < static_cast<double>(image.height) &&
         box.x + box.w > 0.0 && box.y + box.h > 0.0;
}

/// What evaluation takes as it stands.
void doubt_object(const CocoObject& object, const CocoImage& image, bool had_box, Problems& problems) {
  if (!had_box) {
    problems.doubt("annotations without a box of four numbers, which their outlines give", call(object));
  }
  if (!touches(object.box, image)) {
    problems.doubt("annotations whose box lies outside their image; training leaves them out", call(object));
  } else if (!(object.area > 0.0 && object.box.w > 0.0 && object.box.h > 0.0)) {
    problems.doubt("annotations without an area; training leaves them out", call(object));
  }
}

void keep_sound_objects(CocoFile& file, Problems& problems) {
  const auto images = index_of(file.images);
  const auto categories = index_of(file.categories);
  std::unordered_set<std::int64_t> seen;
  std::vector<CocoObject> objects = std::move(file.objects);
  keep_sound(
      objects,
      [&](CocoObject& object) -> Verdict {
        if (object.id != kNoId && !seen.insert(object.id).second) {
          return {"annotations whose id was there before", call(object)};
        }
        if (!images.contains(object.image)) return {"annotations of an unknown image", call(object)};
        if (!categories.contains(object.category))
          return {"annotations of an unknown category", call(object)};
        if (!is_finite(object.box) || !std::isfinite(object.area)) {
          return {"annotations whose box or area is not finite", call(object)};
        }
        const CocoImage& image = *images.at(object.image);
        const bool had_box = object.has_box;
        try {
          complete(file, object, image);
        } catch (const Error&) {
          return {"annotations whose outline makes no sense", call(object)};
        }
        if (!object.has_box) return {"annotations without a box of four numbers", call(object)};
        doubt_object(object, image, had_box, problems);
        return {};
      },
      problems);
  file.objects = std::move(objects);
}

std::uint32_t as_run(double value) {
  if (!(value >= 0.0 && value <= 4294967295.0 && value == std::floor(value))) {
    fail("a run length is {}", value);
  }
  return static_cast<std::uint32_t>(value);
}

image::Rle polygon_mask(const CocoFile& file, const CocoObject& object, std::uint32_t height,
                        std::uint32_t width) {
  std::vector<image::Rle> parts;
  for (std::uint64_t i = object.outline.begin; i < object.outline.end; ++i) {
    const std::span<const double> points = file.part(i);
    // As pycocotools reads it: four numbers are a box.
    if (points.size() == 4) {
      parts.push_back(image::rasterize_box({points[0], points[1], points[2], points[3]}, height, width));
    } else if (points.size() > 4) {
      parts.push_back(image::rasterize_polygon(points, height, width));
    }
  }
  if (parts.empty()) fail("{}: object {}: its outline holds no polygon", file.name, object.id);
  return image::merge(parts, image::Merge::unite);
}

image::Rle run_mask(const CocoFile& file, const CocoObject& object) try {
  const CocoOutline& outline = object.outline;
  if (outline.kind == CocoOutline::Kind::text) {
    const auto text = std::string_view(file.text).substr(outline.begin, outline.end - outline.begin);
    return image::rle_from_text(text, outline.height, outline.width);
  }
  image::Rle rle{outline.height, outline.width, {}};
  for (std::uint64_t i = outline.begin; i < outline.end; ++i) {
    rle.counts.push_back(as_run(file.numbers[i]));
  }
  image::require_complete(rle);
  return rle;
} catch (const Error& error) {
  fail("{}: object {}: {}", file.name, object.id, error.what());
}

}  // namespace

std::span<const double> CocoFile::part(std::uint64_t index) const {
  const std::uint64_t begin = index == 0 ? 0 : part_ends[index - 1];
  return std::span(numbers).subspan(begin, part_ends[index] - begin);
}

std::vector<std::span<const double>> CocoFile::polygons(const CocoObject& object) const {
  std::vector<std::span<const double>> parts;
  if (object.outline.kind != CocoOutline::Kind::polygons) return parts;
  for (std::uint64_t i = object.outline.begin; i < object.outline.end; ++i) {
    const std::span<const double> points = part(i);
    if (points.size() % 2 == 0 && points.size() >= 2 * kLeastCorners) parts.push_back(points);
  }
  return parts;
}

CocoFile read_coco(const std::filesystem::path& path) {
  CocoFile file = parse_coco(path, false);
  Problems problems;
  keep_distinct<CocoImage>(
      file.images, "images", [](const CocoImage& image) { return image.file; }, problems);
  keep_distinct<CocoCategory>(
      file.categories, "categories", [](const CocoCategory& category) { return category.name; }, problems);
  keep_sound(
      file.images,
      [](const CocoImage& image) -> Verdict {
        constexpr std::int64_t kMaxSide = 1 << 16;
        const bool sound =
            image.width > 0 && image.height > 0 && image.width <= kMaxSide && image.height <= kMaxSide;
        return sound ? Verdict{} : Verdict{"images whose width or height makes no sense", image.file};
      },
      problems);
  if (file.images.empty()) fail("{}: there is no list \"images\" with an image in it", file.name);
  if (file.categories.empty()) fail("{}: there is no list \"categories\" with a category in it", file.name);
  keep_sound_objects(file, problems);
  file.problems = problems.sentences();
  return file;
}

CocoFile read_coco_results(const std::filesystem::path& path, const CocoFile& truth) {
  CocoFile file = parse_coco(path, true);
  const auto images = index_of(truth.images);
  for (std::size_t i = 0; i < file.objects.size(); ++i) {
    CocoObject& object = file.objects[i];
    object.id = static_cast<std::int64_t>(i) + 1;
    if (object.image == kNoId) fail("{}: result {} has no image_id", file.name, i);
    if (object.category == kNoId) fail("{}: result {} has no category_id", file.name, i);
    if (!object.has_score || !std::isfinite(object.score))
      fail("{}: result {} has no finite score", file.name, i);
    const auto image = images.find(object.image);
    if (image == images.end()) {
      fail("{}: result {} is of image {}, which {} does not list", file.name, i, object.image, truth.name);
    }
    const bool outlined = object.outline.kind != CocoOutline::Kind::none;
    if (!outlined && !object.has_box) fail("{}: result {} has neither bbox nor segmentation", file.name, i);
    if (!is_finite(object.box)) fail("{}: result {}: its box is not finite", file.name, i);
    // As pycocotools decides: the box, where there is one, states the area.
    object.has_area = object.has_box;
    object.area = object.box.w * object.box.h;
    try {
      complete(file, object, *image->second);
    } catch (const Error& error) {
      fail("{}: result {}: {}", file.name, i, error.what());
    }
  }
  return file;
}

image::Rle mask_of(const CocoFile& file, const CocoObject& object, std::int64_t height, std::int64_t width) {
  const auto h = static_cast<std::uint32_t>(height);
  const auto w = static_cast<std::uint32_t>(width);
  switch (object.outline.kind) {
    case CocoOutline::Kind::polygons:
      return polygon_mask(file, object, h, w);
    case CocoOutline::Kind::runs:
    case CocoOutline::Kind::text:
      return run_mask(file, object);
    case CocoOutline::Kind::none:
      break;
  }
  return image::rasterize_box(object.box, h, w);
}

}  // namespace spatialmamba::data
