#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <string_view>

namespace spatialmamba::train {

/// CRC-32C (Castagnoli), as RFC 3720 defines it.
std::uint32_t crc32c(std::string_view bytes);

struct Scalar {
  std::string tag;  ///< "loss/train": the part before the slash groups charts
  float value;
};

/// An event file that TensorBoard reads: records framed as TFRecord, each one an `Event` protocol buffer.
/// Appended to while training runs, so it is not written atomically; a torn last record is skipped by
/// readers.
class TensorBoardLog {
 public:
  /// Opens a new file in `folder`. `first_step` > 0 says that this run resumes there: TensorBoard then
  /// discards what an earlier file says about this step and later ones. Throws Error naming the file.
  TensorBoardLog(const std::filesystem::path& folder, std::int64_t first_step);

  /// Throws Error naming the file when it cannot be written.
  void write(std::int64_t step, std::span<const Scalar> scalars);

  const std::filesystem::path& path() const { return path_; }

 private:
  void write_event(const std::string& event);

  std::filesystem::path path_;
  std::ofstream file_;
};

}  // namespace spatialmamba::train
