#include "image/png.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <new>

#include <png.h>

#include "base/error.h"
#include "image/c_guard.h"

namespace spatialmamba::image {
namespace {

[[noreturn]] void on_error(png_structp png, png_const_charp message) {
  auto* errors = static_cast<CErrors*>(png_get_error_ptr(png));
  const std::size_t length = std::min(std::strlen(message), errors->message.size() - 1);
  std::memcpy(errors->message.data(), message, length);
  errors->message[length] = '\0';
  std::longjmp(errors->jump, 1);
}

/// libpng warns of what does not touch the pixels: colour profiles, text chunks.
void on_warning(png_structp /*png*/, png_const_charp /*message*/) {}

void read_bytes(png_structp png, png_bytep to, std::size_t count) {
  auto* rest = static_cast<std::span<const std::byte>*>(png_get_io_ptr(png));
  if (rest->size() < count) png_error(png, "the file ends early");
  std::memcpy(to, rest->data(), count);
  *rest = rest->subspan(count);
}

void write_bytes(png_structp png, png_bytep from, std::size_t count) {
  auto* out = static_cast<std::vector<std::byte>*>(png_get_io_ptr(png));
  bool stored = true;
  try {
    const auto* bytes = reinterpret_cast<const std::byte*>(from);
    out->insert(out->end(), bytes, bytes + count);
  } catch (const std::bad_alloc&) {  // must not pass through C code
    stored = false;
  }
  if (!stored) png_error(png, "out of memory");
}

void flush_nothing(png_structp /*png*/) {}

class Decoder {
 public:
  Decoder(std::span<const std::byte> bytes, const std::string& name) : rest_(bytes), name_(name) {
    run([this] {
      png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, &errors_, on_error, on_warning);
      if (png_ != nullptr) info_ = png_create_info_struct(png_);
    });
    if (info_ == nullptr) throw std::bad_alloc();
  }
  ~Decoder() { png_destroy_read_struct(&png_, &info_, nullptr); }
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;

  Image decode(std::int64_t max_pixels) {
    read_header(max_pixels);
    return read_pixels([this] { ask_for_8_bit_rgb_or_grey(); });
  }

  Image decode_labels(std::int64_t max_pixels) {
    read_header(max_pixels);
    const int type = png_get_color_type(png_, info_);
    if (type != PNG_COLOR_TYPE_GRAY && type != PNG_COLOR_TYPE_PALETTE) {
      fail("{}: its pixels are colours, expected a label map: the number of a class in each pixel", name_);
    }
    if (png_get_bit_depth(png_, info_) > 8) {
      fail("{}: its pixels have 16 bits, expected a label map of at most 8", name_);
    }
    return read_pixels([this] { ask_for_stored_numbers(); });
  }

 private:
  void read_header(std::int64_t max_pixels) {
    run([this] {
      png_set_read_fn(png_, &rest_, read_bytes);
      png_read_info(png_, info_);
    });
    const std::int64_t width = png_get_image_width(png_, info_);
    const std::int64_t height = png_get_image_height(png_, info_);
    if (width * height > max_pixels) {
      fail("{}: PNG of {} x {} pixels, more than the {} allowed", name_, width, height, max_pixels);
    }
  }

  /// `ask` tells libpng which form the pixels are wanted in.
  template <typename Ask>
  Image read_pixels(const Ask& ask) {
    run(ask);
    Image picture(static_cast<int>(png_get_image_width(png_, info_)),
                  static_cast<int>(png_get_image_height(png_, info_)), png_get_channels(png_, info_));
    if (png_get_rowbytes(png_, info_) != picture.row_bytes()) {
      fail("{}: PNG of colour type {} with {} bits is not supported", name_, png_get_color_type(png_, info_),
           png_get_bit_depth(png_, info_));
    }
    std::vector<png_bytep> rows(static_cast<std::size_t>(picture.height));
    for (int y = 0; y < picture.height; ++y) rows[static_cast<std::size_t>(y)] = picture.row(y);
    run([this, &rows] {
      png_read_image(png_, rows.data());
      png_read_end(png_, nullptr);
    });
    return picture;
  }

  template <typename Calls>
  void run(const Calls& calls) {
    if (!guarded(errors_, calls)) fail("{}: not a sound PNG file: {}", name_, errors_.message.data());
  }

