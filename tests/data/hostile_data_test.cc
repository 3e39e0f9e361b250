// Truncated and corrupted IDX files: an array or an Error, never a crash or an allocation that the file
// cannot fill.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/file.h"
#include "base/random.h"
#include "data/idx.h"
#include "data/idx_files.h"
#include "spatialmamba/error.h"
#include "support/temporary_folder.h"

namespace spatialmamba::data {
namespace {

using test::idx_bytes;
using test::TemporaryFolder;
using testing::HasSubstr;
using testing::ThrowsMessage;

/// Unlike write_text() it does not wait for the disk, which matters a thousand times over.
void write_quickly(const std::filesystem::path& path, const std::string& content) {
  std::ofstream(path, std::ios::binary) << content;
}

bool reads(const std::filesystem::path& path, const std::string& content) {
  write_quickly(path, content);
  try {
    read_idx(path, 3);
    return true;
  } catch (const Error& error) {
    EXPECT_TRUE(std::string(error.what()).starts_with(path.string() + ": ")) << error.what();
    return false;
  }
}

std::string gzipped(const std::filesystem::path& path, const std::string& content) {
  test::write_gzip(path, content);
  return read_text(path);
}

std::string some_pixels() {
  std::string pixels;
  for (int i = 0; i < 3 * 4 * 5; ++i) pixels += static_cast<char>(i * 41);
  return pixels;
}

TEST(HostileIdx, EveryPrefixIsRefused) {
  const TemporaryFolder folder;
  const std::string plain = idx_bytes({3, 4, 5}, some_pixels());
  for (const std::string& file : {plain, gzipped(folder.path() / "a.gz", plain)}) {
    ASSERT_TRUE(reads(folder.path() / "whole", file));
    for (std::size_t length = 0; length < file.size(); ++length) {
      EXPECT_FALSE(reads(folder.path() / "cut", file.substr(0, length))) << length << " of " << file.size();
    }
  }
}

TEST(HostileIdx, ChangedBytesNeverCrash) {
  const TemporaryFolder folder;
  const std::string plain = idx_bytes({3, 4, 5}, some_pixels());
  Random random(1);
  for (const std::string& file : {plain, gzipped(folder.path() / "a.gz", plain)}) {
    for (int round = 0; round < 300; ++round) {
      std::string bad = file;
      for (int i = 0; i < 3; ++i) {
        bad[static_cast<std::size_t>(random.below(static_cast<std::int64_t>(bad.size())))] =
            static_cast<char>(random.below(256));
      }
      reads(folder.path() / "bad", bad);
    }
  }
}

TEST(HostileIdx, SaysWhatIsWrong) {
  const TemporaryFolder folder;
  const auto message = [&](const std::string& content, const std::string& expected) {
    write_quickly(folder.path() / "x", content);
    EXPECT_THAT([&] { read_idx(folder.path() / "x", 3); }, ThrowsMessage<Error>(HasSubstr(expected)));
  };
  message("", "ends early");
  message(idx_bytes({60}, std::string(60, 'x')), "not an IDX file of 3-dimensional bytes");
  message(idx_bytes({3, 4, 5}, some_pixels() + "x"), "more data than the header says");
  message(idx_bytes({0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF}, some_pixels()), "is not plausible");
  message(idx_bytes({0x40000000, 1, 1}, some_pixels()), "ends early");
  message(idx_bytes({0, 4, 5}, ""), "dimension 0 of size 0 is not plausible");
  EXPECT_THROW(read_idx(folder.path() / "none", 3), Error);
  EXPECT_THROW(read_idx(folder.path(), 3), Error);
}

}  // namespace
}  // namespace spatialmamba::data
