#include "archive/tar.h"

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <limits>
#include <string_view>

namespace spatialmamba {
namespace {

constexpr std::uint64_t kBlock = 512;
/// Longest name that a GNU or pax member may bring.
constexpr std::uint64_t kMaxLongField = std::uint64_t{1} << 16;

/// A field of the header (POSIX.1-1988).
struct Place {
  std::uint64_t offset;
  std::uint64_t bytes;
};
constexpr Place kName = {0, 100};
constexpr Place kSize = {124, 12};
constexpr Place kChecksum = {148, 8};
constexpr std::uint64_t kType = 156;
constexpr Place kMagic = {257, 5};
constexpr Place kPrefix = {345, 155};

constexpr char kRegular = '0';
constexpr char kOldRegular = '\0';
constexpr char kContiguous = '7';
constexpr char kGnuLongName = 'L';
constexpr char kPaxMember = 'x';

std::string_view text_at(std::span<const std::byte> block, Place place) {
  const std::string_view field(reinterpret_cast<const char*>(block.data()) + place.offset, place.bytes);
  return field.substr(0, field.find('\0'));
}

/// Octal digits between spaces, or GNU's big-endian number with the first bit set.
std::uint64_t number_at(std::span<const std::byte> block, Place place) {
  const auto field = block.subspan(place.offset, place.bytes);
  std::uint64_t value = 0;
  if ((field[0] & std::byte{0x80}) != std::byte{}) {
    for (const std::byte digit : field.subspan(1)) {
      if (value >> 56 != 0) fail("a tar member of an impossible size");
      value = value << 8 | static_cast<std::uint64_t>(digit);
    }
    return value;
  }
  std::string_view digits = text_at(block, place);
  digits.remove_prefix(std::min(digits.find_first_not_of(' '), digits.size()));
  digits = digits.substr(0, digits.find(' '));
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, 8);
  if (error != std::errc() || end != digits.data() + digits.size()) fail("a damaged tar header");
  return value;
}

bool is_zero(std::span<const std::byte> block) {
  return std::ranges::all_of(block, [](std::byte b) { return b == std::byte{}; });
}

/// The sum of the header's bytes, its own field taken as spaces.
std::uint64_t sum_of(std::span<const std::byte> block) {
  std::uint64_t sum = 0;
  for (std::uint64_t i = 0; i < kBlock; ++i) {
    const bool own = i >= kChecksum.offset && i < kChecksum.offset + kChecksum.bytes;
    sum += own ? std::uint64_t{' '} : static_cast<std::uint64_t>(block[i]);
  }
  return sum;
}

std::uint64_t padded(std::uint64_t bytes) {
  return (bytes + kBlock - 1) / kBlock * kBlock;
}

std::uint64_t parse_size(std::string_view digits) {
  std::uint64_t size = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), size);
  if (error != std::errc() || end != digits.data() + digits.size()) fail("a damaged pax record");
  return size;
}

}  // namespace

struct TarReader::Header {
  std::string name;
  std::uint64_t bytes = 0;
  char type = kRegular;
};

/// What special members say about the one after them.
struct TarReader::LongFields {
  std::optional<std::string> name;
  std::optional<std::uint64_t> bytes;

  /// Records "LENGTH KEY=VALUE\n".
  void read_pax(std::string_view records) {
    while (!records.empty()) {
      const std::size_t space = records.find(' ');
      if (space == std::string_view::npos) fail("a damaged pax record");
      const std::uint64_t length = parse_size(records.substr(0, space));
      if (length <= space + 1 || length > records.size()) fail("a damaged pax record");
      std::string_view record = records.substr(space + 1, length - space - 1);
      if (record.ends_with('\n')) record.remove_suffix(1);
      const std::size_t equals = std::min(record.find('='), record.size());
      const std::string_view value = record.substr(std::min(equals + 1, record.size()));
      if (record.substr(0, equals) == "path") name = value;
      if (record.substr(0, equals) == "size") bytes = parse_size(value);
      records.remove_prefix(length);
    }
  }
};

std::optional<TarReader::Header> TarReader::read_header() {
  const std::uint64_t left = source_.bytes.size() - position_;
  if (left == 0) fail("ends without an archive's end mark, as if it were cut off");
  if (left < kBlock) fail("ends within a tar header");
  const auto block = source_.bytes.subspan(position_, kBlock);
  if (is_zero(block)) return std::nullopt;
  if (number_at(block, kChecksum) != sum_of(block)) fail("a damaged tar header at byte {}", position_);
  Header header{.name = std::string(text_at(block, kName)),
                .bytes = number_at(block, kSize),
                .type = static_cast<char>(block[kType])};
  const std::string_view prefix = text_at(block, kPrefix);
  if (text_at(block, kMagic) == "ustar" && !prefix.empty()) {
    header.name = std::string(prefix) + "/" + header.name;
  }
  position_ += kBlock;
  return header;
}

std::span<const std::byte> TarReader::content_of(const Header& header) const {
  const std::uint64_t left = source_.bytes.size() - position_;
  if (header.bytes > left) {
    fail("tar member '{}' has {} bytes, there are {} left", header.name, header.bytes, left);
  }
  return source_.bytes.subspan(position_, header.bytes);
}

void TarReader::read_long_fields(const Header& header, LongFields& fields) const {
  if (header.bytes > kMaxLongField) fail("a tar member with a name of {} bytes", header.bytes);
  const auto content = content_of(header);
  const std::string_view text(reinterpret_cast<const char*>(content.data()), content.size());
  if (header.type == kPaxMember) {
    fields.read_pax(text);
  } else {
    fields.name = text.substr(0, text.find('\0'));
  }
}

std::optional<TarReader::Member> TarReader::next() {
  LongFields fields;
  while (std::optional<Header> header = read_header()) {
    const bool special = header->type == kGnuLongName || header->type == kPaxMember;
    if (special) {
      read_long_fields(*header, fields);
    } else {
      header->name = fields.name.value_or(header->name);
      header->bytes = fields.bytes.value_or(header->bytes);
      fields = {};
    }
    const std::uint64_t offset = position_;
    const std::uint64_t bytes = content_of(*header).size();
    // The last member's padding may be missing.
    position_ += std::min(padded(bytes), source_.bytes.size() - offset);
    const bool regular =
        header->type == kRegular || header->type == kOldRegular || header->type == kContiguous;
    if (regular) return Member{std::move(header->name), offset, bytes};
  }
  return std::nullopt;
}

}  // namespace spatialmamba
