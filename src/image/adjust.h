#pragma once

#include "image/image.h"

/// Changes of colour in place, bit for bit as Pillow's ImageOps and ImageEnhance make them on 8-bit pictures.
namespace spatialmamba::image {

/// Factor 0 gives the degenerate picture (black, uniform grey, greyscale, smoothed), 1 the picture itself.
void adjust_brightness(Image& picture, float factor);
void adjust_contrast(Image& picture, float factor);
/// Grey pictures stay as they are.
void adjust_saturation(Image& picture, float factor);
/// The outermost pixels stay as they are.
void adjust_sharpness(Image& picture, float factor);

/// Stretches each channel's values to 0 … 255.
void auto_contrast(Image& picture);
/// Evens out each channel's histogram.
void equalize(Image& picture);
void invert(Image& picture);
/// Keeps the highest `bits` of each value, 0 to 8.
void posterize(Image& picture, int bits);
/// Inverts the values from `threshold` on.
void solarize(Image& picture, int threshold);
/// Adds `amount` to the values below 128.
void solarize_add(Image& picture, int amount);

}  // namespace spatialmamba::image
