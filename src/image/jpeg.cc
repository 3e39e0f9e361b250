#include "image/jpeg.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <tuple>

#include <jerror.h>
#include <jpeglib.h>

#include "base/error.h"
#include "image/c_guard.h"

namespace spatialmamba::image {
namespace {

/// A progressive file decodes the whole picture once for each scan; real ones have about ten.
constexpr int kMaxScans = 200;
constexpr int kRowsPerCall = 16;

/// libjpeg hands its callbacks a pointer to `base`, the first member.
struct ErrorManager {
  jpeg_error_mgr base = {};
  CErrors errors;
};

[[noreturn]] void jump_out(j_common_ptr info) {
  auto* manager = reinterpret_cast<ErrorManager*>(info->err);
  static_assert(std::tuple_size_v<decltype(CErrors::message)> >= JMSG_LENGTH_MAX);
  info->err->format_message(info, manager->errors.message.data());
  std::longjmp(manager->errors.jump, 1);
}

/// Warnings that cost no pixels; cameras and old tools write such files and every viewer shows them.
bool is_harmless(int code) {
  return code == JWRN_EXTRANEOUS_DATA || code == JWRN_ADOBE_XFORM || code == JWRN_JFIF_MAJOR ||
         code == JWRN_TOO_MUCH_DATA;
}

void on_message(j_common_ptr info, int level) {
  if (level < 0 && !is_harmless(info->err->msg_code)) jump_out(info);
}

void on_progress(j_common_ptr info) {
  if (info->is_decompressor != 0 && reinterpret_cast<j_decompress_ptr>(info)->input_scan_number > kMaxScans) {
    info->err->msg_code = JERR_BAD_PROGRESSION;
    jump_out(info);
  }
}

void install(ErrorManager& manager) {
  jpeg_std_error(&manager.base);
  manager.base.error_exit = jump_out;
  manager.base.emit_message = on_message;
}

class Decoder {
 public:
  Decoder(std::span<const std::byte> bytes, const std::string& name) : bytes_(bytes), name_(name) {
    install(manager_);
    info_.err = &manager_.base;
    run([this] { jpeg_create_decompress(&info_); });
    progress_.progress_monitor = on_progress;
    info_.progress = &progress_;
  }
  ~Decoder() { jpeg_destroy_decompress(&info_); }
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;

  Image decode(std::int64_t max_pixels) {
    run([this] {
      jpeg_mem_src(&info_, reinterpret_cast<const unsigned char*>(bytes_.data()),
                   static_cast<unsigned long>(bytes_.size()));  // NOLINT(google-runtime-int): libjpeg's type
      jpeg_read_header(&info_, TRUE);
    });
    check_header(max_pixels);
    run([this] { jpeg_start_decompress(&info_); });
    Image picture(static_cast<int>(info_.output_width), static_cast<int>(info_.output_height),
                  info_.output_components);
    run([this, &picture] { read_rows(picture); });
    return picture;
  }

 private:
  template <typename Calls>
  void run(const Calls& calls) {
    if (!guarded(manager_.errors, calls)) {
      fail("{}: not a sound JPEG file: {}", name_, manager_.errors.message.data());
    }
  }

  void check_header(std::int64_t max_pixels) {
    if (static_cast<std::int64_t>(info_.image_width) * info_.image_height > max_pixels) {
      fail("{}: JPEG of {} x {} pixels, more than the {} allowed", name_, info_.image_width,
           info_.image_height, max_pixels);
    }
    switch (info_.num_components) {
      case 1:
        info_.out_color_space = JCS_GRAYSCALE;
        return;
      case 3:
        info_.out_color_space = JCS_RGB;
        return;
      case 4:
        info_.out_color_space = JCS_CMYK;
        return;
      default:
        fail("{}: JPEG with {} components, expected 1, 3 or 4", name_, info_.num_components);
    }
  }

  void read_rows(Image& picture) {
    while (info_.output_scanline < info_.output_height) {
      JSAMPROW rows[kRowsPerCall];
      const int first = static_cast<int>(info_.output_scanline);
      const int count = std::min(kRowsPerCall, picture.height - first);
      for (int i = 0; i < count; ++i) rows[i] = picture.row(first + i);
      jpeg_read_scanlines(&info_, rows, static_cast<JDIMENSION>(count));
    }
  }

  std::span<const std::byte> bytes_;
  const std::string& name_;
  ErrorManager manager_;
  jpeg_progress_mgr progress_ = {};
  jpeg_decompress_struct info_ = {};
};

/// Adobe writes CMYK inverted, as light instead of ink, and everybody (Pillow too) reads it so.
Image rgb_from_inverted_cmyk(const Image& cmyk) {
  Image rgb(cmyk.width, cmyk.height, 3);
  const std::uint8_t* in = cmyk.pixels.data();
  for (std::size_t i = 0; i < rgb.pixels.size(); i += 3, in += 4) {
    const int light = in[3];
    for (std::size_t c = 0; c < 3; ++c) {
      const int product = (255 - in[c]) * light + 128;
      const int absorbed = ((product >> 8) + product) >> 8;  // Pillow's rounded division by 255
      rgb.pixels[i + c] = static_cast<std::uint8_t>(std::max(0, light - absorbed));
    }
  }
  return rgb;
}

class Encoder {
 public:
  Encoder() {
    install(manager_);
    info_.err = &manager_.base;
    run([this] { jpeg_create_compress(&info_); });
  }
  ~Encoder() {
    jpeg_destroy_compress(&info_);
    std::free(data_);  // allocated by jpeg_mem_dest
  }
  Encoder(const Encoder&) = delete;
  Encoder& operator=(const Encoder&) = delete;

  std::vector<std::byte> encode(const Image& picture, const JpegOptions& options) {
    run([this, &picture, &options] {
      jpeg_mem_dest(&info_, &data_, &size_);
      info_.image_width = static_cast<JDIMENSION>(picture.width);
      info_.image_height = static_cast<JDIMENSION>(picture.height);
      info_.input_components = picture.channels;
      info_.in_color_space = picture.channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
      jpeg_set_defaults(&info_);
      jpeg_set_quality(&info_, options.quality, TRUE);
      info_.comp_info[0].h_samp_factor = info_.comp_info[0].v_samp_factor = options.halve_chroma ? 2 : 1;
      jpeg_start_compress(&info_, TRUE);
      for (int y = 0; y < picture.height; ++y) {
        JSAMPROW row = const_cast<JSAMPROW>(picture.row(y));  // libjpeg only reads it
        jpeg_write_scanlines(&info_, &row, 1);
      }
      jpeg_finish_compress(&info_);
    });
    const auto* bytes = reinterpret_cast<const std::byte*>(data_);
    return {bytes, bytes + size_};
  }

 private:
  template <typename Calls>
  void run(const Calls& calls) {
    if (!guarded(manager_.errors, calls)) fail("cannot write a JPEG: {}", manager_.errors.message.data());
  }

  ErrorManager manager_;
  jpeg_compress_struct info_ = {};
  unsigned char* data_ = nullptr;
  unsigned long size_ = 0;  // NOLINT(google-runtime-int): libjpeg's type
};

}  // namespace

Image decode_jpeg(std::span<const std::byte> bytes, const std::string& name, std::int64_t max_pixels) {
  Image picture = Decoder(bytes, name).decode(max_pixels);
  return picture.channels == 4 ? rgb_from_inverted_cmyk(picture) : picture;
}

std::vector<std::byte> compress_jpeg(const Image& picture, const JpegOptions& options) {
  return Encoder().encode(picture, options);
}

}  // namespace spatialmamba::image
