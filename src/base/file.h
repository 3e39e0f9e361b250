#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace spatialmamba {

/// A file mapped read-only into memory; the mapping lives as long as somebody holds it.
class MappedFile {
 public:
  /// Throws Error naming the file when it is missing, unreadable or not a regular file.
  static std::shared_ptr<const MappedFile> open(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return {data_, size_}; }

 private:
  MappedFile() = default;
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

/// The whole file. "-" reads standard input. Throws Error naming the file.
std::vector<std::byte> read_file(const std::filesystem::path& path);
std::string read_text(const std::filesystem::path& path);
/// The lines of a text that are not empty, without the ends that Windows adds.
std::vector<std::string> read_lines(const std::filesystem::path& path);

/// Writes a file so that it is there whole or not at all: into a temporary name in the same folder, synced,
/// then renamed over `path`. Creates missing parent folders. Whatever goes wrong (unwritable folder, full
/// disk, an exception from the caller before commit()), the old file survives and the temporary one is
/// removed. A link is followed; a device or a pipe (/dev/null) is written as it goes.
class AtomicFile {
 public:
  explicit AtomicFile(std::filesystem::path path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(const void* data, std::size_t bytes);
  void write(std::string_view text) { write(text.data(), text.size()); }
  /// Bytes written so far.
  std::uint64_t position() const { return position_; }
  void commit();

 private:
  void open_temporary();
  void flush();

  std::filesystem::path path_;
  std::filesystem::path temporary_;  ///< empty where `path_` itself is written
  int descriptor_ = -1;
  std::uint64_t position_ = 0;
  std::vector<std::byte> buffer_;
};

/// One call of AtomicFile for content that is already in memory.
void write_file(const std::filesystem::path& path, std::span<const std::byte> content);
void write_text(const std::filesystem::path& path, std::string_view content);

/// Creates a folder and its parents; throws Error naming it.
void make_folder(const std::filesystem::path& path);

}  // namespace spatialmamba
