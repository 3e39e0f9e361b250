#include "data/coco_parser.h"

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <string_view>

#include "base/error.h"
#include "base/file.h"

namespace spatialmamba::data {
namespace {

using nlohmann::json;

enum class Section { none, images, categories, objects };

/// How deep things lie, counted from the list of entries: an entry's fields, the elements of a field that is
/// a list or an object, and the elements of those.
constexpr int kField = 1;
constexpr int kElement = 2;
constexpr int kInner = 3;

/// Takes the events of nlohmann's streaming parser.
class Handler {
 public:
  Handler(CocoFile& file, bool results) : file_(file), list_depth_(results ? 1 : 2) {
    if (results) section_ = Section::objects;
  }

  bool null() { return true; }
  bool boolean(bool value) { return number(value ? 1.0 : 0.0); }
  bool number_integer(std::int64_t value) { return number(static_cast<double>(value)); }
  bool number_unsigned(std::uint64_t value) { return number(static_cast<double>(value)); }
  bool number_float(double value, const std::string&) { return number(value); }
  bool binary(json::binary_t&) { return true; }

  bool string(std::string& value) {
    if (section_ == Section::none) return true;
    if (level() == kField) text_field(value);
    if (level() == kElement && section_ == Section::objects && field_ == "segmentation" &&
        inner_ == "counts") {
      outline().kind = CocoOutline::Kind::text;
      outline().begin = file_.text.size();
      file_.text += value;
      outline().end = file_.text.size();
    }
    return true;
  }

  bool start_object(std::size_t) {
    ++depth_;
    if (section_ == Section::none) return true;
    if (level() < kField) fail("{}: a list was expected, not an object", file_.name);
    if (level() == kField) begin_entry();
    if (level() == kElement) inner_.clear();
    return true;
  }
  bool end_object() {
    if (section_ == Section::objects && level() == kField) finish_object();
    --depth_;
    return true;
  }

  bool start_array(std::size_t) {
    ++depth_;
    if (section_ == Section::none) return true;
    if (level() == kField) fail("{}: an entry of its lists is a list, not an object", file_.name);
    if (section_ != Section::objects || field_ != "segmentation") return true;
    if (level() == kElement) {
      outline().kind = CocoOutline::Kind::polygons;
      outline().begin = file_.part_ends.size();
      outline().end = outline().begin;
    }
    if (level() == kInner && outline().kind != CocoOutline::Kind::polygons && inner_ == "counts") {
      outline().kind = CocoOutline::Kind::runs;
      outline().begin = file_.numbers.size();
    }
    return true;
  }
  bool end_array() {
    if (section_ == Section::objects && field_ == "segmentation" && level() == kInner) finish_part();
    --depth_;
    return true;
  }

  bool key(std::string& name) {
    if (depth_ == list_depth_ - 1) section_ = section_of(name);
    if (section_ == Section::none) return true;
    if (level() == kField) {
      field_ = name;
      elements_ = 0;
    }
    if (level() == kElement) {
      inner_ = name;
      elements_ = 0;
    }
    return true;
  }

  bool parse_error(std::size_t position, const std::string&, const json::exception& error) {
    const std::string_view what = error.what();
    const std::size_t reason = what.rfind(": ");
    fail("{}: byte {} is where it stops being JSON: {}", file_.name, position,
         reason == std::string_view::npos ? what : what.substr(reason + 2));
  }

 private:
  static Section section_of(std::string_view name) {
    if (name == "images") return Section::images;
    if (name == "categories") return Section::categories;
    return name == "annotations" ? Section::objects : Section::none;
  }

  int level() const { return depth_ - list_depth_; }
  CocoObject& object() { return file_.objects.back(); }
  CocoOutline& outline() { return object().outline; }

  void begin_entry() {
    field_.clear();
    if (section_ == Section::images) file_.images.emplace_back();
    if (section_ == Section::categories) file_.categories.emplace_back();
    if (section_ == Section::objects) {
      file_.objects.emplace_back();
      box_numbers_ = 0;
    }
  }

  void finish_object() { object().has_box = box_numbers_ == 4; }

