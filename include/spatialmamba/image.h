#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace spatialmamba {

/// How a picture becomes the input of a network, as in the reference's evaluation: the short edge is resized
/// to size / crop, the centre is cut out, and each channel becomes (value / 255 - mean) / std. Defaults:
/// ImageNet.
struct InputTransform {
  std::int64_t height = 224;
  std::int64_t width = 224;
  /// 1 or 3; grey uses the first entries of mean and std.
  std::int64_t channels = 3;
  std::array<float, 3> mean = {0.485F, 0.456F, 0.406F};
  std::array<float, 3> std = {0.229F, 0.224F, 0.225F};
  double crop = 0.875;
  std::string interpolation = "bicubic";  ///< or "bilinear", "lanczos"
};

/// 8-bit pixels in memory: rows from top to bottom, channels interleaved (1: grey, 3: red, green, blue).
struct PixelView {
  const std::uint8_t* data = nullptr;
  std::int64_t height = 0;
  std::int64_t width = 0;
  std::int64_t channels = 3;
  std::int64_t row_bytes = 0;  ///< from one row to the next; 0: width * channels
};

/// One input [height][width][channels], as an ImageBatch wants it in its layout nhwc. Throws Error for a view
/// that cannot be, UsageError for a transform that cannot be.
std::vector<float> make_input(const PixelView& picture, const InputTransform& transform);
/// The same from a JPEG or PNG file, turned upright as its EXIF orientation asks. Throws Error naming the
/// file when it is missing, broken or neither.
std::vector<float> read_input(const std::filesystem::path& file, const InputTransform& transform);
/// The same from the bytes of such a file; `name` stands for them in messages.
std::vector<float> decode_input(std::span<const std::byte> file, const std::string& name,
                                const InputTransform& transform);

}  // namespace spatialmamba
