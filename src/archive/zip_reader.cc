#include <zlib.h>

#include <algorithm>
#include <cstring>
#include <limits>

#include "archive/cursor.h"
#include "archive/zip.h"
#include "archive/zip_format.h"
#include "base/error.h"

namespace spatialmamba {
namespace {

/// Deflate's best: 258 bytes from 2 bits.
constexpr std::uint64_t kMaxDeflateRatio = 1032;

struct Directory {
  std::uint64_t entries;
  std::uint64_t bytes;
  std::uint64_t offset;
};

/// Offset of the end record, which is the last thing in the file but for a comment.
std::uint64_t find_directory_end(std::span<const std::byte> bytes) {
  if (bytes.size() >= zip::kDirectoryEndBytes) {
    const std::uint64_t last = bytes.size() - zip::kDirectoryEndBytes;
    const std::uint64_t first = last > zip::kMaxComment ? last - zip::kMaxComment : 0;
    std::uint64_t end = last + 1;
    while (end > first) {
      const void* hit = ::memrchr(bytes.data() + first, zip::kDirectoryEnd & 0xFFU, end - first);
      if (hit == nullptr) break;
      const auto offset = static_cast<std::uint64_t>(static_cast<const std::byte*>(hit) - bytes.data());
      Cursor cursor(bytes, offset);
      if (cursor.read<std::uint32_t>() == zip::kDirectoryEnd) {
        cursor.seek(offset + zip::kDirectoryEndBytes - sizeof(std::uint16_t));
        const auto comment = cursor.read<std::uint16_t>();
        if (comment == cursor.left()) return offset;
      }
      end = offset;
    }
  }
  fail("the zip directory at its end is missing, so the file is incomplete or damaged");
}

Directory read_directory_end64(std::span<const std::byte> bytes, std::uint64_t end_offset) {
  if (end_offset < zip::kLocator64Bytes) fail("a zip64 directory without its locator");
  Cursor locator(bytes, end_offset - zip::kLocator64Bytes);
  if (locator.read<std::uint32_t>() != zip::kLocator64) fail("a zip64 directory without its locator");
  locator.read<std::uint32_t>();  // the disk
  Cursor cursor(bytes, locator.read<std::uint64_t>());
  if (cursor.read<std::uint32_t>() != zip::kDirectoryEnd64) fail("a zip64 locator that points nowhere");
  cursor.take(20);  // record size, versions, disks
  Directory directory{};
  const auto on_this_disk = cursor.read<std::uint64_t>();
  directory.entries = cursor.read<std::uint64_t>();
  directory.bytes = cursor.read<std::uint64_t>();
  directory.offset = cursor.read<std::uint64_t>();
  if (on_this_disk != directory.entries) fail("one part of a zip archive in several parts");
  return directory;
}

Directory read_directory_end(std::span<const std::byte> bytes) {
  const std::uint64_t offset = find_directory_end(bytes);
  Cursor cursor(bytes, offset + sizeof(std::uint32_t));
  cursor.read<std::uint32_t>();  // disks
  const auto on_this_disk = cursor.read<std::uint16_t>();
  const auto entries = cursor.read<std::uint16_t>();
  const auto size = cursor.read<std::uint32_t>();
  const auto start = cursor.read<std::uint32_t>();
  if (on_this_disk != entries) fail("one part of a zip archive in several parts");
  Directory directory{entries, size, start};
  if (entries == zip::kIn64Short || size == zip::kIn64 || start == zip::kIn64) {
    directory = read_directory_end64(bytes, offset);
  }
  if (directory.offset > offset || directory.bytes > offset - directory.offset) {
    fail("a zip directory of {} bytes at byte {} of {}", directory.bytes, directory.offset, bytes.size());
  }
  return directory;
}

/// Takes from the zip64 extra field what the plain fields had no room for, in the format's order.
void widen(std::span<const std::byte> extra, ZipReader::Entry& entry) {
  Cursor cursor(extra);
  while (cursor.left() >= 2 * sizeof(std::uint16_t)) {
    const auto tag = cursor.read<std::uint16_t>();
    const auto size = cursor.read<std::uint16_t>();
    Cursor field(cursor.take(size));
    if (tag != zip::kExtra64) continue;
    for (std::uint64_t* value : {&entry.bytes, &entry.stored_bytes, &entry.header}) {
      if (*value == zip::kIn64) *value = field.read<std::uint64_t>();
    }
    return;
  }
}

ZipReader::Entry read_entry(Cursor& cursor) {
  if (cursor.read<std::uint32_t>() != zip::kDirectoryEntry) fail("a damaged zip directory");
  cursor.read<std::uint32_t>();  // versions
  const auto flags = cursor.read<std::uint16_t>();
  ZipReader::Entry entry{};
  entry.method = cursor.read<std::uint16_t>();
  cursor.read<std::uint32_t>();  // time
  entry.crc = cursor.read<std::uint32_t>();
  entry.stored_bytes = cursor.read<std::uint32_t>();
  entry.bytes = cursor.read<std::uint32_t>();
  const auto name_length = cursor.read<std::uint16_t>();
  const auto extra_length = cursor.read<std::uint16_t>();
  const auto comment_length = cursor.read<std::uint16_t>();
  cursor.take(8);  // disk, attributes
  entry.header = cursor.read<std::uint32_t>();
  entry.name = cursor.text(name_length);
  widen(cursor.take(extra_length), entry);
  cursor.take(comment_length);
  if ((flags & zip::kFlagEncrypted) != 0) fail("record '{}' is encrypted", entry.name);
  if (entry.method != zip::kStored && entry.method != zip::kDeflated) {
    fail("record '{}' is compressed by method {}, which is not supported", entry.name, entry.method);
  }
  if (entry.method == zip::kStored && entry.bytes != entry.stored_bytes) {
    fail("record '{}' has {} bytes, stored are {}", entry.name, entry.bytes, entry.stored_bytes);
  }
  if (entry.method == zip::kDeflated && entry.bytes / kMaxDeflateRatio > entry.stored_bytes) {
    fail("record '{}' of {} bytes cannot come from {} compressed ones", entry.name, entry.bytes,
         entry.stored_bytes);
  }
  return entry;
}

void inflate_into(std::span<const std::byte> packed, std::span<std::byte> out, const std::string& name) {
  z_stream stream{};
  if (inflateInit2(&stream, -MAX_WBITS) != Z_OK) fail("zlib cannot be started");
  // zlib counts in 32 bits: input and output are handed over in parts.
  constexpr std::size_t kPart = std::size_t{1} << 30;
  int status = Z_OK;
  std::size_t read = 0;
  std::size_t written = 0;
  while (status == Z_OK) {
    stream.next_in = const_cast<Bytef*>(reinterpret_cast<const Bytef*>(packed.data() + read));
    stream.avail_in = static_cast<uInt>(std::min(packed.size() - read, kPart));
    stream.next_out = reinterpret_cast<Bytef*>(out.data() + written);
    stream.avail_out = static_cast<uInt>(std::min(out.size() - written, kPart));
    const uInt in_before = stream.avail_in;
    const uInt out_before = stream.avail_out;
    status = inflate(&stream, Z_NO_FLUSH);
    read += in_before - stream.avail_in;
    written += out_before - stream.avail_out;
  }
  inflateEnd(&stream);
  if (status != Z_STREAM_END || written != out.size()) fail("record '{}' cannot be decompressed", name);
}

std::uint32_t checksum(std::span<const std::byte> bytes) {
  return static_cast<std::uint32_t>(crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
}

}  // namespace

bool looks_like_zip(std::span<const std::byte> bytes) {
  return bytes.size() >= sizeof(std::uint32_t) && Cursor(bytes).read<std::uint32_t>() == zip::kLocalHeader;
}

ZipReader::ZipReader(const Source& source, std::uint64_t max_inflated) : source_(source) {
  const Directory directory = read_directory_end(source.bytes);
  directory_ = directory.offset;
  if (directory.entries > directory.bytes / zip::kDirectoryEntryBytes) {
    fail("a zip directory of {} bytes cannot have {} entries", directory.bytes, directory.entries);
  }
  Cursor cursor(source.bytes.subspan(directory.offset, directory.bytes));
  std::uint64_t stored = 0;
  std::uint64_t inflated = 0;
  entries_.reserve(directory.entries);
  for (std::uint64_t i = 0; i < directory.entries; ++i) {
    entries_.push_back(read_entry(cursor));
    const Entry& entry = entries_.back();
    // Records that share bytes would make a small file unfold to a large one.
    if (entry.stored_bytes > directory_ - stored) fail("zip records that overlap");
    stored += entry.stored_bytes;
    if (entry.method == zip::kDeflated && entry.bytes > max_inflated - inflated) {
      fail("compressed records of more than {} bytes", max_inflated);
    }
    if (entry.method == zip::kDeflated) inflated += entry.bytes;
  }
  std::ranges::sort(entries_, {}, &Entry::name);
  const auto twin = std::ranges::adjacent_find(entries_, {}, &Entry::name);
  if (twin != entries_.end()) fail("record '{}' occurs twice", twin->name);
}

const ZipReader::Entry* ZipReader::find(std::string_view name) const {
  const auto found = std::ranges::lower_bound(entries_, name, {}, &Entry::name);
  return found != entries_.end() && found->name == name ? &*found : nullptr;
}

Record ZipReader::read(const Entry& entry) const {
  Cursor cursor(source_.bytes.first(directory_), entry.header);
  if (cursor.read<std::uint32_t>() != zip::kLocalHeader) fail("record '{}' has no header", entry.name);
  cursor.take(zip::kLocalHeaderBytes - 8);
  const auto name_length = cursor.read<std::uint16_t>();
  const auto extra_length = cursor.read<std::uint16_t>();
  if (cursor.text(name_length) != entry.name) fail("record '{}' has another name in its header", entry.name);
  cursor.take(extra_length);
  Record record{cursor.take(entry.stored_bytes), source_.owner};
  if (entry.method == zip::kDeflated) {
    const auto unpacked = std::make_shared<std::vector<std::byte>>(entry.bytes);
    inflate_into(record.bytes, *unpacked, entry.name);
    record = {*unpacked, unpacked};
  }
  if (checksum(record.bytes) != entry.crc) fail("record '{}' is damaged (checksum)", entry.name);
  return record;
}

}  // namespace spatialmamba
