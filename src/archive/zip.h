#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "archive/source.h"
#include "base/file.h"

namespace spatialmamba {

/// Most bytes that an archive's compressed records may unfold to altogether, where they may all be held at
/// once.
inline constexpr std::uint64_t kMaxInflatedBytes = std::uint64_t{1} << 32;

bool looks_like_zip(std::span<const std::byte> bytes);

/// Reads a zip archive (zip64 too; records stored or deflated) from memory. Every offset is checked; records
/// may not share bytes. Throws Error (without a file name) for anything malformed or encrypted.
class ZipReader {
 public:
  /// `max_inflated` bounds what all compressed records unfold to together; each alone is bounded by what
  /// deflate can reach.
  explicit ZipReader(const Source& source, std::uint64_t max_inflated = kMaxInflatedBytes);

  struct Entry {
    std::string name;
    std::uint16_t method;
    std::uint32_t crc;
    std::uint64_t stored_bytes;
    std::uint64_t bytes;
    std::uint64_t header;  ///< offset of the local header
  };
  /// Sorted by name.
  const std::vector<Entry>& entries() const { return entries_; }
  /// nullptr when there is none.
  const Entry* find(std::string_view name) const;

  /// The content, its checksum verified; a view of the source unless it is compressed.
  Record read(const Entry& entry) const;

 private:
  Source source_;
  std::vector<Entry> entries_;
  std::uint64_t directory_ = 0;
};

/// Writes records uncompressed, each one's content 64-byte aligned as PyTorch aligns it, so that readers can
/// map them. finish() writes the directory and commits the file. Throws Error beyond what plain zip can hold
/// (4 GiB).
class ZipWriter {
 public:
  static constexpr std::uint64_t kContentAlignment = 64;

  explicit ZipWriter(const std::filesystem::path& path) : name_(path.string()), file_(path) {}

  void add(const std::string& name, std::span<const std::byte> content);
  void add(const std::string& name, std::string_view content);
  void finish();

 private:
  struct Entry {
    std::string name;
    std::uint32_t crc;
    std::uint32_t bytes;
    std::uint32_t header;
  };
  std::string name_;
  AtomicFile file_;
  std::vector<Entry> entries_;
};

}  // namespace spatialmamba
