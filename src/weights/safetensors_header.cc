#include "weights/safetensors_header.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <unordered_set>

#include "base/error.h"

namespace spatialmamba {
namespace {

constexpr std::string_view kMetadata = "__metadata__";
constexpr std::string_view kFields[] = {"dtype", "shape", "data_offsets"};
constexpr std::size_t kHeaderAlignment = 8;

/// Receives the events of the JSON parser. A tree would lose names that occur twice, and the structure is
/// fixed: {NAME: {"dtype": TEXT, "shape": [N...], "data_offsets": [BEGIN, END]}, "__metadata__": {KEY:
/// TEXT}}.
class HeaderEvents : public nlohmann::json_sax<nlohmann::json> {
 public:
  SafetensorsHeader take() { return std::move(header_); }

  bool null() override { unexpected("null"); }
  bool boolean(bool) override { unexpected("a boolean"); }
  bool number_integer(number_integer_t) override { unexpected("a negative number"); }
  bool number_float(number_float_t, const string_t&) override { unexpected("a fraction"); }
  bool binary(binary_t&) override { unexpected("binary data"); }

  bool number_unsigned(number_unsigned_t value) override {
    if (place_ != Place::numbers) unexpected("a number");
    if (value > static_cast<number_unsigned_t>(std::numeric_limits<std::int64_t>::max())) {
      fail("the header gives '{}' the number {}, which is too large", name_, value);
    }
    numbers_.push_back(static_cast<std::int64_t>(value));
    return true;
  }

  bool string(string_t& value) override {
    if (place_ == Place::metadata) {
      if (!header_.metadata.emplace(key_, value).second) fail("the header has the metadata '{}' twice", key_);
    } else if (place_ == Place::tensor && key_ == kFields[0]) {
      entry_.dtype = value;
    } else {
      unexpected("a text");
    }
    return true;
  }

  bool start_object(std::size_t) override {
    if (place_ == Place::outside) {
      place_ = Place::top;
    } else if (place_ == Place::top) {
      name_ = key_;
      place_ = name_ == kMetadata ? Place::metadata : Place::tensor;
      entry_ = {};
      entry_.name = name_;
      fields_.clear();
    } else {
      unexpected("an object");
    }
    return true;
  }

  bool key(string_t& value) override {
    key_ = value;
    if (place_ == Place::top && !names_.insert(value).second) fail("the header has '{}' twice", value);
    if (place_ != Place::tensor) return true;
    if (std::ranges::find(kFields, value) == std::end(kFields)) {
      fail("the header gives '{}' the unknown field '{}'", name_, value);
    }
    if (!fields_.insert(value).second) fail("the header gives '{}' the field '{}' twice", name_, value);
    return true;
  }

  bool end_object() override {
    if (place_ == Place::tensor) {
      for (const std::string_view field : kFields) {
        if (!fields_.contains(std::string(field))) fail("the header gives '{}' no field '{}'", name_, field);
      }
      header_.entries.push_back(std::move(entry_));
    }
    place_ = place_ == Place::top ? Place::outside : Place::top;
    return true;
  }

  bool start_array(std::size_t) override {
    if (place_ != Place::tensor || key_ == kFields[0]) unexpected("an array");
    place_ = Place::numbers;
    numbers_.clear();
    return true;
  }

  bool end_array() override {
    place_ = Place::tensor;
    if (key_ == kFields[1]) {
      entry_.shape = numbers_;
      return true;
    }
    if (numbers_.size() != 2)
      fail("the header gives '{}' {} data_offsets, expected 2", name_, numbers_.size());
    entry_.offsets = {static_cast<std::uint64_t>(numbers_[0]), static_cast<std::uint64_t>(numbers_[1])};
    return true;
  }

  bool parse_error(std::size_t position, const std::string&, const nlohmann::json::exception&) override {
    fail("the header is not JSON, from byte {} on", position);
  }

 private:
  enum class Place : std::uint8_t { outside, top, metadata, tensor, numbers };

  [[noreturn]] void unexpected(std::string_view what) const {
    if (place_ == Place::outside) fail("the header is {}, expected an object", what);
    fail("the header has {} at '{}', where the format has none", what, key_);
  }

  Place place_ = Place::outside;
  std::string name_;
  std::string key_;
  SafetensorsEntry entry_;
  Shape numbers_;
  std::unordered_set<std::string> names_;
  std::unordered_set<std::string> fields_;
  SafetensorsHeader header_;
};

}  // namespace

SafetensorsHeader parse_safetensors_header(std::string_view json) {
  HeaderEvents events;
  nlohmann::json::sax_parse(json.begin(), json.end(), &events);
  return events.take();
}

std::string format_safetensors_header(const SafetensorsHeader& header) {
  try {
    std::string text = "{";
    if (!header.metadata.empty()) {
      text += fmt::format("\"{}\":{}", kMetadata, nlohmann::json(header.metadata).dump());
    }
    for (const SafetensorsEntry& entry : header.entries) {
      const nlohmann::ordered_json value = {
          {kFields[0], entry.dtype}, {kFields[1], entry.shape}, {kFields[2], entry.offsets}};
      text +=
          fmt::format("{}{}:{}", text.size() > 1 ? "," : "", nlohmann::json(entry.name).dump(), value.dump());
    }
    text += '}';
    text.resize((text.size() + kHeaderAlignment - 1) / kHeaderAlignment * kHeaderAlignment, ' ');
    return text;
  } catch (const nlohmann::json::exception&) {
    fail("a name or a metadata text is not UTF-8, which safetensors files need");
  }
}

}  // namespace spatialmamba