  void ask_for_8_bit_rgb_or_grey() {
    png_set_strip_16(png_);
    png_set_palette_to_rgb(png_);
    png_set_expand_gray_1_2_4_to_8(png_);
    png_set_strip_alpha(png_);
    png_set_interlace_handling(png_);
    png_read_update_info(png_, info_);
  }

  void ask_for_stored_numbers() {
    png_set_packing(png_);  // several pixels per byte become one each, their values unchanged
    png_set_interlace_handling(png_);
    png_read_update_info(png_, info_);
  }

  std::span<const std::byte> rest_;
  const std::string& name_;
  CErrors errors_;
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
};

/// The form of a PNG's pixels. Samples of 16 bits are in the machine's order.
struct Form {
  int width = 0;
  int height = 0;
  int bits = 8;
  int color_type = PNG_COLOR_TYPE_GRAY;
  std::span<const png_color> palette = {};
};

class Encoder {
 public:
  Encoder() {
    run([this] {
      png_ = png_create_write_struct(PNG_LIBPNG_VER_STRING, &errors_, on_error, on_warning);
      if (png_ != nullptr) info_ = png_create_info_struct(png_);
    });
    if (info_ == nullptr) throw std::bad_alloc();
  }
  ~Encoder() { png_destroy_write_struct(&png_, &info_); }
  Encoder(const Encoder&) = delete;
  Encoder& operator=(const Encoder&) = delete;

  /// `pixels` holds `row_bytes` for each row.
  std::vector<std::byte> encode(const Form& form, const std::uint8_t* pixels, std::size_t row_bytes) {
    std::vector<std::byte> out;
    run([&] {
      png_set_write_fn(png_, &out, write_bytes, flush_nothing);
      png_set_IHDR(png_, info_, static_cast<png_uint_32>(form.width), static_cast<png_uint_32>(form.height),
                   form.bits, form.color_type, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
                   PNG_FILTER_TYPE_DEFAULT);
      if (!form.palette.empty()) {
        png_set_PLTE(png_, info_, form.palette.data(), static_cast<int>(form.palette.size()));
      }
      png_write_info(png_, info_);
      if (form.bits > 8 && std::endian::native == std::endian::little) png_set_swap(png_);
      for (int y = 0; y < form.height; ++y) {
        png_write_row(png_, pixels + row_bytes * static_cast<std::size_t>(y));
      }
      png_write_end(png_, nullptr);
    });
    return out;
  }

 private:
  template <typename Calls>
  void run(const Calls& calls) {
    if (!guarded(errors_, calls)) fail("cannot write a PNG: {}", errors_.message.data());
  }

  CErrors errors_;
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
};

}  // namespace

Image decode_png(std::span<const std::byte> bytes, const std::string& name, std::int64_t max_pixels) {
  return Decoder(bytes, name).decode(max_pixels);
}

Image decode_label_png(std::span<const std::byte> bytes, const std::string& name, std::int64_t max_pixels) {
  return Decoder(bytes, name).decode_labels(max_pixels);
}

std::vector<std::byte> compress_png(const Image& picture) {
  const Form form{.width = picture.width,
                  .height = picture.height,
                  .color_type = picture.channels == 1 ? PNG_COLOR_TYPE_GRAY : PNG_COLOR_TYPE_RGB};
  return Encoder().encode(form, picture.pixels.data(), picture.row_bytes());
}

std::vector<std::byte> compress_indexed_png(const Image& numbers, std::span<const Rgb> palette) {
  std::vector<png_color> colors;
  for (const Rgb& color : palette) colors.push_back({color[0], color[1], color[2]});
  const Form form{.width = numbers.width,
                  .height = numbers.height,
                  .color_type = PNG_COLOR_TYPE_PALETTE,
                  .palette = colors};
  return Encoder().encode(form, numbers.pixels.data(), numbers.row_bytes());
}

std::vector<std::byte> compress_numbers_png(const Numbers& numbers) {
  const Form form{.width = numbers.width, .height = numbers.height, .bits = 16};
  return Encoder().encode(form, reinterpret_cast<const std::uint8_t*>(numbers.values.data()),
                          2 * static_cast<std::size_t>(numbers.width));
}

}  // namespace spatialmamba::image
