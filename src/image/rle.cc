#include "image/rle.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "base/error.h"

namespace spatialmamba::image {
namespace {

constexpr int kDigitBits = 5;
constexpr std::int64_t kDigitMask = 0x1F;
constexpr std::int64_t kSignBit = 0x10;
constexpr std::int64_t kMoreBit = 0x20;
constexpr char kFirstDigit = '0';
constexpr int kMostDigits = 13;  ///< of 5 bits in 64

std::uint64_t pixels(std::uint32_t height, std::uint32_t width) {
  return std::uint64_t{height} * width;
}

/// Walks the runs of one mask.
class Runs {
 public:
  explicit Runs(const Rle& rle) : counts_(rle.counts), left_(counts_.empty() ? 0 : counts_[0]) {}

  bool set() const { return set_; }
  std::uint32_t left() const { return left_; }
  /// Takes `n` pixels of the run; a run that is used up gives way to the next.
  void take(std::uint32_t n) {
    left_ -= n;
    if (left_ == 0 && next_ < counts_.size()) {
      left_ = counts_[next_++];
      set_ = !set_;
    }
  }

 private:
  const std::vector<std::uint32_t>& counts_;
  std::size_t next_ = 1;
  std::uint32_t left_;
  bool set_ = false;
};

/// Calls body(length, a set, b set) for the pieces in which both masks are constant.
template <typename Body>
void for_pieces(const Rle& first, const Rle& second, const Body& body) {
  Runs a(first);
  Runs b(second);
  std::uint64_t left = 1;
  while (left > 0) {
    const std::uint32_t length = std::min(a.left(), b.left());
    body(length, a.set(), b.set());
    a.take(length);
    b.take(length);
    left = std::uint64_t{a.left()} + b.left();
  }
}

Rle merge_two(const Rle& first, const Rle& second, Merge how) {
  if (first.height != second.height || first.width != second.width) {
    fail("masks of {}x{} and {}x{} cannot be merged", first.height, first.width, second.height, second.width);
  }
  Rle out{first.height, first.width, {}};
  bool value = false;
  std::uint32_t run = 0;
  for_pieces(first, second, [&](std::uint32_t length, bool a, bool b) {
    const bool merged = how == Merge::intersect ? a && b : a || b;
    if (merged != value) {
      out.counts.push_back(run);
      run = 0;
      value = merged;
    }
    run += length;
  });
  out.counts.push_back(run);
  return out;
}

/// How many pixels are set in both, and in either.
std::pair<std::uint64_t, std::uint64_t> overlap(const Rle& first, const Rle& second) {
  std::uint64_t both = 0;
  std::uint64_t either = 0;
  for_pieces(first, second, [&](std::uint32_t length, bool a, bool b) {
    if (a && b) both += length;
    if (a || b) either += length;
  });
  return {both, either};
}

}  // namespace

Rle encode_part(std::span<const std::uint8_t> mask, const Rect& part, std::uint32_t height,
                std::uint32_t width) {
  const auto rows = static_cast<std::size_t>(part.height);
  const auto columns = static_cast<std::size_t>(part.width);
  if (mask.size() != rows * columns) {
    fail("a mask of {}x{} needs {} pixels, not {}", rows, columns, rows * columns, mask.size());
  }
  if (!mask.empty()) require_inside(static_cast<int>(width), static_cast<int>(height), part);
  Rle rle{height, width, {}};
  bool value = false;
  std::uint64_t begin = 0;  // of the run under way
  const auto turn = [&](std::uint64_t at) {
    rle.counts.push_back(static_cast<std::uint32_t>(at - begin));
    begin = at;
    value = !value;
  };
  for (std::size_t x = 0; x < columns && rows > 0; ++x) {
    const std::uint64_t top =
        (static_cast<std::uint64_t>(part.left) + x) * height + static_cast<std::uint64_t>(part.top);
    // Between two columns of the part there may be pixels outside it.
    if (value && rows < height) turn(top - height + rows);
    for (std::size_t y = 0; y < rows; ++y) {
      if ((mask[y * columns + x] != 0) != value) turn(top + y);
    }
  }
  // The last run of ones ends with the part, or with the picture.
  const std::uint64_t right = static_cast<std::uint64_t>(part.left) + columns;
  const std::uint64_t end =
      rows < height ? (right - 1) * height + static_cast<std::uint64_t>(part.top) + rows : right * height;
  if (value && end < pixels(height, width)) turn(end);
  rle.counts.push_back(static_cast<std::uint32_t>(pixels(height, width) - begin));
  return rle;
}

Rle encode_mask(std::span<const std::uint8_t> mask, std::uint32_t height, std::uint32_t width) {
  if (mask.size() != pixels(height, width)) {
    fail("a mask of {}x{} needs {} pixels, not {}", height, width, pixels(height, width), mask.size());
  }
  return encode_part(mask, {0, 0, static_cast<int>(width), static_cast<int>(height)}, height, width);
}

void require_complete(const Rle& rle) {
  const std::uint64_t total = std::accumulate(rle.counts.begin(), rle.counts.end(), std::uint64_t{0});
  if (total != pixels(rle.height, rle.width)) {
    fail("the runs of a mask of {}x{} add up to {} pixels, not to {}", rle.height, rle.width, total,
         pixels(rle.height, rle.width));
  }
}

std::vector<std::uint8_t> decode_mask(const Rle& rle) {
  require_complete(rle);
  std::vector<std::uint8_t> mask(pixels(rle.height, rle.width));
  std::size_t position = 0;
  for (std::size_t i = 0; i < rle.counts.size(); ++i) {
    const std::size_t end = position + rle.counts[i];
    if (i % 2 == 0) {
      position = end;
      continue;
    }
    for (; position < end; ++position) {
      mask[position % rle.height * rle.width + position / rle.height] = 1;
    }
  }
  return mask;
}

std::string rle_to_text(const Rle& rle) {
  std::string text;
  for (std::size_t i = 0; i < rle.counts.size(); ++i) {
    std::int64_t value = rle.counts[i];
    if (i > 2) value -= std::int64_t{rle.counts[i - 2]};
    bool more = true;
    while (more) {
      std::int64_t digit = value & kDigitMask;
      value >>= kDigitBits;
      more = (digit & kSignBit) != 0 ? value != -1 : value != 0;
      if (more) digit |= kMoreBit;
      text.push_back(static_cast<char>(digit + kFirstDigit));
    }
  }
  return text;
}

Rle rle_from_text(std::string_view text, std::uint32_t height, std::uint32_t width) {
  Rle rle{height, width, {}};
  std::size_t at = 0;
  while (at < text.size()) {
    std::int64_t value = 0;
    bool more = true;
    for (int digits = 0; more; ++digits) {
      if (at == text.size() || digits == kMostDigits) fail("the text of a mask ends within a number");
      const std::int64_t digit = text[at++] - kFirstDigit;
      if (digit < 0 || digit > (kDigitMask | kMoreBit)) {
        fail("character {} of the text of a mask is no digit of COCO's run lengths", at);
      }
      value |= (digit & kDigitMask) << (kDigitBits * digits);
      more = (digit & kMoreBit) != 0;
      if (!more && (digit & kSignBit) != 0 && digits + 1 < kMostDigits)
        value |= -1LL << (kDigitBits * (digits + 1));
    }
    const std::size_t i = rle.counts.size();
    if (i > 2) value += rle.counts[i - 2];
    if (value < 0 || value > std::numeric_limits<std::uint32_t>::max()) {
      fail("run {} of a mask of {}x{} has the length {}", i, height, width, value);
    }
    rle.counts.push_back(static_cast<std::uint32_t>(value));
  }
  require_complete(rle);
  return rle;
}

std::uint64_t area(const Rle& rle) {
  std::uint64_t total = 0;
  for (std::size_t i = 1; i < rle.counts.size(); i += 2) total += rle.counts[i];
  return total;
}

XywhBox bounding_box(const Rle& rle) {
  const std::size_t runs = rle.counts.size() / 2 * 2;
  if (runs == 0 || rle.height == 0) return {};
  std::int64_t left = rle.width;
  std::int64_t top = rle.height;
  std::int64_t right = 0;
  std::int64_t bottom = 0;
  std::int64_t previous_x = 0;
  std::int64_t position = 0;
  for (std::size_t i = 0; i < runs; ++i) {
    position += rle.counts[i];
    // The first pixel of a run of ones, then its last.
    const std::int64_t at = position - static_cast<std::int64_t>(i % 2);
    const std::int64_t x = at / rle.height;
    const std::int64_t y = at % rle.height;
    if (i % 2 == 0) {
      previous_x = x;
    } else if (previous_x < x) {
      top = 0;
      bottom = std::int64_t{rle.height} - 1;
    }
    left = std::min(left, x);
    right = std::max(right, x);
    top = std::min(top, y);
    bottom = std::max(bottom, y);
  }
  return {static_cast<double>(left), static_cast<double>(top), static_cast<double>(right - left + 1),
          static_cast<double>(bottom - top + 1)};
}

Rle merge(std::span<const Rle> masks, Merge how) {
  if (masks.empty()) return {};
  Rle merged = masks.front();
  for (const Rle& mask : masks.subspan(1)) merged = merge_two(merged, mask, how);
  return merged;
}

double mask_iou(const Rle& mask, const Rle& other, bool crowd) {
  if (mask.height != other.height || mask.width != other.width) return -1.0;
  const auto [both, either] = overlap(mask, other);
  if (both == 0) return 0.0;
  return static_cast<double>(both) / static_cast<double>(crowd ? area(mask) : either);
}

double box_iou(const XywhBox& box, const XywhBox& other, bool crowd) {
  const double w = std::min(box.x + box.w, other.x + other.w) - std::max(box.x, other.x);
  if (w <= 0) return 0.0;
  const double h = std::min(box.y + box.h, other.y + other.h) - std::max(box.y, other.y);
  if (h <= 0) return 0.0;
  const double both = w * h;
  return both / (crowd ? box.w * box.h : box.w * box.h + other.w * other.h - both);
}

}  // namespace spatialmamba::image