  void finish_part() {
    CocoOutline& shape = outline();
    if (shape.kind == CocoOutline::Kind::polygons) {
      file_.part_ends.push_back(file_.numbers.size());
      shape.end = file_.part_ends.size();
    } else if (shape.kind == CocoOutline::Kind::runs && inner_ == "counts") {
      shape.end = file_.numbers.size();
      // A polygon begins where the list of parts says that the last one ends.
      file_.part_ends.push_back(file_.numbers.size());
    }
  }

  bool number(double value) {
    switch (section_) {
      case Section::none:
        return true;
      case Section::images:
        if (level() == kField) image_field(value);
        return true;
      case Section::categories:
        if (level() == kField && field_ == "id") file_.categories.back().id = whole(value);
        return true;
      case Section::objects:
        if (level() == kField) object_field(value);
        if (level() > kField) object_element(value);
        return true;
    }
    return true;
  }

  void image_field(double value) {
    CocoImage& image = file_.images.back();
    if (field_ == "id") image.id = whole(value);
    if (field_ == "width") image.width = whole(value);
    if (field_ == "height") image.height = whole(value);
    if (field_ == "file_name") wrong_type("a text");
  }

  void object_field(double value) {
    if (field_ == "id") object().id = whole(value);
    if (field_ == "image_id") object().image = whole(value);
    if (field_ == "category_id") object().category = whole(value);
    if (field_ == "iscrowd") object().crowd = value != 0.0;
    if (field_ == "ignore") object().ignore = value != 0.0;
    if (field_ == "score") {
      object().score = value;
      object().has_score = true;
    }
    if (field_ == "area") {
      object().area = value;
      object().has_area = true;
    }
  }

  void object_element(double value) {
    if (field_ == "bbox" && level() == kElement) {
      image::XywhBox& box = object().box;
      double* const sides[] = {&box.x, &box.y, &box.w, &box.h};
      if (box_numbers_ < 4) *sides[box_numbers_] = value;
      ++box_numbers_;
    }
    if (field_ == "segmentation" && level() == kInner) {
      if (inner_ == "size" && outline().kind != CocoOutline::Kind::polygons) {
        size_element(value);
      } else {
        file_.numbers.push_back(value);
      }
    }
  }

  void size_element(double value) {
    const std::int64_t side = whole(value);
    if (side < 0 || side > std::numeric_limits<std::uint32_t>::max()) wrong_type("a size");
    (elements_++ == 0 ? outline().height : outline().width) = static_cast<std::uint32_t>(side);
  }

  void text_field(const std::string& value) {
    if (section_ == Section::images && field_ == "file_name") file_.images.back().file = value;
    if (section_ == Section::categories && field_ == "name") file_.categories.back().name = value;
    const bool number_expected = field_ == "id" || field_ == "image_id" || field_ == "category_id" ||
                                 field_ == "score" || field_ == "width" || field_ == "height" ||
                                 field_ == "area";
    if (number_expected) wrong_type("a number");
  }

  std::int64_t whole(double value) {
    constexpr double kLargest = 9007199254740992.0;  // 2^53
    if (value != std::floor(value) || std::abs(value) > kLargest) wrong_type("a whole number");
    return static_cast<std::int64_t>(value);
  }

  [[noreturn]] void wrong_type(std::string_view expected) {
    const bool images = section_ == Section::images;
    const bool objects = section_ == Section::objects;
    fail("{}: {} {}: \"{}\" is not {}", file_.name,
         images    ? "image"
         : objects ? "annotation"
                   : "category",
         (images    ? file_.images.size()
          : objects ? file_.objects.size()
                    : file_.categories.size()) -
             1,
         field_, expected);
  }

  CocoFile& file_;
  const int list_depth_;
  Section section_ = Section::none;
  int depth_ = 0;
  int elements_ = 0;
  int box_numbers_ = 0;
  std::string field_;
  std::string inner_;
};

}  // namespace

CocoFile parse_coco(const std::filesystem::path& path, bool results) {
  const auto mapped = MappedFile::open(path);
  const auto bytes = mapped->bytes();
  CocoFile file;
  file.name = path.string();
  Handler handler(file, results);
  const char* begin = reinterpret_cast<const char*>(bytes.data());
  json::sax_parse(begin, begin + bytes.size(), &handler);
  return file;
}

}  // namespace spatialmamba::data
